// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "pipeline/batch/plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {

enum class JobState : std::uint8_t { queued, running, done, failed, skipped };
inline constexpr std::size_t kJobStates = 5;
[[nodiscard]] std::string_view job_state_name(JobState state);

// A unit of work, as whoever does it gets it.
struct Job {
  std::int64_t id = 0;
  PlannedImage image;
  unsigned attempt =
      1;  // 2 and more: it was begun before, and may have left something to go on with
  unsigned failures = 0;  // of attempts that were to be tried again, since it was queued
  // Nothing had the target's name before it was first begun: what has it now, an earlier attempt
  // left.
  bool owns_target = false;
  bool was_done = false;  // an attempt was done: see JobVerdict
};

// How far a running job is.
struct JobProgress {
  std::uint64_t guest_bytes = 0;  // of the disk, done (again from 0 while it is verified)
  std::uint64_t data_bytes = 0;   // of those, read
  bool verifying = false;
};

// The verdict record: what became of a unit of work. REQUIRES: state is done or failed.
struct JobVerdict {
  JobState state = JobState::failed;
  std::string error_kind{};  // of what failed: an ErrorKind's name, or "crash"
  std::string reason{};      // of what failed: the message, with what to do if that is known
  bool may_retry = false;    // failed for a reason that may pass, such as an I/O error
  std::uint64_t disk_bytes = 0;
  std::uint64_t data_bytes = 0;      // of the disk that are not zero
  std::uint64_t output_bytes = 0;    // that the output takes on its file system
  std::uint64_t worked_bytes = 0;    // of guest data read, written or proven by this attempt
  std::uint64_t resumed_bytes = 0;   // of the disk that an earlier attempt had done
  std::uint64_t cpu_ms = 0;          // user and system, of this attempt
  std::uint64_t peak_rss_bytes = 0;  // of its process
  std::string root{};                // XXH3-128 root digest of the manifest, in hex
  bool verified = false;             // read back from disk and found equal to the manifest
  std::vector<std::string> warnings{};
  // This attempt or an earlier one was done: the output is its user's, who may have begun to use
  // it, and is only looked at. Kept by the queue, until the output is gone.
  bool was_done = false;
};

// What a queue keeps of a job: what was planned, and what is known of doing it.
struct JobRecord {
  std::int64_t id = 0;
  PlannedImage image;
  JobState state = JobState::queued;
  unsigned attempts = 0;                      // begun
  std::optional<std::int64_t> begun_ms;       // since the epoch: the last attempt
  std::optional<std::int64_t> ended_ms;       // of a job that is done, failed or skipped
  std::optional<std::int64_t> not_before_ms;  // of a job that waits to be tried again
  std::uint64_t total_cpu_ms = 0;             // of all attempts that were given back
  std::uint64_t total_worked_bytes = 0;       // as well
  JobProgress progress;                       // of a running job
  JobVerdict verdict;  // of the last attempt that was given back; of a skipped one, the reason
};

}  // namespace grainmill
