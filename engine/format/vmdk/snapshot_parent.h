// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/format.h"
#include "engine/format/vmdk/geometry.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace grainmill::vmdk {

// Where the disk is that a snapshot is to be made on, and what the snapshot will call it.
struct ParentName {
  std::string path;
  std::string hint;
};

// Takes a relative name as relative to the snapshot's folder, as qemu-img does. A file that the
// name means only from the current folder is taken if it lies in the snapshot's folder too; where
// the name could mean two files, or one that the snapshot could not name so, it is refused.
[[nodiscard]] Result<ParentName> name_parent(FileSystem& files, const std::string& snapshot_path,
                                             const std::string& written);

// What a snapshot takes over from the disk it is made on. Of the disk data base: what the nearest
// link says, because links leave out what their parents say.
struct ParentFacts {
  std::uint64_t size_bytes = 0;
  std::uint32_t content_id = 0;
  bool split = false;
  std::optional<std::uint64_t> grain_bytes;
  std::optional<std::string> adapter_type;
  std::optional<Geometry> geometry;
  std::optional<std::uint32_t> hardware_version;
  std::optional<std::uint32_t> tools_version;
  std::optional<std::string> long_content_id;
};

// `chain`: the disk's links, from the top down. REQUIRES: not empty.
[[nodiscard]] Result<ParentFacts> read_parent(std::span<const Link* const> chain);

}  // namespace grainmill::vmdk
