// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/format/repair.h"
#include "engine/io/patched_files.h"

#include <string>
#include <vector>

namespace grainmill {

// How the damage to an image and its ancestors can be undone.
struct ChainRepair {
  explicit ChainRepair(FileSystem& files) : repaired(files) {}

  PatchedFiles repaired;  // the files as they would be
  std::vector<Correction> corrections;
  std::vector<Error> doubts;
};

struct ChainRepairOptions {
  DiskOptions disk;
  bool accept_parent = false;  // where content IDs do not match: the parent found is the right one
};

// Plans the links from the top on, as far as they can be opened once they are repaired. Writes
// nothing, and fails only where something cannot be read.
[[nodiscard]] Status plan_chain_repair(FileSystem& files, const std::string& image,
                                       const ChainRepairOptions& options, ChainRepair& repair);

}  // namespace grainmill
