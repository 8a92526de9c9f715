// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_catalogue.h"

#include "pipeline/batch/job_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace grainmill {
namespace {

std::string database_path(const std::string& plan_path) { return plan_path + ".db"; }

}  // namespace

JobCatalogue::JobCatalogue(FileSystem& files, std::string plan_path, OutputChoice output,
                           BatchLock lock, Database database)
    : files_(files),
      plan_path_(std::move(plan_path)),
      output_(std::move(output)),
      lock_(std::move(lock)),
      database_(std::move(database)) {}

Result<std::unique_ptr<JobCatalogue>> JobCatalogue::open(FileSystem& files,
                                                         const std::string& plan_path,
                                                         const BatchPlan& plan) {
  GM_TRY(BatchLock lock, BatchLock::take(plan_path));
  GM_TRY(Database database, Database::open(database_path(plan_path)));
  std::unique_ptr<JobCatalogue> catalogue(
      new JobCatalogue(files, plan_path, plan.output, std::move(lock), std::move(database)));
  GM_CHECK(catalogue->prepare());
  GM_CHECK(catalogue->match(plan));
  return catalogue;
}

// Only who reads may be in the way, and that is over soon.
Status JobCatalogue::prepare() {
  GM_CHECK(database_.run_all("PRAGMA busy_timeout = 10000;"));
  return prepare_tables(database_, kVersion);
}

Status JobCatalogue::match(const BatchPlan& plan) {
  GM_TRY(StoredJobs stored, read_jobs(database_));
  GM_CHECK(read_runs(database_, state_));
  GM_CHECK(database_.run_all("BEGIN IMMEDIATE; UPDATE jobs SET is_planned = 0;"));
  for (const PlannedImage& image : plan.images) {
    const auto found = stored.find({image.source, image.target});
    if (found == stored.end()) {
      GM_CHECK(add_job(image));
    } else {
      state_.jobs.push_back(joined(image, &found->second));
    }
    QueuedJob& job = state_.jobs.back();
    const std::size_t index = state_.jobs.size() - 1;
    if (!by_id_.emplace(job.record.id, index).second)
      return fail(ErrorKind::invalid_argument, plan_path_,
                  fmt::format("has two lines for {}", image.source));
    // Whoever ran it has gone, for the lock is ours.
    if (job.record.state == JobState::running) job.record.state = JobState::queued;
    if (job.record.state == JobState::queued) waiting_.insert(place_of(index));
    GM_CHECK(store(job));
  }
  return database_.run_all("COMMIT");
}

Status JobCatalogue::add_job(const PlannedImage& image) {
  const std::string_view source = image.source;
  const std::string_view target = image.target;
  GM_CHECK(database_.run("INSERT INTO jobs(source, target) VALUES(?, ?) ON CONFLICT DO NOTHING",
                         {source, target}));
  state_.jobs.push_back(joined(image, nullptr));
  GM_TRY(
      state_.jobs.back().record.id,
      database_.integer("SELECT id FROM jobs WHERE source = ? AND target = ?", {source, target}));
  return {};
}

Status JobCatalogue::store(const QueuedJob& job) { return write_job(database_, job); }

JobCatalogue::Place JobCatalogue::place_of(std::size_t index) const {
  const std::uint64_t weight = BatchState::weight(state_.jobs[index].record.image);
  return {std::numeric_limits<std::uint64_t>::max() - weight, index};
}

template <typename Predicate>
Status JobCatalogue::queue_again(Predicate&& is_meant) {
  GM_CHECK(database_.run_all("BEGIN IMMEDIATE"));
  for (std::size_t index = 0; index < state_.jobs.size(); ++index) {
    QueuedJob& job = state_.jobs[index];
    if (!is_meant(job.record)) continue;
    job.record.state = JobState::queued;
    job.record.ended_ms.reset();
    job.record.not_before_ms.reset();
    job.failures = 0;
    waiting_.insert(place_of(index));
    GM_CHECK(store(job));
  }
  return database_.run_all("COMMIT");
}

