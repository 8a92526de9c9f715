// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/format.h"

#include <cstddef>
#include <span>
#include <vector>

namespace grainmill::vmdk {

// Link::deflate_in_place for grain blocks of stream-optimised extents.
[[nodiscard]] Result<std::vector<std::byte>> deflate_grain_in_place(
    const LinkMap& link, const Extent& extent, const BlockNeighbours& beside,
    std::span<const std::byte> grain);

}  // namespace grainmill::vmdk
