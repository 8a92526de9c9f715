// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/batch_state.h"

#include "engine/base/units.h"

#include <algorithm>
#include <utility>

namespace grainmill {
namespace {

constexpr std::size_t kMostSamples = 2000;  // more than a plot has pixels
constexpr std::int64_t kRecentMs = 30'000;
constexpr std::int64_t kTooEarlyMs = 2'000;

// Of a running job, the part that is done.
double share_done(const JobRecord& job) {
  if (job.image.disk_bytes == 0) return 0;
  if (job.progress.verifying) return 1;
  return std::min(1.0, static_cast<double>(job.progress.guest_bytes) /
                           static_cast<double>(job.image.disk_bytes));
}

void add_to(BatchTotals& totals, const JobRecord& job) {
  ++totals.jobs[static_cast<std::size_t>(job.state)];
  totals.cpu_ms += job.total_cpu_ms;
  totals.worked_bytes += job.total_worked_bytes;
  if (job.state == JobState::skipped) return;
  const bool is_done = job.state == JobState::done;
  const std::uint64_t disk_bytes = is_done ? job.verdict.disk_bytes : job.image.disk_bytes;
  totals.disk_bytes += disk_bytes;
  if (job.state == JobState::running)
    totals.done_disk_bytes +=
        job.progress.verifying ? disk_bytes : std::min(job.progress.guest_bytes, disk_bytes);
  if (!is_done) return;
  totals.done_disk_bytes += disk_bytes;
  totals.source_bytes += job.image.source_bytes;
  totals.output_bytes += job.verdict.output_bytes;
}

// What is left of the work, and what the run has done of it.
struct Work {
  double done = 0;
  double left = 0;
};

void add_to(Work& work, const JobRecord& job, const BatchRun& run) {
  const auto whole = static_cast<double>(BatchState::weight(job.image));
  const double share = job.state == JobState::running ? share_done(job) : 0;
  const bool is_open = job.state == JobState::queued || job.state == JobState::running;
  if (is_open) work.left += whole * (1 - share);
  if (is_open) work.done += whole * share;
  const bool has_ended = job.state == JobState::done || job.state == JobState::failed;
  if (has_ended && job.ended_ms.value_or(0) >= run.begun_ms) work.done += whole;
}

}  // namespace

// Work costs something for each image, however small it is.
std::uint64_t BatchState::weight(const PlannedImage& image) {
  return std::max(image.source_bytes != 0 ? image.source_bytes : image.disk_bytes, kMiB);
}

void BatchState::begin_run(BatchRun run) {
  runs.push_back(std::move(run));
  recent_.clear();
  interval_ms_ = 0;
}

void BatchState::add_sample(const BatchSample& sample) {
  recent_.push_back(sample);
  while (sample.time_ms - recent_.front().time_ms > kRecentMs) recent_.pop_front();
  std::vector<BatchSample>& samples = runs.back().samples;
  if (!samples.empty() && sample.time_ms - samples.back().time_ms < interval_ms_) return;
  samples.push_back(sample);
  if (samples.size() < kMostSamples) return;
  for (std::size_t i = 0; 2 * i < samples.size(); ++i) samples[i] = samples[2 * i];
  samples.resize((samples.size() + 1) / 2);
  interval_ms_ = (samples.back().time_ms - samples.front().time_ms) /
                 static_cast<std::int64_t>(samples.size() - 1);
}

BatchReport BatchState::report(std::int64_t now_ms, bool is_running) const {
  BatchReport report;
  report.now_ms = now_ms;
  report.is_running = is_running;
  report.jobs.reserve(jobs.size());
  for (const QueuedJob& job : jobs) {
    report.jobs.push_back(job.record);
    add_to(report.totals, job.record);
  }
  report.runs = runs;
  if (is_running) estimate(report);
  return report;
}

void BatchState::estimate(BatchReport& report) const {
  if (recent_.empty() || runs.back().ended_ms) return;
  const std::int64_t elapsed = recent_.back().time_ms - recent_.front().time_ms;
  if (elapsed < kTooEarlyMs) return;
  const std::uint64_t worked = recent_.back().guest_bytes - recent_.front().guest_bytes;
  report.bytes_per_second = static_cast<double>(worked) * 1000 / static_cast<double>(elapsed);
  Work work;
  for (const QueuedJob& job : jobs) add_to(work, job.record, runs.back());
  const auto since = static_cast<double>(report.now_ms - runs.back().begun_ms);
  if (work.done <= 0 || since <= 0) return;
  report.eta_ms = report.now_ms + static_cast<std::int64_t>(work.left * since / work.done);
}

}  // namespace grainmill
