// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/vmdk/disk_plan.h"
#include "engine/io/output_files.h"

#include <string>
#include <vector>

namespace grainmill::vmdk {

// The files of a new disk, laid out but without names: it reads as zeros, or as its parent.
struct NewDisk {
  explicit NewDisk(FileSystem& files) : outputs(files) {}

  DiskPlan plan;
  std::vector<File*> extents;  // one for each line of the descriptor
  OutputFiles outputs;
  bool parent_is_elsewhere = false;  // see CreatedDisk
};

// Fails without having changed anything that has a name. Extents that hold compressed grains are
// left empty.
[[nodiscard]] Result<NewDisk> begin_disk(FileSystem& files, const std::string& path,
                                         const CreateOptions& options, Contents contents);

}  // namespace grainmill::vmdk
