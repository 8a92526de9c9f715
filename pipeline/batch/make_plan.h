// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/plan.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

struct PlanOptions {
  std::vector<std::string> sources;  // folders, images, shell patterns; @FILE: a list of such
  std::vector<std::string> raw;      // shell patterns of raw disks' names
  std::vector<std::string> exclude;  // shell patterns of names to leave alone
  std::string target_folder;         // it must exist
  std::string plan;                  // where the plan will be written
  OutputChoice output;
  OpenPolicy policy;
  bool force = false;  // plan what replaces files, or may not fit
  std::int64_t now = 0;
  const std::atomic<bool>* cancelled = nullptr;
};

struct MadePlan {
  BatchPlan plan;
  std::vector<Error> failures;  // folders and files that could not be looked at
};

// Finds the disks, opens and measures each, and chooses its target. A disk that is known to be bad
// is planned all the same, with its reason. Fails where the whole plan would be a mistake: two
// disks for one target, targets that exist, no room, options that the format refuses; the error may
// then have a line for each. Writes nothing.
[[nodiscard]] Result<MadePlan> make_plan(FileSystem& files, const PlanOptions& options);

// Fails as make_plan() would for a source that does not exist, and looks no further.
[[nodiscard]] Status check_plan_sources(FileSystem& files, const PlanOptions& options);

}  // namespace grainmill
