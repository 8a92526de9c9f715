// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"
#include "engine/map/chain_map.h"
#include "pipeline/compare_pair.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace grainmill {

// Which files two disks have in common, whatever they are called.
class FileIdentities {
 public:
  // Asks the file which one it is.
  [[nodiscard]] Status add(const File& file);
  // Never true of files that were not added.
  [[nodiscard]] bool same_file(const File* one, const File* other) const;

 private:
  std::unordered_map<const File*, FileInfo> files_;
};

// Cuts a window of two disks into pairs of units, at common multiples of kDigestGrain. What is zero
// in both, or the same stored bytes of the same file, is passed over. The shorter disk reads as
// zeros behind its end. Threads: one at a time.
class ComparePlanner {
 public:
  // `unit_bytes`: the guest bytes of the pairs' units; a unit with more deflated bytes than that
  // takes no further step. `strict`: ranges that are stored in different ways are differences, too,
  // as far as both disks reach.
  ComparePlanner(const ChainMap& one, const ChainMap& other, const FileIdentities& files,
                 std::uint64_t unit_bytes, bool strict)
      : maps_{&one, &other}, files_(files), unit_bytes_(unit_bytes), strict_(strict) {}

  // Begins the window [begin, end) of the larger disk; both are multiples of kDigestGrain, or its
  // end. Composed at once, so it should not be much larger than ChainMap::window_bytes().
  [[nodiscard]] Status start(std::uint64_t begin, std::uint64_t end);

  // Fills in the next pair of the window; false when there is none.
  [[nodiscard]] bool next(UnitPair& pair);

 private:
  // A range in which both disks have one extent.
  struct Overlap {
    std::uint64_t begin;
    std::uint64_t end;
    const Extent* one;
    const Extent* other;
  };
  // One side of a pair while it is filled.
  struct Filling {
    Unit& unit;
    const Extent* source = nullptr;  // of the last extent
    std::uint64_t stored_bytes = 0;  // of deflated grains
  };

  // Visits the overlaps of [begin, end) in order, until one says false. REQUIRES: begin is not
  // below position_.
  template <typename Visit>
  void for_overlaps(std::uint64_t begin, std::uint64_t end, const Visit& visit) const;
  void go_to(std::uint64_t position);
  [[nodiscard]] bool is_idle(const Overlap& overlap) const;
  [[nodiscard]] std::uint64_t idle_end() const;
  void note_allocation(UnitPair& pair, std::uint64_t end) const;
  [[nodiscard]] std::uint64_t plan_work(UnitPair& pair) const;
  static void add_part(UnitPair& pair, const Overlap& overlap);
  static void add_extent(Filling& filling, const Extent& source, const Overlap& overlap);

  std::array<const ChainMap*, 2> maps_;
  const FileIdentities& files_;
  std::uint64_t unit_bytes_;
  bool strict_;

  std::array<ExtentList, 2> extents_;     // of the window, gapless
  std::array<std::size_t, 2> cursors_{};  // those that hold position_
  std::uint64_t position_ = 0;            // everything before it is planned
  std::uint64_t end_ = 0;
};

}  // namespace grainmill
