// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/worker.h"

#include "engine/base/sanitizers.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "pipeline/batch/job_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

constexpr std::size_t kLongestLine = kMiB;
constexpr std::size_t kMostNonsense = 200;
constexpr std::size_t kMostErrors = 500;

// Beside payload: code, stacks, allocators' reserves, tables of huge disks. Only what has gone
// wild comes to this.
constexpr std::uint64_t kMostBesidePayload = 512 * kMiB;
constexpr std::uint64_t kStackBytes = 8 * kMiB;

std::uint64_t data_limit(const ConvertJob& job) {
  if (kHasShadowMemory) return 0;
  return job.memory_bytes + kMostBesidePayload + job.threads * kStackBytes;
}

// Rather one worker than the machine's other programs, or the one that starts workers anew.
constexpr int kExpendability = 500;

std::string last_of(std::string_view text, std::size_t most) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (text.size() > most) text.remove_prefix(text.size() - most);
  return printable(text);
}

}  // namespace

Result<std::unique_ptr<Worker>> Worker::start(const std::vector<std::string>& command,
                                              const Lease& lease, const ConvertJob& job) {
  GM_TRY(std::unique_ptr<Process> process, Process::start({.command = command,
                                                           .input = job_line(job),
                                                           .data_limit_bytes = data_limit(job),
                                                           .expendability = kExpendability}));
  return std::unique_ptr<Worker>(new Worker(std::move(process), lease));
}

void Worker::listen() {
  rest_ += process_->take_output();
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1)
    if (!std::exchange(is_too_long_, false))
      take_line(std::string_view(rest_).substr(begin, end - begin));
  rest_.erase(0, begin);
  if (rest_.size() <= kLongestLine) return;
  if (!std::exchange(is_too_long_, true)) take_line(rest_);
  rest_.clear();
}

void Worker::take_line(std::string_view line) {
  auto said = parse_worker_line(line);
  if (!said) {
    if (nonsense_.empty()) nonsense_ = printable(line.substr(0, kMostNonsense));
  } else if (auto* const verdict = std::get_if<JobVerdict>(&*said)) {
    verdict_ = std::move(*verdict);
  } else {
    const auto& now = std::get<JobProgress>(*said);
    if (now.guest_bytes < progress_.guest_bytes || now.verifying != progress_.verifying) {
      earlier_.guest_bytes += progress_.guest_bytes;
      earlier_.data_bytes += progress_.data_bytes;
    }
    progress_ = now;
  }
}

// A verdict that came before the end counts only if the end fits it.
JobVerdict Worker::verdict() const {
  const ProcessEnd& end = *process_->end();
  const bool is_clean = end.signal == 0 && end.exit_status == 0;
  JobVerdict verdict = verdict_ && is_clean ? *verdict_ : crash();
  verdict.cpu_ms = end.cpu_ms;
  verdict.peak_rss_bytes = end.peak_rss_bytes;
  return verdict;
}

JobVerdict Worker::crash() const {
  const ProcessEnd& end = *process_->end();
  JobVerdict verdict;
  verdict.error_kind = kCrashKind;
  verdict.reason = end.signal != 0
                       ? fmt::format("its process was ended by {}", signal_name(end.signal))
                       : fmt::format("its process ended without a verdict, with exit status {}",
                                     end.exit_status);
  if (end.signal == SIGKILL) verdict.reason += ", as the kernel does when memory runs out";
  if (!nonsense_.empty()) verdict.reason += fmt::format("; it printed: {}", nonsense_);
  if (const std::string errors = last_of(process_->errors(), kMostErrors); !errors.empty())
    verdict.reason += fmt::format("; it said: {}", errors);
  verdict.may_retry = end.signal == SIGKILL;
  verdict.worked_bytes = data_bytes();
  return verdict;
}

}  // namespace grainmill
