// SPDX-License-Identifier: Apache-2.0
#include "engine/map/chain_map.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"

#include <algorithm>

namespace grainmill {
namespace {

// At most this many grains are composed at once: with 56 bytes an extent and three lists in hand,
// under 3 MiB.
constexpr std::uint64_t kWindowGrains = 16384;
constexpr std::uint64_t kMaxWindowBytes = 4 * kGiB;

// The range between the first and the last hole; empty if there is none.
struct HoleSpan {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

HoleSpan hole_span(const ExtentList& list) {
  HoleSpan span;
  for (const Extent& extent : list) {
    if (extent.kind != ExtentKind::hole) continue;
    if (span.end == 0) span.begin = extent.guest_offset;
    span.end = extent.guest_end();
  }
  return span;
}

// Appends `hole`, filled from `below` (a gapless list) as far as that reaches; `cursor` walks
// `below`.
void append_filled(ExtentList& out, const Extent& hole, const ExtentList& below,
                   std::size_t& cursor) {
  std::uint64_t at = hole.guest_offset;
  while (cursor < below.size() && below[cursor].guest_end() <= at) ++cursor;
  while (cursor < below.size() && at < hole.guest_end()) {
    const Extent part = clip(below[cursor], at, hole.guest_end());
    append_merged(out, part);
    at = part.guest_end();
    if (below[cursor].guest_end() <= at) ++cursor;
  }
  if (at < hole.guest_end()) append_merged(out, clip(hole, at, hole.guest_end()));
}

}  // namespace

std::uint64_t ChainMap::window_bytes() const {
  std::uint64_t finest = kMaxWindowBytes;
  for (const LinkMap* map : links_) finest = std::min(finest, map->grain_bytes());
  return std::min(finest * kWindowGrains, kMaxWindowBytes);
}

Status ChainMap::compose(std::uint64_t offset, std::uint64_t length, ExtentList& out) const {
  out.clear();
  const std::uint64_t end = offset + length;
  const std::uint64_t top_end = std::clamp(links_.front()->size_bytes(), offset, end);
  if (top_end != offset) GM_CHECK(links_.front()->map(offset, top_end - offset, out));
  if (top_end != end)
    append_merged(out,
                  {.guest_offset = top_end, .length = end - top_end, .kind = ExtentKind::zero});

  ExtentList below;
  ExtentList composed;
  for (std::uint32_t depth = 1; depth < links_.size(); ++depth) {
    const HoleSpan holes = hole_span(out);
    const std::uint64_t below_end = std::min(holes.end, links_[depth]->size_bytes());
    if (holes.begin >= below_end) continue;
    below.clear();
    GM_CHECK(links_[depth]->map(holes.begin, below_end - holes.begin, below));
    if (below.size() == 1 && below.front().kind == ExtentKind::hole) continue;
    for (Extent& extent : below) extent.link = depth;

    composed.clear();
    std::size_t cursor = 0;
    for (const Extent& extent : out) {
      if (extent.kind == ExtentKind::hole)
        append_filled(composed, extent, below, cursor);
      else
        append_merged(composed, extent);
    }
    out.swap(composed);
  }
  return {};
}

const Extent& find_extent(const ExtentList& list, std::uint64_t guest_offset) {
  const auto after = std::ranges::upper_bound(list, guest_offset, {}, &Extent::guest_offset);
  return *std::prev(after);
}

}  // namespace grainmill
