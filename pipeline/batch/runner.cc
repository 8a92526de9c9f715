// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/runner.h"

#include "pipeline/batch/worker.h"

#include <fmt/format.h>
#include <oneapi/tbb/info.h>

#include <algorithm>
#include <map>
#include <utility>

namespace grainmill {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What a process takes beside the payload of its graph: code, libraries, tables, compressors.
constexpr std::uint64_t kProcessBytes = 24 * kMiB;
constexpr std::uint64_t kLeastPayload = 8 * kMiB;
constexpr std::uint64_t kMostPayload = 64 * kMiB;
constexpr unsigned kMostJobs = 8;  // where nobody says how many
constexpr auto kSampleInterval = milliseconds(1000);
constexpr unsigned kMostDoublings = 20;  // of the time before a job is tried again

std::int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class Runner {
 public:
  Runner(JobCatalogue& catalogue, const BatchPlan& plan, const BatchOptions& options)
      : catalogue_(catalogue), plan_(plan), options_(options) {
    const auto processors = static_cast<unsigned>(oneapi::tbb::info::default_concurrency());
    slots_ = options.jobs != 0 ? options.jobs : std::min(processors, kMostJobs);
    threads_ = options.threads != 0 ? options.threads : processors;
  }

  Result<BatchReport> run() {
    GM_TRY(memory_each_, memory_of_each(options_.memory_bytes, slots_));
    GM_CHECK(catalogue_.begin_run(now_ms()));
    while (true) {
      if (!is_cancelled()) GM_CHECK(fill_slots());
      if (workers_.empty() && is_cancelled()) break;
      GM_TRY(const std::uint64_t open, catalogue_.open_jobs());
      if (open == 0) break;
      wait();
      GM_CHECK(collect());
      GM_CHECK(keep_time());
    }
    GM_CHECK(sample());
    GM_CHECK(catalogue_.end_run(now_ms()));
    return catalogue_.report(now_ms());
  }

 private:
  bool is_cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }

  Status fill_slots() {
    while (workers_.size() < slots_) {
      GM_TRY(const std::optional<Lease> lease, catalogue_.take(limits(), now_ms()));
      if (!lease) return {};
      GM_CHECK(begin(*lease));
    }
    return {};
  }

  // A process that cannot be started is the job's failure, and may pass.
  Status begin(const Lease& lease) {
    GM_TRY(const std::uint64_t open, catalogue_.open_jobs());
    const auto at_once = std::min<std::uint64_t>(slots_, open);
    ConvertJob job{.job = lease.job,
                   .output = plan_.output,
                   .policy = plan_.policy,
                   .allow_replace = plan_.allow_replace,
                   .verify = options_.verify,
                   .durability = options_.durability,
                   .threads = std::max(1U, threads_ / static_cast<unsigned>(at_once)),
                   .memory_bytes = memory_each_};
    Result<std::unique_ptr<Worker>> worker = Worker::start(options_.worker, lease, job);
    if (!worker) return end(lease, failed_verdict(worker.error()));
    workers_.push_back(std::move(*worker));
    return {};
  }

  TakeLimits limits() const {
    TakeLimits limits;
    if (options_.per_mount == 0) return limits;
    std::map<std::uint64_t, unsigned> used;
    for (const auto& worker : workers_) {
      const Lease& lease = worker->lease();
      ++used[lease.source_device];
      if (lease.target_device != lease.source_device) ++used[lease.target_device];
    }
    for (const auto& [device, jobs] : used)
      if (jobs >= options_.per_mount) limits.full_devices.insert(device);
    return limits;
  }

  void wait() {
    std::vector<Process*> processes;
    processes.reserve(workers_.size());
    for (const auto& worker : workers_) processes.push_back(&worker->process());
    constexpr auto kMost = milliseconds(100);  // then look whether it was cancelled
    Process::wait_for_any(processes, std::min(kMost, options_.tick));
  }

