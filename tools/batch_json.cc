// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_reports.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace grainmill {
namespace {

constexpr std::size_t kMostSamples = 1000;  // of a run

template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

nlohmann::json to_json(const OutputChoice& output) {
  return {{"format", output.format},
          {"settings", output.settings},
          {"compress", output.compress},
          {"level", output.level},
          {"digest", output.digest}};
}

nlohmann::json to_json(const BatchTotals& totals) {
  return {{"disk_bytes", totals.disk_bytes},
          {"done_disk_bytes", totals.done_disk_bytes},
          {"source_bytes", totals.source_bytes},
          {"output_bytes", totals.output_bytes},
          {"cpu_ms", totals.cpu_ms},
          {"worked_bytes", totals.worked_bytes}};
}

nlohmann::json to_json(const BatchSample& sample) {
  return {{"time_ms", sample.time_ms},
          {"guest_bytes", sample.guest_bytes},
          {"data_bytes", sample.data_bytes},
          {"running", sample.running}};
}

nlohmann::json to_json(const BatchRun& run) {
  nlohmann::json samples = nlohmann::json::array();
  const std::size_t count = run.samples.size();
  const std::size_t shown = std::min(count, kMostSamples);
  // The last one is always among them.
  for (std::size_t i = 1; i <= shown; ++i)
    samples.push_back(to_json(run.samples[i * count / shown - 1]));
  return {{"id", run.id},
          {"begun_ms", run.begun_ms},
          {"ended_ms", or_null(run.ended_ms)},
          {"peak_rss_bytes", run.peak_rss_bytes},
          {"samples", std::move(samples)}};
}

nlohmann::json to_json(const JobProgress& progress) {
  return {{"guest_bytes", progress.guest_bytes},
          {"data_bytes", progress.data_bytes},
          {"verifying", progress.verifying}};
}

nlohmann::json to_json(const JobVerdict& verdict) {
  return {{"error_kind", verdict.error_kind},
          {"reason", verdict.reason},
          {"may_retry", verdict.may_retry},
          {"disk_bytes", verdict.disk_bytes},
          {"data_bytes", verdict.data_bytes},
          {"output_bytes", verdict.output_bytes},
          {"worked_bytes", verdict.worked_bytes},
          {"resumed_bytes", verdict.resumed_bytes},
          {"cpu_ms", verdict.cpu_ms},
          {"peak_rss_bytes", verdict.peak_rss_bytes},
          {"xxh3_root", verdict.root},
          {"verified", verdict.verified},
          {"warnings", verdict.warnings}};
}

// Of jobs that were never given back there is none.
bool has_verdict(const JobRecord& job) {
  return job.state == JobState::done || job.state == JobState::failed ||
         !job.verdict.error_kind.empty();
}

nlohmann::json to_json(const JobRecord& job) {
  const PlannedImage& image = job.image;
  const bool skipped = job.state == JobState::skipped && !job.verdict.reason.empty();
  return {{"id", job.id},
          {"source", image.source},
          {"source_format", image.source_format},
          {"target", image.target},
          {"chain", image.chain},
          {"state", job_state_name(job.state)},
          {"planned_reason", skipped ? job.verdict.reason : image.reason},
          {"disk_bytes", image.disk_bytes},
          {"source_bytes", image.source_bytes},
          {"target_bytes", image.target_bytes},
          {"attempts", job.attempts},
          {"begun_ms", or_null(job.begun_ms)},
          {"ended_ms", or_null(job.ended_ms)},
          {"not_before_ms", or_null(job.not_before_ms)},
          {"total_cpu_ms", job.total_cpu_ms},
          {"total_worked_bytes", job.total_worked_bytes},
          {"progress",
           job.state == JobState::running ? to_json(job.progress) : nlohmann::json(nullptr)},
          {"verdict", has_verdict(job) ? to_json(job.verdict) : nlohmann::json(nullptr)}};
}

}  // namespace

std::string batch_json(const BatchReport& report) {
  nlohmann::json states = nlohmann::json::object();
  for (std::size_t i = 0; i < kJobStates; ++i) {
    const auto state = static_cast<JobState>(i);
    states[std::string(job_state_name(state))] = report.count(state);
  }
  nlohmann::json runs = nlohmann::json::array();
  for (const BatchRun& run : report.runs) runs.push_back(to_json(run));
  nlohmann::json images = nlohmann::json::array();
  for (const JobRecord& job : report.jobs) images.push_back(to_json(job));
  const nlohmann::json object = {{"plan", report.plan},
                                 {"now_ms", report.now_ms},
                                 {"running", report.is_running},
                                 {"output", to_json(report.output)},
                                 {"states", std::move(states)},
                                 {"totals", to_json(report.totals)},
                                 {"bytes_per_second", or_null(report.bytes_per_second)},
                                 {"eta_ms", or_null(report.eta_ms)},
                                 {"runs", std::move(runs)},
                                 {"images", std::move(images)}};
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace grainmill
