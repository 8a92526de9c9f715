// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/units.h"
#include "engine/io/file_system.h"
#include "engine/io/process.h"
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/plan.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace grainmill {

struct BatchOptions {
  unsigned jobs = 0;                         // at once; 0: one a processor, 8 at most
  unsigned threads = 0;                      // of all of them together; 0: one a processor
  std::uint64_t memory_bytes = 1024 * kMiB;  // of all processes together
  unsigned per_mount = 0;                    // jobs at once on one file system; 0: no limit
  unsigned retries = 3;                      // of a job that failed for a reason that may pass
  bool verify = false;
  Durability durability = Durability::synced;
  // What does a job: job_line() on its standard input, progress_line() and verdict_line() on its
  // standard output.
  std::vector<std::string> worker = {kOwnProgram, "batch", "worker"};
  std::chrono::milliseconds first_retry{
      1000};                                   // after the first failure; then 4 times as long, ...
  std::chrono::milliseconds patience{30'000};  // with a worker that was asked to end
  std::chrono::milliseconds tick{1000};
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const BatchReport&)> on_tick;  // every `tick`, in the thread that runs it
};

// Does the open jobs of a plan, each in a process of its own: whatever becomes of one, the others
// go on. Returns when none is left, or when it is cancelled and all processes have ended; what is
// not done then is queued. Errors are those of the run itself, such as a full disk under the
// catalogue. Fails with invalid_argument where the memory is too small for so many jobs.
[[nodiscard]] Result<BatchReport> run_jobs(JobCatalogue& catalogue, const BatchPlan& plan,
                                           const BatchOptions& options);

// What each of so many jobs at once may use for payload.
[[nodiscard]] Result<std::uint64_t> memory_of_each(std::uint64_t memory_bytes, unsigned jobs);

}  // namespace grainmill
