// SPDX-License-Identifier: Apache-2.0
#include "engine/format/flat_map.h"

#include <algorithm>

namespace grainmill {

Status map_flat(const File& file, const FlatRange& range, ExtentList& out) {
  const std::uint64_t end = range.file_offset + range.length;
  std::uint64_t at = range.file_offset;
  const auto append = [&](ExtentKind kind, std::uint64_t until) {
    if (until <= at) return;
    Extent extent{.guest_offset = range.guest_offset + (at - range.file_offset),
                  .length = until - at,
                  .kind = kind};
    if (kind == ExtentKind::data) {
      extent.file = &file;
      extent.file_offset = at;
    }
    append_merged(out, extent);
    at = until;
  };
  while (at < end) {
    GM_TRY(const bool any, file.stores_any(at, end - at));
    if (!any) break;
    GM_TRY(const DataRange stored, file.next_data(at));
    append(ExtentKind::zero, std::min(stored.begin, end));
    append(ExtentKind::data, std::min(stored.end, end));
  }
  append(ExtentKind::zero, end);
  return {};
}

}  // namespace grainmill