Status JobCatalogue::retry_failed() {
  return queue_again([](const JobRecord& job) { return job.state == JobState::failed; });
}

Status JobCatalogue::verify_done() {
  return queue_again(
      [](const JobRecord& job) { return job.state == JobState::done && !job.verdict.verified; });
}

Result<std::vector<std::string>> JobCatalogue::queue_removed() {
  std::vector<std::string> removed;
  GM_CHECK(queue_again([&](const JobRecord& job) {
    if (job.state != JobState::done || !is_gone(job.image.target)) return false;
    removed.push_back(job.image.target);
    return true;
  }));
  return removed;
}

bool JobCatalogue::is_gone(const std::string& path) const {
  const auto file = files_.open_read(path);
  return !file && file.error().kind == ErrorKind::not_found;
}

Status JobCatalogue::begin_run(std::int64_t now_ms) {
  GM_CHECK(database_.run("INSERT INTO runs(begun_ms) VALUES(?)", {now_ms}));
  BatchRun run;
  run.id = database_.last_row();
  run.begun_ms = now_ms;
  state_.begin_run(std::move(run));
  has_run_ = true;
  return {};
}

// None of it must survive a power cut: it is about what is going on.
Status JobCatalogue::add_sample(const BatchSample& sample, std::uint64_t resident_bytes) {
  BatchRun& run = state_.runs.back();
  run.peak_rss_bytes = std::max(run.peak_rss_bytes, resident_bytes);
  state_.add_sample(sample);
  GM_CHECK(database_.run_all("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE;"));
  GM_CHECK(database_.run("UPDATE runs SET peak_rss_bytes = ? WHERE id = ?",
                         {sql_number(run.peak_rss_bytes), run.id}));
  GM_CHECK(database_.run("INSERT OR REPLACE INTO samples VALUES(?, ?, ?, ?, ?)",
                         {run.id, sample.time_ms, sql_number(sample.guest_bytes),
                          sql_number(sample.data_bytes), sql_number(sample.running)}));
  for (const std::size_t index : running_) GM_CHECK(store(state_.jobs[index]));
  return database_.run_all("COMMIT; PRAGMA synchronous = FULL;");
}

Status JobCatalogue::end_run(std::int64_t now_ms) {
  BatchRun& run = state_.runs.back();
  run.ended_ms = now_ms;
  has_run_ = false;
  return database_.run("UPDATE runs SET ended_ms = ?, peak_rss_bytes = ? WHERE id = ?",
                       {now_ms, sql_number(run.peak_rss_bytes), run.id});
}

BatchReport JobCatalogue::report(std::int64_t now_ms) const {
  BatchReport report = state_.report(now_ms, has_run_);
  report.plan = plan_path_;
  report.output = output_;
  return report;
}

const JobCatalogue::Devices& JobCatalogue::devices_of(std::size_t index) {
  const auto [found, is_new] = devices_.try_emplace(index);
  if (is_new) {
    const PlannedImage& image = state_.jobs[index].record.image;
    found->second = {files_.device_of(image.source), files_.device_of(folder_of(image.target))};
  }
  return found->second;
}

Result<std::optional<Lease>> JobCatalogue::take(const TakeLimits& limits, std::int64_t now_ms) {
  for (const auto& [key, index] : waiting_) {
    if (state_.jobs[index].record.not_before_ms.value_or(now_ms) > now_ms) continue;
    if (!limits.full_devices.empty()) {
      const Devices& devices = devices_of(index);
      if (limits.full_devices.contains(devices.source) ||
          limits.full_devices.contains(devices.target))
        continue;
    }
    return begin_job(index, now_ms);
  }
  return std::nullopt;
}

Result<Lease> JobCatalogue::begin_job(std::size_t index, std::int64_t now_ms) {
  QueuedJob& job = state_.jobs[index];
  JobRecord& record = job.record;
  if (is_gone(record.image.target)) {
    job.owns_target = true;
    record.verdict.was_done = false;
  }
  waiting_.erase(place_of(index));
  running_.insert(index);
  record.state = JobState::running;
  ++record.attempts;
  record.begun_ms = now_ms;
  record.ended_ms.reset();
  record.not_before_ms.reset();
  record.progress = {};
  GM_CHECK(store(job));
  const Devices& devices = devices_of(index);
  return Lease{{record.id, record.image, record.attempts, job.failures, job.owns_target,
                record.verdict.was_done},
               devices.source,
               devices.target};
}

