// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"

#include <cstdint>
#include <vector>

namespace grainmill {

enum class ExtentKind : std::uint8_t {
  data,      // stored as it is
  deflated,  // stored as one grain block: marker, zlib stream
  zero,      // explicitly zero, whatever the parent holds
  hole,      // nothing here: ask the parent; zeros where there is none
};

// What lies behind a range of the guest disk. All numbers are bytes.
struct Extent {
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  ExtentKind kind = ExtentKind::hole;
  std::uint32_t link = 0;  // which link of the chain says so: 0 is the top

  // data: where the byte at guest_offset is stored. deflated: where the grain block begins.
  const File* file = nullptr;
  std::uint64_t file_offset = 0;

  // deflated only. An extent may be part of a grain; a grain inflates only as a whole.
  std::uint64_t grain_address =
      0;  // of the whole grain, from the start of its extent file's own address space
  std::uint32_t grain_bytes = 0;  // inflated size of the whole grain
  std::uint32_t grain_valid =
      0;  // how much of it the disk reaches over; the last grain may inflate to just this much
  std::uint32_t grain_skip = 0;  // where in the inflated grain guest_offset lies
  std::uint32_t stored_bytes =
      0;  // the block and what follows it, up to the next block known or the largest legal one

  [[nodiscard]] std::uint64_t guest_end() const { return guest_offset + length; }
  [[nodiscard]] bool reads_as_zero() const {
    return kind == ExtentKind::zero || kind == ExtentKind::hole;
  }
};

// Extents in guest order, without gaps or overlaps.
using ExtentList = std::vector<Extent>;

// The part of `extent` in [begin, end). REQUIRES: that part is not empty.
[[nodiscard]] Extent clip(const Extent& extent, std::uint64_t begin, std::uint64_t end);

// Appends `next`, or grows the last extent where the two are one: zeros beside zeros, data that
// goes on in the file. REQUIRES: next begins where the list ends.
void append_merged(ExtentList& list, const Extent& next);

}  // namespace grainmill
