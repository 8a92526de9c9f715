// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/batch_lock.h"

namespace grainmill {
namespace {

std::string lock_path(const std::string& plan_path) { return plan_path + ".lock"; }

}  // namespace

// Who only asks whether it is taken has it for a moment.
Result<BatchLock> BatchLock::take(const std::string& plan_path) {
  GM_TRY(Database database, Database::open(lock_path(plan_path)));
  GM_CHECK(database.run_all("PRAGMA busy_timeout = 1000;"));
  const Status locked = database.run_all("BEGIN EXCLUSIVE");
  if (locked) return BatchLock(std::move(database));
  if (locked.error().kind != ErrorKind::busy) return std::unexpected(locked.error());
  return fail(ErrorKind::busy, plan_path,
              "another `batch run` works on this plan: `batch status` says how far it is");
}

bool BatchLock::is_taken(const std::string& plan_path) {
  Result<Database> database = Database::open_existing(lock_path(plan_path));
  if (!database) return false;
  const Result<std::int64_t> tables = database->integer("SELECT count(*) FROM sqlite_schema");
  return !tables && tables.error().kind == ErrorKind::busy;
}

}  // namespace grainmill
