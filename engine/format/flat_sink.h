// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/sink.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace grainmill {

// A range of the guest disk whose bytes are stored in one file, one after the other.
struct FlatPart {
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  File* file = nullptr;
  std::uint64_t file_offset = 0;  // of the byte at guest_offset
};

enum class FlatTarget : std::uint8_t {
  empty,   // reads as zeros already: what is zero is left out
  filled,  // holds something else: what is zero is made so
  stream,  // cannot seek: every byte is written, in order
};

struct FlatSinkOptions {
  std::vector<FlatPart> parts{};    // side by side, without gaps, from 0 on
  std::uint64_t hole_bytes = 4096;  // runs of zeros this long, aligned, are zeros to the file; 0:
                                    // no byte of a piece with data is
  FlatTarget target = FlatTarget::empty;
};

// A sink whose files hold the guest's bytes as they are: raw disks, flat extents. Parts are not
// resized here.
[[nodiscard]] std::unique_ptr<Sink> make_flat_sink(OutputFiles outputs, FlatSinkOptions options);

}  // namespace grainmill
