// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/map/link_map.h"

#include <algorithm>
#include <utility>

namespace grainmill::testing {

// A link that says what it is told. A deflated grain "inflates" to copies of the first byte of its
// block; a block that begins with 0xff is damaged.
class FakeLink final : public LinkMap {
 public:
  static constexpr std::byte kDamaged{0xff};

  // REQUIRES: `extents` is gapless from 0 on.
  explicit FakeLink(ExtentList extents, std::uint64_t grain_bytes = 65536)
      : extents_(std::move(extents)), grain_bytes_(grain_bytes) {}

  // map() fails from now on for ranges that touch [begin, end).
  void fail_in(std::uint64_t begin, std::uint64_t end) { fault_ = {begin, end}; }

  [[nodiscard]] std::uint64_t size_bytes() const override {
    return extents_.empty() ? 0 : extents_.back().guest_end();
  }
  [[nodiscard]] std::uint64_t grain_bytes() const override { return grain_bytes_; }

  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override {
    const std::uint64_t end = offset + length;
    if (offset < fault_.second && fault_.first < end)
      return fail(ErrorKind::corrupt, "link", offset, "map made to fail");
    for (const Extent& extent : extents_)
      if (extent.guest_offset < end && extent.guest_end() > offset)
        append_merged(out, clip(extent, offset, end));
    return {};
  }

  [[nodiscard]] Status inflate(const Extent& extent, std::span<const std::byte> stored,
                               Inflater& /*inflater*/, std::span<std::byte> out) const override {
    if (stored.size() != extent.stored_bytes || out.size() != extent.grain_bytes)
      return fail(ErrorKind::invalid_argument, "link", "inflate called with wrong sizes");
    if (stored.front() == kDamaged)
      return fail(ErrorKind::corrupt, "link", extent.file_offset, "grain is damaged");
    std::ranges::fill(out, stored.front());
    return {};
  }

 private:
  ExtentList extents_;
  std::uint64_t grain_bytes_;
  std::pair<std::uint64_t, std::uint64_t> fault_{0, 0};
};

}  // namespace grainmill::testing
