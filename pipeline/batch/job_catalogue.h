// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"
#include "pipeline/batch/batch_lock.h"
#include "pipeline/batch/batch_state.h"
#include "pipeline/batch/job_queue.h"
#include "pipeline/batch/plan.h"
#include "pipeline/sqlite.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grainmill {

// The queue of one machine, in an SQLite file beside the plan: PLAN.db, whose tables
// docs/plan-db.md explains. Others may read it at any time (read_batch()). What a job became is
// durable when the call that says so returns; how far running jobs are, and samples, are stored
// once a second.
class JobCatalogue final : public JobQueue {
 public:
  static constexpr std::int64_t kVersion = 1;

  // Makes it if there is none. Jobs are those of the plan, told by source and target: a line that
  // is new becomes one, what has become of the others stays, and those whose lines are gone are
  // only remembered. A job that a killed run was at is queued again. `busy` while another process
  // has it open for this plan.
  [[nodiscard]] static Result<std::unique_ptr<JobCatalogue>> open(FileSystem& files,
                                                                  const std::string& plan_path,
                                                                  const BatchPlan& plan);

  // Queues what failed.
  [[nodiscard]] Status retry_failed();
  // Queues what is done and was not verified; it is not converted again if it is whole.
  [[nodiscard]] Status verify_done();
  // Queues what is done and whose output is no longer there. Returns the outputs.
  [[nodiscard]] Result<std::vector<std::string>> queue_removed();

  // A run is on its way from begin_run() to end_run(). REQUIRES of the others: it is.
  [[nodiscard]] Status begin_run(std::int64_t now_ms);
  // `resident_bytes`: of all processes together, now.
  [[nodiscard]] Status add_sample(const BatchSample& sample, std::uint64_t resident_bytes);
  [[nodiscard]] Status end_run(std::int64_t now_ms);

  // Costs a copy of what is in memory.
  [[nodiscard]] BatchReport report(std::int64_t now_ms) const;

  [[nodiscard]] Result<std::optional<Lease>> take(const TakeLimits& limits,
                                                  std::int64_t now_ms) override;
  [[nodiscard]] Status renew(const Lease& lease, const JobProgress& progress,
                             std::int64_t now_ms) override;
  [[nodiscard]] Status give_back(const Lease& lease, const JobVerdict& verdict,
                                 std::optional<std::int64_t> retry_at_ms,
                                 std::int64_t now_ms) override;
  [[nodiscard]] Status release(const Lease& lease, const JobVerdict& stopped,
                               std::int64_t now_ms) override;
  [[nodiscard]] Result<std::uint64_t> open_jobs() override;

 private:
  struct Devices {
    std::uint64_t source = 0;
    std::uint64_t target = 0;
  };
  // The largest first; then as in the plan.
  using Place = std::pair<std::uint64_t, std::size_t>;

  JobCatalogue(FileSystem& files, std::string plan_path, OutputChoice output, BatchLock lock,
               Database database);

  [[nodiscard]] Status prepare();
  [[nodiscard]] Status match(const BatchPlan& plan);
  [[nodiscard]] Status add_job(const PlannedImage& image);
  template <typename Predicate>
  [[nodiscard]] Status queue_again(Predicate&& is_meant);
  [[nodiscard]] bool is_gone(const std::string& path) const;
  [[nodiscard]] Status store(const QueuedJob& job);
  [[nodiscard]] Place place_of(std::size_t index) const;
  [[nodiscard]] const Devices& devices_of(std::size_t index);
  [[nodiscard]] Result<Lease> begin_job(std::size_t index, std::int64_t now_ms);
  [[nodiscard]] QueuedJob& job_of(const Lease& lease);

  FileSystem& files_;
  std::string plan_path_;
  OutputChoice output_;
  BatchLock lock_;
  Database database_;
  BatchState state_;
  std::map<std::int64_t, std::size_t> by_id_;  // into state_.jobs
  std::set<Place> waiting_;
  std::set<std::size_t> running_;
  std::map<std::size_t, Devices> devices_;
  bool has_run_ = false;  // is between begin_run() and end_run()
};

// Forgets what has become of the jobs of a plan, for another one to take its name. `busy` while
// another process runs it.
[[nodiscard]] Status forget_batch(FileSystem& files, const std::string& plan_path);

// All that is known of the jobs of a plan, whether they are being done, were or never yet.
[[nodiscard]] Result<BatchReport> read_batch(const std::string& plan_path, const BatchPlan& plan,
                                             std::int64_t now_ms);

}  // namespace grainmill
