// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/plan.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grainmill {

using FileIdentity = std::pair<std::uint64_t, std::uint64_t>;  // device and inode
using FileIdentities = std::set<FileIdentity>;

// Where the disk at this path below a source goes: the same path below the folder, with the suffix
// of a disk replaced by that of the format.
[[nodiscard]] std::string target_of(const std::string& folder, const std::string& relative,
                                    const std::string& format);

struct TargetOptions {
  std::string folder;  // canonical
  std::string plan;    // absolute: no output may have its name
  OutputChoice output;
  bool force = false;  // files that are replaced, and outputs that may not fit, are fine
};

// Refuses targets that are one file, that are files of sources, that exist, or that do not fit.
[[nodiscard]] Status check_targets(FileSystem& files, const TargetOptions& options,
                                   const std::vector<PlannedImage>& images,
                                   const FileIdentities& source_files);

}  // namespace grainmill
