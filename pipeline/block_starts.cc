// SPDX-License-Identifier: Apache-2.0
#include "pipeline/block_starts.h"

#include "engine/base/units.h"

#include <algorithm>
#include <utility>

namespace grainmill {

Result<BlockNeighbours> BlockStarts::beside(const LinkMap& link, const Extent& extent) {
  if (!links_.contains(&link)) {
    Starts found;
    ExtentList list;
    for (std::uint64_t at = 0; at < link.size_bytes(); at += kGiB) {
      list.clear();
      GM_CHECK(link.map(at, std::min(kGiB, link.size_bytes() - at), list));
      for (const Extent& block : list)
        if (block.kind == ExtentKind::deflated) found[block.file].push_back(block.file_offset);
    }
    for (auto& [file, starts] : found) std::ranges::sort(starts);
    links_.emplace(&link, std::move(found));
  }
  const std::vector<std::uint64_t>& starts = links_[&link][extent.file];
  BlockNeighbours beside;
  const auto [here, behind] = std::ranges::equal_range(starts, extent.file_offset);
  if (here != starts.begin()) beside.previous = *std::prev(here);
  if (behind != starts.end()) beside.next = *behind;
  return beside;
}

}  // namespace grainmill
