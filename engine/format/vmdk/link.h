// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/extent_map.h"

#include <memory>
#include <vector>

namespace grainmill::vmdk {

// One link of a VMDK chain: extents side by side.
class VmdkLink final : public Link {
 public:
  class Builder {
   public:
    // `descriptor` is the file of a descriptor that stands alone; null for an embedded one.
    Builder(LinkDescription description, std::unique_ptr<File> descriptor);
    void add(const ExtentLine& line, std::unique_ptr<ExtentMap> map);
    [[nodiscard]] std::unique_ptr<Link> finish() { return std::move(link_); }

   private:
    std::unique_ptr<VmdkLink> link_;
  };

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] std::uint64_t grain_bytes() const override;
  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override;
  [[nodiscard]] Status inflate(const Extent& extent, std::span<const std::byte> stored,
                               Inflater& inflater, std::span<std::byte> out) const override;
  [[nodiscard]] const LinkDescription& description() const override { return description_; }
  [[nodiscard]] std::vector<const File*> files() const override;
  [[nodiscard]] Status check() const override;

 private:
  struct Piece {
    std::uint64_t guest_offset = 0;
    std::uint64_t length = 0;
    std::unique_ptr<ExtentMap> map;
  };

  VmdkLink(LinkDescription description, std::unique_ptr<File> descriptor);

  LinkDescription description_;
  std::unique_ptr<File> descriptor_;
  std::vector<Piece> pieces_;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace grainmill::vmdk
