// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/codec/inflate.h"
#include "engine/map/link_map.h"

#include <cstddef>
#include <span>

namespace grainmill::vmdk {

// LinkMap::inflate for grain blocks of stream-optimised extents. The block's own address and the
// Adler-32 are checked, and that no grain that the tables of `link` do not know is stored behind
// it: such a grain means that an entry is lost.
[[nodiscard]] Status inflate_grain(const LinkMap& link, const Extent& extent,
                                   std::span<const std::byte> stored, Inflater& inflater,
                                   std::span<std::byte> out);

}  // namespace grainmill::vmdk
