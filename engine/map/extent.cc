// SPDX-License-Identifier: Apache-2.0
#include "engine/map/extent.h"

#include <algorithm>

namespace grainmill {

Extent clip(const Extent& extent, std::uint64_t begin, std::uint64_t end) {
  Extent part = extent;
  part.guest_offset = std::max(extent.guest_offset, begin);
  part.length = std::min(extent.guest_end(), end) - part.guest_offset;
  const std::uint64_t skipped = part.guest_offset - extent.guest_offset;
  if (extent.kind == ExtentKind::data) part.file_offset += skipped;
  if (extent.kind == ExtentKind::deflated) part.grain_skip += static_cast<std::uint32_t>(skipped);
  return part;
}

void append_merged(ExtentList& list, const Extent& next) {
  if (!list.empty()) {
    Extent& last = list.back();
    const bool same = last.kind == next.kind && last.link == next.link;
    const bool runs_on =
        next.reads_as_zero() || (next.kind == ExtentKind::data && last.file == next.file &&
                                 last.file_offset + last.length == next.file_offset);
    if (same && runs_on) {
      last.length += next.length;
      return;
    }
  }
  list.push_back(next);
}

}  // namespace grainmill
