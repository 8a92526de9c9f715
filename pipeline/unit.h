// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/codec/digest.h"
#include "engine/codec/inflate.h"
#include "engine/format/sink.h"
#include "engine/map/extent.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace grainmill {

// Digests are taken of this much guest disk, whatever grain the image has, so that the digests of a
// disk do not depend on how it is stored.
inline constexpr std::uint64_t kDigestGrain = 64 * kKiB;

// Memory for payload: page-aligned, not initialised, never grows.
class Buffer {
 public:
  explicit Buffer(std::size_t size_bytes);
  [[nodiscard]] std::span<std::byte> bytes() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_;
};

// What was found of one digest grain.
struct GrainRecord {
  enum class Kind : std::uint8_t { zero, data, unreadable };
  Kind kind = Kind::zero;
  Digest128 digest;
};

// How large the parts of a unit are; decided once for a disk.
struct UnitShape {
  std::uint64_t guest_bytes = 0;  // most guest bytes in a unit of data; a multiple of step_bytes
  std::uint64_t step_bytes = kDigestGrain;  // units begin at multiples of this, a power of two
  std::uint64_t stored_bytes = 0;           // most bytes of deflated grains read for a unit
  std::uint64_t grain_bytes = 0;            // the largest deflated grain; 0 if none is deflated
  std::size_t leaf_bytes = 0;               // cryptographic digest of each digest grain; 0 for none
  std::uint64_t room_bytes = 0;             // for what is made of a unit on its way into the output

  [[nodiscard]] std::uint64_t memory_bytes() const {
    return guest_bytes + stored_bytes + grain_bytes + room_bytes;
  }
};

// Whether two extents are parts of the same deflated grain. Links have files of their own: the same
// place in another file is another block. So is more or less of the file, in a crafted image.
[[nodiscard]] inline bool same_block(const Extent& a, const Extent& b) {
  return a.kind == ExtentKind::deflated && b.kind == ExtentKind::deflated && a.file == b.file &&
         a.file_offset == b.file_offset && a.stored_bytes == b.stored_bytes;
}

// A piece of work on its way through the graph, with all the memory it needs. There is a fixed
// number of them; they go round. Whoever holds the pointer owns the unit: no two stages touch one
// at the same time.
struct Unit {
  explicit Unit(const UnitShape& shape);

  // Set by the planner.
  std::uint64_t sequence = 0;  // 0, 1, 2, ... in guest order
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  bool zero = false;   // reads as zeros as a whole: any length, no extents
  ExtentList extents;  // else: gapless over [guest_offset, guest_offset + length); only where two
                       // disks are compared, without what need not be read

  // Set by the stages, in turn.
  Status status;                       // the first error; later stages then do nothing
  std::vector<std::size_t> stored_at;  // per extent: where its stored bytes begin in `stored`
  std::vector<GrainRecord> records;    // one a digest grain
  std::vector<std::byte> leaves;       // shape.leaf_bytes a digest grain
  std::vector<std::optional<Error>>
      grain_errors;  // per digest grain, when errors are collected; else empty

  Buffer guest;    // what the guest would read
  Buffer stored;   // deflated grains as they are in the file
  Buffer scratch;  // one inflated grain of which only a part is wanted
  Inflater inflater;

  Piece piece;  // of the output
  Buffer room;  // for piece.room
  std::unique_ptr<Encoder> encoder;

  [[nodiscard]] std::span<std::byte> guest_bytes() { return guest.bytes().first(length); }
  // Makes it ready for the next piece of work.
  void reset();
};

}  // namespace grainmill
