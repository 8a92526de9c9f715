// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/patched_files.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

// One change to one file that would undo damage.
struct Correction {
  std::string path;
  FilePatch patch;
  std::string what;  // it puts right, and what says so
};

// How the damage to one link can be undone by what is whole of it. No correction is a guess: where
// two ways to put something right are as good, it is a doubt.
struct RepairPlan {
  std::vector<Correction> corrections;
  std::vector<Error> doubts;  // what is damaged and cannot be decided, a place each
};

}  // namespace grainmill
