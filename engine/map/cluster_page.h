// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/map/cluster_sources.h"
#include "engine/map/extent.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace grainmill {

// A ClusterMap is made of pages of so many clusters.
inline constexpr unsigned kPageClusterBits = 9;
inline constexpr std::uint64_t kPageClusters = std::uint64_t{1} << kPageClusterBits;

// An extent with no more than what a ClusterMap keeps of it.
[[nodiscard]] Extent plain(const Extent& extent);

// Whether `next` goes on where `last` ends, so that both are one to a ClusterMap.
[[nodiscard]] inline bool goes_on(const Extent& last, const Extent& next) {
  if (last.kind != next.kind) return false;
  if (last.kind == ExtentKind::hole) return true;
  if (last.link != next.link || (last.kind != ExtentKind::zero && last.file != next.file))
    return false;
  return last.kind != ExtentKind::data || last.file_offset + last.length == next.file_offset;
}

// Appends, or grows the last one. REQUIRES: plain extents.
void append_plain(ExtentList& list, const Extent& next);

// Replaces what `list` says of the range of `change`. REQUIRES: plain extents; the list covers it.
[[nodiscard]] ExtentList spliced(const ExtentList& list, const Extent& change);

// One page in the making: its sources, and an entry for each cluster that refers to them.
struct PageEntries {
  unsigned bits = 0;                                  // of an entry, for the source
  std::vector<ClusterSource> sources;                 // without the hole
  std::array<std::uint16_t, kPageClusters> source{};  // from 1 on: in `sources`; 0: the hole
  std::array<std::uint32_t, kPageClusters> slot{};
};

// Takes a page apart, into entries with narrow or wide numbers of sources. nullopt: not all of it
// can be told in entries. REQUIRES: `extents` begin where the page does, and end there or at the
// end of the disk.
[[nodiscard]] std::optional<PageEntries> narrow_entries(std::span<const Extent> extents,
                                                        unsigned cluster_shift);
[[nodiscard]] std::optional<PageEntries> wide_entries(std::span<const Extent> extents,
                                                      unsigned cluster_shift);

}  // namespace grainmill
