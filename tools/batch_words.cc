// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_words.h"

#include "engine/base/text.h"
#include "tools/batch.h"
#include "tools/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

std::uint64_t jobs_left(const BatchReport& report) {
  return report.count(JobState::queued) + report.count(JobState::running);
}

// By the kind of the error; what is not listed has its remedy in its message.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kSteps = {{
    {"io", "Look after the disk, or the network, that did not answer"},
    {"no_space", "Make room on the file system of the output"},
    {"not_found", "Bring the file back to where it was, or plan again without this image"},
    {"corrupt",
     "See what is damaged with `grainmill check`; `check --repair` mends what can be mended, and "
     "`check --salvage` saves what can be read"},
    {"mismatch",
     "See with `grainmill check` which part is not the one that belongs here, and bring the right "
     "one back, or write \"ignore_cid\":true into its line of the plan, if you know that all are"},
    {"denied", "Plan again with the folder allowed, if the files named in the image are trusted"},
    {"busy", "Shut the virtual machine down, or end the program that has the image open"},
    {"unsupported", "Convert this image by other means; all others are not touched by it"},
    {"crash",
     "Look in the system's log whether memory ran out; if so, allow fewer images at once with "
     "`--jobs`"},
}};

}  // namespace

int batch_exit_status(const BatchReport& report) {
  if (report.is_running || jobs_left(report) != 0) return kExitJobsLeft;
  return report.count(JobState::failed) != 0 ? kExitJobsFailed : kExitDone;
}

std::string batch_verdict(const BatchReport& report) {
  const std::uint64_t failed = report.count(JobState::failed);
  const std::string failures = failed == 0 ? "" : fmt::format("{} failed", images_text(failed));
  if (report.is_running) {
    std::string text = fmt::format("Running: {} left", images_text(jobs_left(report)));
    if (report.eta_ms) text += fmt::format(", done by {}", date_text(*report.eta_ms / 1000));
    return text + (failed == 0 ? "." : fmt::format("; {}.", failures));
  }
  if (const std::uint64_t left = jobs_left(report); left != 0)
    return fmt::format("Not finished: {} left, which `grainmill batch run` goes on with{}.",
                       images_text(left), failed == 0 ? "" : fmt::format("; {}", failures));
  if (failed != 0) return fmt::format("{}; all others were brought to their end.", failures);
  const std::uint64_t done = report.count(JobState::done);
  return done == 0 ? "Nothing was to be done."
                   : fmt::format("All done: {} converted.", images_text(done));
}

std::string next_step(const BatchReport& report, const JobRecord& job) {
  const std::string again = fmt::format(
      "begin it again with `grainmill batch run --retry-failed {}`.", shell_word(report.plan));
  const std::string_view kind = job.verdict.error_kind;
  const auto* const step =
      std::ranges::find(kSteps, kind, [](const auto& pair) { return pair.first; });
  // Of an output that is no longer what was written, the message says it, too.
  const bool is_of_output = job.verdict.was_done && kind == "mismatch";
  if (step == kSteps.end() || is_of_output) return "Then " + again;
  return fmt::format("{}; then {}", step->second, again);
}

const std::string& reason_of(const JobRecord& job) {
  return job.verdict.reason.empty() && job.state != JobState::done ? job.image.reason
                                                                   : job.verdict.reason;
}

std::string images_text(std::uint64_t count) {
  return fmt::format("{} image{}", count, count == 1 ? "" : "s");
}

std::string rate_text(double bytes_per_second) {
  if (bytes_per_second >= 999.5e6) return fmt::format("{:.2f} GB/s", bytes_per_second / 1e9);
  if (bytes_per_second >= 999.5e3) return fmt::format("{:.0f} MB/s", bytes_per_second / 1e6);
  return fmt::format("{:.0f} kB/s", bytes_per_second / 1e3);
}

std::string seconds_text(double seconds) {
  const auto whole = std::llround(std::max(seconds, 0.0));
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return whole >= 10 ? fmt::format("{} s", whole) : fmt::format("{:.1f} s", std::max(seconds, 0.0));
}

std::string output_text(const OutputChoice& output) {
  std::string text = output.format;
  for (const std::string& setting : output.settings) text += fmt::format(", {}", setting);
  if (output.compress)
    text += fmt::format(", compressed{}",
                        output.level.empty() ? "" : fmt::format(" (level {})", output.level));
  return text + (output.digest.empty() ? "" : fmt::format(", {}", output.digest));
}

std::int64_t last_ms(const BatchReport& report, const BatchRun& run) {
  if (run.ended_ms) return *run.ended_ms;
  if (report.is_running && !report.runs.empty() && run.id == report.runs.back().id)
    return report.now_ms;
  return run.samples.empty() ? run.begun_ms : run.samples.back().time_ms;
}

double run_seconds(const BatchReport& report) {
  std::int64_t total = 0;
  for (const BatchRun& run : report.runs)
    total += std::max<std::int64_t>(last_ms(report, run) - run.begun_ms, 0);
  return static_cast<double>(total) / 1000;
}

std::optional<double> average_rate(const BatchReport& report) {
  double bytes = 0;
  double milliseconds = 0;
  for (const BatchRun& run : report.runs) {
    if (run.samples.empty()) continue;
    bytes += static_cast<double>(run.samples.back().guest_bytes);
    milliseconds += static_cast<double>(run.samples.back().time_ms - run.begun_ms);
  }
  if (milliseconds <= 0) return std::nullopt;
  return bytes * 1000 / milliseconds;
}

std::uint64_t peak_rss_bytes(const BatchReport& report) {
  std::uint64_t most = 0;
  for (const BatchRun& run : report.runs) most = std::max(most, run.peak_rss_bytes);
  return most;
}

std::optional<double> job_seconds(const JobRecord& job) {
  if (!job.begun_ms || !job.ended_ms || job.state == JobState::skipped) return std::nullopt;
  return static_cast<double>(*job.ended_ms - *job.begun_ms) / 1000;
}

}  // namespace grainmill
