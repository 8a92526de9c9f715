// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/job.h"

#include <cstdint>
#include <optional>
#include <set>

namespace grainmill {

// What a worker cannot take now.
struct TakeLimits {
  std::set<std::uint64_t> full_devices;  // file systems that have as many jobs as they may
};

// A job that was taken: nobody else gets it until it is given back or the lease has run out.
struct Lease {
  Job job;
  std::uint64_t source_device = 0;  // the file systems that it keeps busy
  std::uint64_t target_device = 0;
};

// Where units of work come from and verdict records go to. The one place that knows who does what;
// an engine over several machines is another implementation of it, and nothing else changes.
// Threads: one call at a time. Times are milliseconds since the epoch.
class JobQueue {
 public:
  virtual ~JobQueue() = default;

  // The largest job that may be begun; nullopt if there is none now. Durable when it returns: a job
  // that was begun is known to have been, whatever happens next.
  [[nodiscard]] virtual Result<std::optional<Lease>> take(const TakeLimits& limits,
                                                          std::int64_t now_ms) = 0;

  // How far a job that was taken is; keeps the lease.
  [[nodiscard]] virtual Status renew(const Lease& lease, const JobProgress& progress,
                                     std::int64_t now_ms) = 0;

  // Ends the job, durably. `retry_at_ms`: it failed, but is to be tried again, then.
  [[nodiscard]] virtual Status give_back(const Lease& lease, const JobVerdict& verdict,
                                         std::optional<std::int64_t> retry_at_ms,
                                         std::int64_t now_ms) = 0;

  // Puts a job that was taken, and stopped with nothing wrong, back to where it was. Of `stopped`
  // only what the attempt cost counts.
  [[nodiscard]] virtual Status release(const Lease& lease, const JobVerdict& stopped,
                                       std::int64_t now_ms) = 0;

  // Jobs that are queued (those that wait to be tried again, too) or running.
  [[nodiscard]] virtual Result<std::uint64_t> open_jobs() = 0;

 protected:
  JobQueue() = default;
  JobQueue(const JobQueue&) = default;
  JobQueue& operator=(const JobQueue&) = default;
};

}  // namespace grainmill
