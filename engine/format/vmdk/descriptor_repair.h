// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/repair.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <optional>
#include <string>

namespace grainmill::vmdk {

// A descriptor text, up to its first NUL, and where it stands in its file.
struct PlacedText {
  std::uint64_t offset = 0;
  std::string text;
};

// The descriptor of a link, wherever its header says that it is: all of the file, or behind the
// header of a sparse one. nullopt: there is none.
[[nodiscard]] Result<std::optional<PlacedText>> find_descriptor(const File& file);

// See Format::plan_parent_id.
[[nodiscard]] Result<Correction> plan_parent_id(FileSystem& files, const std::string& path,
                                                std::uint32_t id);

}  // namespace grainmill::vmdk
