// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/map/extent.h"
#include "engine/map/link_map.h"

#include <cstdint>
#include <vector>

namespace grainmill {

// The links of a disk composed, top-down, into one gapless list of extents. Composing is done a
// window at a time, so that memory does not grow with the disk; what comes out no longer knows of
// depth, so that looking something up in it costs the same for one link and for thirty.
//
// A parent that is smaller than the disk reads as a hole past its end; one that is larger is cut. A
// disk that is larger than its top link reads as zeros there.
class ChainMap {
 public:
  // Top link first. The maps must outlive this object. REQUIRES: links is not empty.
  explicit ChainMap(std::vector<const LinkMap*> links)
      : links_(std::move(links)), size_bytes_(links_.front()->size_bytes()) {}
  // REQUIRES: also, the top link is not larger than this.
  ChainMap(std::vector<const LinkMap*> links, std::uint64_t size_bytes)
      : links_(std::move(links)), size_bytes_(size_bytes) {}

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] std::size_t depth() const { return links_.size(); }
  [[nodiscard]] const LinkMap& link(std::size_t index) const { return *links_[index]; }

  // How much of the disk to compose at once: a bounded number of grains of the finest link.
  [[nodiscard]] std::uint64_t window_bytes() const;

  // Replaces `out` by the extents of [offset, offset + length). Only extents that no link answers
  // are holes. Threads: may be called from several threads at once. REQUIRES: the range lies in the
  // disk.
  [[nodiscard]] Status compose(std::uint64_t offset, std::uint64_t length, ExtentList& out) const;

 private:
  std::vector<const LinkMap*> links_;
  std::uint64_t size_bytes_;
};

// The extent of `list` that holds `guest_offset`. REQUIRES: there is one.
[[nodiscard]] const Extent& find_extent(const ExtentList& list, std::uint64_t guest_offset);

}  // namespace grainmill
