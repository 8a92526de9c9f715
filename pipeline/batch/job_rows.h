// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/batch_state.h"
#include "pipeline/batch/plan.h"
#include "pipeline/sqlite.h"

#include <map>
#include <string>
#include <utility>

namespace grainmill {

// The tables of PLAN.db as structs and back; docs/plan-db.md says what they mean.

// Makes them, or makes sure that they are those of this version.
[[nodiscard]] Status prepare_tables(Database& database, std::int64_t version);
// Whether there are any, of this version.
[[nodiscard]] Result<bool> has_tables(Database& database, std::int64_t version);

// By source and target; each record's image has no more than these.
using StoredJobs = std::map<std::pair<std::string, std::string>, QueuedJob>;
[[nodiscard]] Result<StoredJobs> read_jobs(Database& database);
// All but what a plan says; its row is there.
[[nodiscard]] Status write_job(Database& database, const QueuedJob& job);

// With their samples.
[[nodiscard]] Status read_runs(Database& database, BatchState& state);

// What a plan says of a job, and what is known of it: nullptr for nothing. A job that is planned
// to be skipped is; one that was, and is not any more, is queued.
[[nodiscard]] QueuedJob joined(const PlannedImage& image, const QueuedJob* stored);

}  // namespace grainmill
