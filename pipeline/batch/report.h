// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/job.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

// How much was done by when: a point of the plot of throughput.
struct BatchSample {
  std::int64_t time_ms = 0;  // since the epoch
  // Of all disks, done since the run began. With --verify, half of it is done by writing them.
  std::uint64_t guest_bytes = 0;
  std::uint64_t data_bytes = 0;  // gone through since then, in either pass
  std::uint32_t running = 0;     // jobs
};

// One call of `batch run`.
struct BatchRun {
  std::int64_t id = 0;
  std::int64_t begun_ms = 0;
  std::optional<std::int64_t> ended_ms;  // nullopt: it runs, or was killed
  std::uint64_t peak_rss_bytes = 0;      // of all its processes together, as sampled
  std::vector<BatchSample> samples;
};

struct BatchTotals {
  std::array<std::uint64_t, kJobStates> jobs{};  // by JobState
  std::uint64_t disk_bytes = 0;                  // of all jobs but skipped ones
  std::uint64_t done_disk_bytes = 0;  // of those that are done, and what is done of running ones
  std::uint64_t source_bytes = 0;     // of done jobs: before
  std::uint64_t output_bytes = 0;     // of done jobs: after
  std::uint64_t cpu_ms = 0;
  std::uint64_t worked_bytes = 0;
};

// All that is known of a batch at one moment.
struct BatchReport {
  std::string plan;  // its path
  std::int64_t now_ms = 0;
  bool is_running = false;  // a `batch run` works on it now
  OutputChoice output;
  BatchTotals totals;
  std::vector<JobRecord> jobs;  // in the order of the plan
  std::vector<BatchRun> runs;   // the oldest first
  // Guest bytes a second lately, and when all is done at that rate; nullopt: not running, or too
  // early to tell.
  std::optional<double> bytes_per_second;
  std::optional<std::int64_t> eta_ms;

  [[nodiscard]] std::uint64_t count(JobState state) const {
    return totals.jobs[static_cast<std::size_t>(state)];
  }
};

}  // namespace grainmill
