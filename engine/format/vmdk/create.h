// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/format.h"
#include "engine/format/vmdk/descriptor_text.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grainmill::vmdk {

// The disk that a snapshot is made on, opened: see name_parent().
struct SnapshotParent {
  std::string hint;                // its name, as the snapshot will store it
  std::vector<const Link*> chain;  // from the top down; not empty
};

// Options that are not set: as qemu-img has them; for a snapshot, as its parent has them.
struct CreateOptions {
  std::optional<std::uint64_t> size_bytes;  // rounded up to whole sectors
  std::string subformat;                    // createType; empty: sparse, and split as the parent is
  std::optional<std::string> adapter_type;
  std::optional<std::uint32_t> hardware_version;
  std::optional<std::uint32_t> tools_version;
  std::optional<std::uint64_t> grain_bytes;
  bool zeroed_grains = false;  // sparse extents may note zeros without storing them (version 2)
  std::optional<SnapshotParent> parent;
  bool replace = false;  // files that are there already; else they are `invalid_argument`
  Durability durability = Durability::synced;
  RandomSource random = system_random();
};

// What was made.
struct CreatedDisk {
  Descriptor descriptor;
  DiskDatabase database;
  std::uint64_t size_bytes = 0;
  std::uint64_t grain_bytes = 0;   // 0: flat
  std::vector<std::string> files;  // the last is the one to open
  // Readers find the parent only where an option allows them to leave the snapshot's folder.
  bool parent_is_elsewhere = false;
};

// Makes a new VMDK disk that reads as zeros, or as its parent. No file has its name before all are
// written; the one at `path` gets it last. On failure nothing is left that was not there before.
[[nodiscard]] Result<CreatedDisk> create(FileSystem& files, const std::string& path,
                                         const CreateOptions& options);

}  // namespace grainmill::vmdk
