// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/format/repair.h"
#include "engine/io/file_system.h"
#include "pipeline/graph.h"
#include "pipeline/rescue_map.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

struct SalvageOptions {
  std::string image;
  DiskOptions disk;
  std::string output;  // a raw disk; beside it, rescue_map_path()
  GraphOptions graph;  // threads, memory_bytes, cancelled and on_progress
  Durability durability = Durability::synced;
  std::function<void(const Correction&)> on_correction = [](const Correction&) {};
  // Each range that is not finished, in guest order.
  std::function<void(const RescuedRange&)> on_range = [](const RescuedRange&) {};
  // Damage that is about no range: what is read may be wrong anywhere.
  std::function<void(const Error&)> on_damage = [](const Error&) {};
};

struct SalvageReport {
  std::string format;
  std::uint64_t disk_bytes = 0;
  std::uint64_t corrections = 0;  // that the image was read with
  std::uint64_t doubtful_bytes = 0;
  std::uint64_t missing_bytes = 0;
  std::uint64_t damage = 0;  // that on_damage was told of

  [[nodiscard]] bool whole() const {
    return doubtful_bytes == 0 && missing_bytes == 0 && damage == 0;
  }
};

[[nodiscard]] std::string rescue_map_path(const std::string& output);

// Writes what can be read of a damaged image and its ancestors to a raw disk: read as repair()
// would leave them, by either copy of the tables, around what cannot be read, to the sector where
// it is stored plainly. A parent that is not there is missing, and so is all that only it has. The
// image is not changed. Fails where no image can be opened, where content IDs do not match (unless
// they are to be ignored), and where the output exists already (but as a block device) or cannot be
// written; then nothing has its name that had it not before.
[[nodiscard]] Result<SalvageReport> salvage(FileSystem& files, const SalvageOptions& options);

}  // namespace grainmill
