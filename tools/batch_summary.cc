// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace grainmill {
namespace {

// Below the state's name.
constexpr const char* kIndent = "           ";

// The source, and what is said of it; most errors begin with the file that they are about.
std::string about(const std::string& source, const std::string& said) {
  return said.starts_with(source + ": ") ? said : fmt::format("{}: {}", source, said);
}

std::string job_text(const BatchReport& report, const JobRecord& job) {
  const std::string& reason = reason_of(job);
  std::string text =
      fmt::format("{:<10} {}", job_state_name(job.state),
                  reason.empty() ? job.image.source : about(job.image.source, reason));
  text += '\n';
  if (job.state != JobState::failed) return text;
  return text + fmt::format("{}after {} attempt{}. {}\n", kIndent, job.attempts,
                            job.attempts == 1 ? "" : "s", next_step(report, job));
}

std::string warnings_text(const JobRecord& job) {
  std::string text;
  for (const std::string& warning : job.verdict.warnings)
    text += fmt::format("{:<10} {}\n", "warning", about(job.image.source, warning));
  return text;
}

std::string counts_text(const BatchReport& report) {
  std::string text;
  for (const JobState state :
       {JobState::done, JobState::failed, JobState::skipped, JobState::running, JobState::queued})
    if (const std::uint64_t count = report.count(state); count != 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, job_state_name(state));
  return text.empty() ? "none" : text;
}

std::string sizes_text(const BatchReport& report) {
  const BatchTotals& totals = report.totals;
  std::string text = fmt::format("{} of disks", format_size(totals.disk_bytes));
  if (report.count(JobState::done) == 0) return text + '\n';
  text += fmt::format("; what is done took {} before, takes {} now",
                      format_size(totals.source_bytes), format_size(totals.output_bytes));
  if (totals.source_bytes != 0)
    text += fmt::format(" ({:.0f} %)", 100.0 * static_cast<double>(totals.output_bytes) /
                                           static_cast<double>(totals.source_bytes));
  const auto verified = std::ranges::count_if(report.jobs, [](const JobRecord& job) {
    return job.state == JobState::done && job.verdict.verified;
  });
  return text + fmt::format("; {} verified\n", images_text(static_cast<std::uint64_t>(verified)));
}

std::string runs_text(const BatchReport& report) {
  if (report.runs.empty()) return "no run yet\n";
  std::string text =
      fmt::format("{} run{}, {}", report.runs.size(), report.runs.size() == 1 ? "" : "s",
                  seconds_text(run_seconds(report)));
  if (const std::optional<double> rate = average_rate(report))
    text += fmt::format(", {} of guest disk", rate_text(*rate));
  return text + fmt::format(", {} of CPU time, {} of memory at most\n",
                            seconds_text(static_cast<double>(report.totals.cpu_ms) / 1000),
                            format_size(peak_rss_bytes(report)));
}

}  // namespace

std::string batch_summary(const BatchReport& report) {
  std::string text;
  for (const JobRecord& job : report.jobs) text += warnings_text(job);
  for (const JobState state : {JobState::skipped, JobState::failed})
    for (const JobRecord& job : report.jobs)
      if (job.state == state) text += job_text(report, job);
  text += fmt::format("{}: {}\n", images_text(report.jobs.size()), counts_text(report));
  text += sizes_text(report) + runs_text(report);
  return text + batch_verdict(report) + '\n';
}

}  // namespace grainmill