QueuedJob& JobCatalogue::job_of(const Lease& lease) { return state_.jobs[by_id_.at(lease.job.id)]; }

Status JobCatalogue::renew(const Lease& lease, const JobProgress& progress,
                           std::int64_t /*now_ms*/) {
  job_of(lease).record.progress = progress;
  return {};
}

Status JobCatalogue::give_back(const Lease& lease, const JobVerdict& verdict,
                               std::optional<std::int64_t> retry_at_ms, std::int64_t now_ms) {
  QueuedJob& job = job_of(lease);
  JobRecord& record = job.record;
  const std::size_t index = by_id_.at(lease.job.id);
  running_.erase(index);
  record.progress = {};
  const bool was_done = record.verdict.was_done || verdict.state == JobState::done;
  record.verdict = verdict;
  record.verdict.was_done = was_done;
  record.total_cpu_ms += verdict.cpu_ms;
  record.total_worked_bytes += verdict.worked_bytes;
  if (retry_at_ms) {
    record.state = JobState::queued;
    record.not_before_ms = retry_at_ms;
    ++job.failures;
    waiting_.insert(place_of(index));
  } else {
    record.state = verdict.state;
    record.ended_ms = now_ms;
  }
  return store(job);
}

Status JobCatalogue::release(const Lease& lease, const JobVerdict& stopped,
                             std::int64_t /*now_ms*/) {
  QueuedJob& job = job_of(lease);
  job.record.total_cpu_ms += stopped.cpu_ms;
  job.record.total_worked_bytes += stopped.worked_bytes;
  const std::size_t index = by_id_.at(lease.job.id);
  running_.erase(index);
  job.record.progress = {};
  job.record.state = JobState::queued;
  waiting_.insert(place_of(index));
  return store(job);
}

Result<std::uint64_t> JobCatalogue::open_jobs() { return waiting_.size() + running_.size(); }

Status forget_batch(FileSystem& files, const std::string& plan_path) {
  const std::string database = database_path(plan_path);
  if (const Result<std::unique_ptr<File>> file = files.open_read(database); !file)
    return file.error().kind == ErrorKind::not_found ? Status() : std::unexpected(file.error());
  GM_TRY(const BatchLock lock, BatchLock::take(plan_path));
  // Its log first: without it the database is what it was a while ago, and no other's.
  for (const char* const end : {"-wal", "-shm", ""}) GM_CHECK(files.remove(database + end));
  return {};
}

Result<BatchReport> read_batch(const std::string& plan_path, const BatchPlan& plan,
                               std::int64_t now_ms) {
  const bool is_running = BatchLock::is_taken(plan_path);
  BatchState state;
  StoredJobs stored;
  // One snapshot of it, whatever is written meanwhile; there is none before the first run.
  if (Result<Database> database = Database::open_existing(database_path(plan_path))) {
    GM_CHECK(database->run_all("PRAGMA busy_timeout = 10000; BEGIN;"));
    GM_TRY(const bool there, has_tables(*database, JobCatalogue::kVersion));
    if (there) {
      GM_TRY(stored, read_jobs(*database));
      GM_CHECK(read_runs(*database, state));
    }
  } else if (database.error().kind != ErrorKind::not_found) {
    return std::unexpected(database.error());
  }
  for (const PlannedImage& image : plan.images) {
    const auto found = stored.find({image.source, image.target});
    state.jobs.push_back(joined(image, found != stored.end() ? &found->second : nullptr));
    JobRecord& record = state.jobs.back().record;
    if (!is_running && record.state == JobState::running) record.state = JobState::queued;
  }
  BatchReport report = state.report(now_ms, is_running);
  report.plan = plan_path;
  report.output = plan.output;
  return report;
}

}  // namespace grainmill
