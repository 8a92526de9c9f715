// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/report.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace grainmill {

// A job, and what only its queue knows of it.
struct QueuedJob {
  JobRecord record;
  unsigned failures = 0;     // as of Job
  bool owns_target = false;  // as well
};

// All jobs and runs of a plan in memory, and the report that they add up to: what is stored is read
// once, and asked for once a second.
class BatchState {
 public:
  std::vector<QueuedJob> jobs;  // in the order of the plan
  std::vector<BatchRun> runs;   // by begin_run()

  // From now on it is the one that samples are added to.
  void begin_run(BatchRun run);
  // Of what is long ago, only every second point is kept, or every fourth, ...: a plot of weeks
  // takes no more room than one of an hour.
  void add_sample(const BatchSample& sample);

  // But for the plan's path and choices.
  [[nodiscard]] BatchReport report(std::int64_t now_ms, bool is_running) const;

  // How much work a job is, in bytes of a kind: sparse disks are not as large as they seem.
  [[nodiscard]] static std::uint64_t weight(const PlannedImage& image);

 private:
  void estimate(BatchReport& report) const;

  std::deque<BatchSample> recent_;  // all of the last half minute
  std::int64_t interval_ms_ = 0;    // between samples that are kept
};

}  // namespace grainmill
