// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/map/chain_map.h"
#include "pipeline/unit.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace grainmill {

// A guest range in which two disks are not the same.
struct DiskDifference {
  enum class Kind : std::uint8_t {
    allocation,  // they read the same or not, but are stored in different ways (strict only)
    contents,    // in whole sectors of the guest, each of which differs
    unreadable,  // one of the disks cannot be read here
  };
  Kind kind = Kind::contents;
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  std::uint64_t first_byte = 0;     // contents: guest offset of the first byte that differs
  std::optional<Error> error = {};  // unreadable: the first reason in the range
};

// A range of a pair of units whose bytes must be looked at.
struct ComparedPart {
  enum class Needs : std::uint8_t {
    one,    // the other disk reads as zeros here
    other,  // the one disk does
    both,
  };
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  Needs needs = Needs::both;

  [[nodiscard]] std::uint64_t guest_end() const { return guest_offset + length; }
};

// The same piece of two disks, with the memory to hold one against the other.
struct UnitPair {
  UnitPair(const UnitShape& one_shape, const UnitShape& other_shape)
      : one(one_shape), other(other_shape) {}

  // Set by the planner.
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  Unit one;  // of each disk, the extents that must be read to compare `parts`
  Unit other;
  std::vector<ComparedPart> parts;  // ascending; none where nothing needs to be read

  // By the planner, and by compare_pair().
  std::vector<DiskDifference> found;  // in guest order
  Status status;                      // what made further work on the pair impossible

  // Makes it ready for the next piece of work.
  void reset(std::uint64_t begin);
};

// Reads what pair.parts need and notes in pair.found what differs and, to the page of 4 KiB, what
// cannot be read; without `all` only the lowest of these. Threads: any number at once, each on a
// pair of its own.
void compare_pair(UnitPair& pair, const ChainMap& one, const ChainMap& other, bool all);

}  // namespace grainmill
