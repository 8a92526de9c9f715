// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/codec/inflate.h"
#include "engine/map/extent.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace grainmill {

// What one link of a chain says of the guest disk: the whole of what a format answers.
// Threads: all methods may be called from several threads at once.
class LinkMap {
 public:
  virtual ~LinkMap() = default;

  // Size of the guest disk that this link describes.
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;

  // The smallest unit in which it allocates; at least one sector.
  [[nodiscard]] virtual std::uint64_t grain_bytes() const = 0;

  // Appends to `out` the extents that cover exactly [offset, offset + length), with link = 0. Every
  // extent has been checked to lie inside its file. `out` may hold other extents already. REQUIRES:
  // the range lies in the disk.
  [[nodiscard]] virtual Status map(std::uint64_t offset, std::uint64_t length,
                                   ExtentList& out) const = 0;

  // Turns a deflated grain into its bytes. `stored` is what was read for `extent` (stored_bytes
  // from file_offset on), `out` has grain_bytes. Whatever the block says of itself (address,
  // length, checksum) is held against the extent, and what follows it against the tables, before it
  // returns. REQUIRES: extent is a deflated extent of this map, or a part of one.
  [[nodiscard]] virtual Status inflate(const Extent& extent, std::span<const std::byte> stored,
                                       Inflater& inflater, std::span<std::byte> out) const = 0;
};

}  // namespace grainmill
