// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_reports.h"
#include "tools/metrics_text.h"

#include <fmt/format.h>

#include <cstddef>
#include <map>

namespace grainmill {
namespace {

constexpr const char* kPrefix = "grainmill_batch_";

double in_seconds(std::int64_t milliseconds) { return static_cast<double>(milliseconds) / 1000; }

void add_jobs(MetricsText& metrics, const BatchReport& report) {
  metrics.family("jobs", "Images by state.");
  for (std::size_t i = 0; i < kJobStates; ++i) {
    const auto state = static_cast<JobState>(i);
    metrics.sample(report.count(state), fmt::format("state=\"{}\"", job_state_name(state)));
  }
  std::map<std::string, std::uint64_t> kinds;
  std::uint64_t attempts = 0;
  std::uint64_t verified = 0;
  for (const JobRecord& job : report.jobs) {
    attempts += job.attempts;
    if (job.state == JobState::failed) ++kinds[job.verdict.error_kind];
    if (job.state == JobState::done && job.verdict.verified) ++verified;
  }
  metrics.family("failed_jobs", "Failed images by the kind of the error.");
  for (const auto& [kind, count] : kinds)
    metrics.sample(count, fmt::format("kind=\"{}\"", metrics_label(kind)));
  metrics.family("verified_jobs", "Done images that were read back and found right.");
  metrics.sample(verified);
  metrics.family("attempts", "Attempts that were begun, of all images.");
  metrics.sample(attempts);
}

void add_totals(MetricsText& metrics, const BatchTotals& totals) {
  metrics.family("disk_bytes", "Size of all guest disks but skipped ones.");
  metrics.sample(totals.disk_bytes);
  metrics.family("done_disk_bytes", "Of these, what is done.");
  metrics.sample(totals.done_disk_bytes);
  metrics.family("source_bytes", "What the sources of done images take on their file systems.");
  metrics.sample(totals.source_bytes);
  metrics.family("output_bytes", "What the outputs of done images take.");
  metrics.sample(totals.output_bytes);
  metrics.family("worked_bytes_total", "Guest data read, written or proven, by all attempts.",
                 MetricKind::counter);
  metrics.sample(totals.worked_bytes);
  metrics.family("cpu_seconds_total", "Processor time of all attempts.", MetricKind::counter);
  metrics.sample(in_seconds(static_cast<std::int64_t>(totals.cpu_ms)));
}

void add_runs(MetricsText& metrics, const BatchReport& report) {
  metrics.family("running", "1: a run works on it now.");
  metrics.sample(report.is_running ? 1 : 0);
  if (report.bytes_per_second) {
    metrics.family("rate_bytes_per_second", "Guest bytes a second, lately.");
    metrics.sample(*report.bytes_per_second);
  }
  if (report.eta_ms) {
    metrics.family("eta_timestamp_seconds", "When all is done at that rate.");
    metrics.sample(in_seconds(*report.eta_ms));
  }
  metrics.family("runs_total", "Runs that were begun.", MetricKind::counter);
  metrics.sample(report.runs.size());
  if (report.runs.empty()) return;
  const BatchRun& last = report.runs.back();
  metrics.family("last_run_begun_timestamp_seconds", "When the last run began.");
  metrics.sample(in_seconds(last.begun_ms));
  if (last.ended_ms) {
    metrics.family("last_run_ended_timestamp_seconds",
                   "When it ended; not there if it runs, or was killed.");
    metrics.sample(in_seconds(*last.ended_ms));
  }
  metrics.family("run_peak_rss_bytes", "The most memory of all processes of a run together.");
  for (const BatchRun& run : report.runs)
    metrics.sample(run.peak_rss_bytes, fmt::format("run=\"{}\"", run.id));
}

}  // namespace

std::string batch_metrics_begin() { return metrics_begin(kPrefix); }

std::string batch_metrics(const BatchReport& report) {
  MetricsText metrics(kPrefix);
  metrics.family("info", "What the batch is; always 1.");
  metrics.sample(1, fmt::format("plan=\"{}\",format=\"{}\"", metrics_label(report.plan),
                                metrics_label(report.output.format)));
  metrics.family("report_timestamp_seconds", "When all of this was so.");
  metrics.sample(in_seconds(report.now_ms));
  add_jobs(metrics, report);
  add_totals(metrics, report.totals);
  add_runs(metrics, report);
  return std::move(metrics).text();
}

}  // namespace grainmill
