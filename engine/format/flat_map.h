// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"
#include "engine/map/extent.h"

#include <cstdint>

namespace grainmill {

// Where a range of guest disk lies in a file, byte for byte.
struct FlatRange {
  std::uint64_t guest_offset = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;
};

// Appends the extents of `range`: data where the file system stores something, zeros in its holes.
// REQUIRES: the range lies in the file.
[[nodiscard]] Status map_flat(const File& file, const FlatRange& range, ExtentList& out);

}  // namespace grainmill
