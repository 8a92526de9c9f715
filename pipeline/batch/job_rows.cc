// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_rows.h"

#include "pipeline/batch/job_json.h"

#include <fmt/format.h>

namespace grainmill {
namespace {

// A change is a new version, and a way to it from each older one.
constexpr const char* kSchema = R"sql(
CREATE TABLE runs(
  id INTEGER PRIMARY KEY, begun_ms INTEGER NOT NULL, ended_ms INTEGER,
  peak_rss_bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE samples(
  run INTEGER NOT NULL REFERENCES runs(id), time_ms INTEGER NOT NULL, guest_bytes INTEGER NOT NULL,
  data_bytes INTEGER NOT NULL, running INTEGER NOT NULL, PRIMARY KEY(run, time_ms)) WITHOUT ROWID;
CREATE TABLE jobs(
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL,
  is_planned INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL DEFAULT 'queued',
  attempts INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
  owns_target INTEGER NOT NULL DEFAULT 0, begun_ms INTEGER, ended_ms INTEGER,
  not_before_ms INTEGER, total_cpu_ms INTEGER NOT NULL DEFAULT 0,
  total_worked_bytes INTEGER NOT NULL DEFAULT 0, guest_bytes INTEGER NOT NULL DEFAULT 0,
  data_bytes INTEGER NOT NULL DEFAULT 0, verifying INTEGER NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL DEFAULT '', UNIQUE(source, target));
PRAGMA application_id = 1196245578;  -- "GMBJ"
)sql";

Result<JobState> state_by_name(std::string_view name, const std::string& path) {
  for (std::size_t i = 0; i < kJobStates; ++i)
    if (const auto state = static_cast<JobState>(i); job_state_name(state) == name) return state;
  return fail(ErrorKind::corrupt, path,
              fmt::format("has a job in state '{}', which is none", name));
}

Result<JobVerdict> parse_verdict(const std::string& text, const std::string& path) {
  if (text.empty()) return JobVerdict();
  const auto parsed = parse_worker_line(text);
  if (!parsed || !std::holds_alternative<JobVerdict>(*parsed))
    return fail(ErrorKind::corrupt, path, "has a job whose verdict is none");
  return std::get<JobVerdict>(*parsed);
}

Result<QueuedJob> read_job(const Statement& row, const std::string& path) {
  QueuedJob job;
  JobRecord& record = job.record;
  record.id = row.integer(0);
  record.image.source = row.text(1);
  record.image.target = row.text(2);
  GM_TRY(record.state, state_by_name(row.text(3), path));
  record.attempts = static_cast<unsigned>(row.integer(4));
  job.failures = static_cast<unsigned>(row.integer(5));
  job.owns_target = row.integer(6) != 0;
  record.begun_ms = row.optional_integer(7);
  record.ended_ms = row.optional_integer(8);
  record.not_before_ms = row.optional_integer(9);
  record.total_cpu_ms = row.number(10);
  record.total_worked_bytes = row.number(11);
  record.progress = {row.number(12), row.number(13), row.integer(14) != 0};
  GM_TRY(record.verdict, parse_verdict(row.text(15), path));
  return job;
}

Status read_samples(Database& database, BatchState& state) {
  GM_TRY(Statement rows, database.query("SELECT time_ms, guest_bytes, data_bytes, running FROM "
                                        "samples WHERE run = ? ORDER BY time_ms",
                                        {state.runs.back().id}));
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return {};
    state.add_sample({rows.integer(0), rows.number(1), rows.number(2),
                      static_cast<std::uint32_t>(rows.integer(3))});
  }
}

}  // namespace

Result<bool> has_tables(Database& database, std::int64_t version) {
  GM_TRY(const std::int64_t found, database.integer("PRAGMA user_version"));
  GM_TRY(const std::int64_t tables, database.integer("SELECT count(*) FROM sqlite_schema"));
  if (found > version)
    return fail(ErrorKind::unsupported, database.path(),
                fmt::format("is of version {}, this program knows up to {}: use the program that "
                            "made it, or a newer one",
                            found, version));
  if (found == 0 && tables != 0)
    return fail(ErrorKind::unsupported, database.path(),
                "is a database of another program, at the place for what is known of the plan");
  return tables != 0;
}

Status prepare_tables(Database& database, std::int64_t version) {
  GM_TRY(const bool there, has_tables(database, version));
  GM_CHECK(database.run_all("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"));
  if (there) return {};
  return database.run_all(
      fmt::format("BEGIN IMMEDIATE; {} PRAGMA user_version = {}; COMMIT;", kSchema, version));
}

Result<StoredJobs> read_jobs(Database& database) {
  GM_TRY(Statement rows,
         database.query("SELECT id, source, target, state, attempts, failures, owns_target, "
                        "begun_ms, ended_ms, not_before_ms, total_cpu_ms, total_worked_bytes, "
                        "guest_bytes, data_bytes, verifying, verdict FROM jobs"));
  StoredJobs jobs;
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return jobs;
    GM_TRY(QueuedJob job, read_job(rows, database.path()));
    std::pair key(job.record.image.source, job.record.image.target);
    jobs.emplace(std::move(key), std::move(job));
  }
}

Status write_job(Database& database, const QueuedJob& job) {
  const JobRecord& record = job.record;
  // Of one that was never given back there is none.
  const bool has_verdict = !record.verdict.error_kind.empty() || !record.verdict.reason.empty() ||
                           record.verdict.state == JobState::done || record.verdict.was_done;
  const std::string verdict = has_verdict ? verdict_line(record.verdict) : "";
  return database.run(
      "UPDATE jobs SET is_planned = 1, state = ?, attempts = ?, failures = ?, owns_target = ?, "
      "begun_ms = ?, ended_ms = ?, not_before_ms = ?, total_cpu_ms = ?, total_worked_bytes = ?, "
      "guest_bytes = ?, data_bytes = ?, verifying = ?, verdict = ? WHERE id = ?",
      {job_state_name(record.state), sql_number(record.attempts), sql_number(job.failures),
       sql_number(job.owns_target ? 1 : 0), sql_optional(record.begun_ms),
       sql_optional(record.ended_ms), sql_optional(record.not_before_ms),
       sql_number(record.total_cpu_ms), sql_number(record.total_worked_bytes),
       sql_number(record.progress.guest_bytes), sql_number(record.progress.data_bytes),
       sql_number(record.progress.verifying ? 1 : 0), std::string_view(verdict), record.id});
}

Status read_runs(Database& database, BatchState& state) {
  GM_TRY(Statement rows, database.query("SELECT id, begun_ms, ended_ms, peak_rss_bytes FROM runs "
                                        "ORDER BY id"));
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return {};
    state.begin_run({.id = rows.integer(0),
                     .begun_ms = rows.integer(1),
                     .ended_ms = rows.optional_integer(2),
                     .peak_rss_bytes = rows.number(3),
                     .samples = {}});
    GM_CHECK(read_samples(database, state));
  }
}

QueuedJob joined(const PlannedImage& image, const QueuedJob* stored) {
  QueuedJob job = stored != nullptr ? *stored : QueuedJob();
  JobRecord& record = job.record;
  record.image = image;
  const bool skip = image.state == PlannedState::skipped;
  if (skip && record.state != JobState::done) {
    record.state = JobState::skipped;
    record.verdict = {.was_done = record.verdict.was_done};
    record.verdict.reason = image.reason;
  } else if (!skip && record.state == JobState::skipped) {
    record.state = JobState::queued;
    record.verdict = {.was_done = record.verdict.was_done};
  }
  return job;
}

}  // namespace grainmill
