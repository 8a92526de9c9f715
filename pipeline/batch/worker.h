// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/process.h"
#include "pipeline/batch/convert_job.h"
#include "pipeline/batch/job_queue.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

// A process that does a job, as the one that started it sees it.
class Worker {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Worker>> start(
      const std::vector<std::string>& command, const Lease& lease, const ConvertJob& job);

  // Takes what it has said since it was last waited for.
  void listen();

  [[nodiscard]] const Lease& lease() const { return lease_; }
  [[nodiscard]] Process& process() const { return *process_; }
  [[nodiscard]] const JobProgress& progress() const { return progress_; }

  // Guest data that it has gone through, read or not; and that it read.
  [[nodiscard]] std::uint64_t guest_bytes() const {
    return earlier_.guest_bytes + progress_.guest_bytes;
  }
  [[nodiscard]] std::uint64_t data_bytes() const {
    return earlier_.data_bytes + progress_.data_bytes;
  }

  // What became of the job; of a process that ended without saying so, how it ended. REQUIRES: it
  // has ended, and was listened to.
  [[nodiscard]] JobVerdict verdict() const;

 private:
  Worker(std::unique_ptr<Process> process, Lease lease)
      : process_(std::move(process)), lease_(std::move(lease)) {}

  void take_line(std::string_view line);
  [[nodiscard]] JobVerdict crash() const;

  std::unique_ptr<Process> process_;
  Lease lease_;
  std::string rest_;          // of a line that is not complete
  bool is_too_long_ = false;  // what comes up to the next line break is dropped
  JobProgress progress_;
  JobProgress earlier_;  // of the passes before this one
  std::optional<JobVerdict> verdict_;
  std::string nonsense_;  // what was none of the lines that it should print
};

}  // namespace grainmill