  // Hears what the workers have to say, and gives back the jobs of those that have ended.
  Status collect() {
    for (const auto& worker : workers_) {
      worker->listen();
      GM_CHECK(catalogue_.renew(worker->lease(), worker->progress(), now_ms()));
    }
    for (std::size_t i = 0; i < workers_.size();) {
      if (!workers_[i]->process().end()) {
        ++i;
        continue;
      }
      const std::unique_ptr<Worker> ended = std::move(workers_[i]);
      workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
      worked_.guest_bytes += ended->guest_bytes();
      worked_.data_bytes += ended->data_bytes();
      GM_CHECK(end(ended->lease(), ended->verdict()));
    }
    return {};
  }

  // Whoever was told to end, and did, has no verdict that counts. (From a terminal, they are told
  // together with this program.)
  Status end(const Lease& lease, JobVerdict verdict) {
    if (is_cancelled() &&
        (verdict.error_kind == kCancelledKind || verdict.error_kind == kCrashKind))
      return catalogue_.release(lease, verdict, now_ms());
    if (verdict.error_kind == kCancelledKind) {
      verdict.reason = "its process was told to end by someone else";
      verdict.may_retry = true;
    }
    std::optional<std::int64_t> retry_at_ms;
    if (verdict.state == JobState::failed && verdict.may_retry &&
        lease.job.failures < options_.retries)
      retry_at_ms = now_ms() + wait_before(lease.job.failures).count();
    return catalogue_.give_back(lease, verdict, retry_at_ms, now_ms());
  }

  milliseconds wait_before(unsigned failures) const {
    return options_.first_retry * (std::int64_t{1} << std::min(2 * failures, kMostDoublings));
  }

  // What is to be done now and then.
  Status keep_time() {
    const Clock::time_point now = Clock::now();
    if (is_cancelled()) stop_workers(now);
    if (now >= next_sample_) {
      next_sample_ = now + kSampleInterval;
      GM_CHECK(sample());
    }
    if (now >= next_tick_ && options_.on_tick) {
      next_tick_ = now + options_.tick;
      options_.on_tick(catalogue_.report(now_ms()));
    }
    return {};
  }

  void stop_workers(Clock::time_point now) {
    if (!asked_at_) {
      asked_at_ = now;
      for (const auto& worker : workers_) worker->process().ask_to_end();
    }
    if (now - *asked_at_ > options_.patience)
      for (const auto& worker : workers_) worker->process().kill();
  }

  Status sample() {
    BatchSample sample = worked_;
    std::uint64_t resident = own_resident_bytes();
    for (const auto& worker : workers_) {
      sample.guest_bytes += worker->guest_bytes();
      sample.data_bytes += worker->data_bytes();
      resident += worker->process().resident_bytes();
    }
    // A disk that is read back is gone through twice, and is one disk all the same.
    if (options_.verify) sample.guest_bytes /= 2;
    sample.time_ms = now_ms();
    sample.running = static_cast<std::uint32_t>(workers_.size());
    return catalogue_.add_sample(sample, resident);
  }

  JobCatalogue& catalogue_;
  const BatchPlan& plan_;
  const BatchOptions& options_;
  unsigned slots_ = 1;
  unsigned threads_ = 1;
  std::uint64_t memory_each_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  BatchSample worked_;  // by those that have ended
  Clock::time_point next_sample_;
  Clock::time_point next_tick_;
  std::optional<Clock::time_point> asked_at_;  // to end
};

}  // namespace

Result<std::uint64_t> memory_of_each(std::uint64_t memory_bytes, unsigned jobs) {
  const std::uint64_t processes = std::uint64_t{jobs} + 1;
  const std::uint64_t least = processes * kProcessBytes + jobs * kLeastPayload;
  if (memory_bytes < least)
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("{} jobs at once need {} of memory at least, {} were allowed: raise "
                            "--memory, or lower --jobs",
                            jobs, format_size(least), format_size(memory_bytes)));
  return std::min((memory_bytes - processes * kProcessBytes) / jobs, kMostPayload);
}

Result<BatchReport> run_jobs(JobCatalogue& catalogue, const BatchPlan& plan,
                             const BatchOptions& options) {
  return Runner(catalogue, plan, options).run();
}

}  // namespace grainmill
