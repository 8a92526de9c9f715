// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"
#include "engine/format/vmdk/block_in_place.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_store.h"
#include "engine/format/vmdk/extent_map.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace grainmill::vmdk {

// One link of a VMDK chain: extents side by side.
class VmdkLink final : public Link, private WritableLink {
 public:
  class Builder {
   public:
    // `descriptor` is the file of a descriptor that stands alone; null for an embedded one.
    Builder(LinkDescription description, std::unique_ptr<File> descriptor);
    void add(const ExtentLine& line, std::unique_ptr<ExtentMap> map);
    // Makes the link one that can be written. The text is that of the descriptor; `place` is where
    // an embedded one is, in the file of the only extent.
    struct Place {
      std::uint64_t offset = 0;
      std::uint64_t room = 0;
    };
    void make_writable(std::string text, FileSystem& files, const std::optional<Place>& place);
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
  [[nodiscard]] Result<std::vector<std::byte>> deflate_in_place(
      const Extent& extent, const BlockNeighbours& beside,
      std::span<const std::byte> grain) const override {
    return deflate_grain_in_place(*this, extent, beside, grain);
  }
  [[nodiscard]] const LinkDescription& description() const override { return description_; }
  [[nodiscard]] std::vector<const File*> files() const override;
  [[nodiscard]] Status examine(Findings& findings) const override;
  [[nodiscard]] WritableLink* writable() override { return store_ ? this : nullptr; }

 private:
  [[nodiscard]] Status begin() override;
  [[nodiscard]] std::span<const WritablePart> parts() const override { return parts_; }
  [[nodiscard]] Status store_content_id(std::optional<std::uint32_t> id) override;
  [[nodiscard]] Status store_parent(const ParentRef& parent) override;
  [[nodiscard]] Status end() override;

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
  std::optional<DescriptorStore> store_;  // of a link that can be written; holds descriptor_ then
  bool stands_alone_ = false;
  std::vector<WritablePart> parts_;
};

}  // namespace grainmill::vmdk
