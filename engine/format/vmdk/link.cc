// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/link.h"

#include "engine/base/units.h"
#include "engine/format/vmdk/grain_block.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::vmdk {

VmdkLink::VmdkLink(LinkDescription description, std::unique_ptr<File> descriptor)
    : description_(std::move(description)), descriptor_(std::move(descriptor)) {}

VmdkLink::Builder::Builder(LinkDescription description, std::unique_ptr<File> descriptor)
    : link_(new VmdkLink(std::move(description), std::move(descriptor))) {}

void VmdkLink::Builder::add(const ExtentLine& line, std::unique_ptr<ExtentMap> map) {
  LinkDescription& description = link_->description_;
  const std::uint64_t length = line.sectors * kSectorBytes;
  const std::string path = map->file() != nullptr ? map->file()->path() : std::string();
  description.extents.push_back({path, line.type, length, map->grain_bytes(), map->compressed()});
  if (map->unclean_shutdown()) {
    description.unclean_shutdown = true;
    description.warnings.push_back(
        path + ": was not closed cleanly by its last writer (its tables were checked)");
  }
  if (line.access == Access::none)
    description.warnings.push_back(
        fmt::format("extent '{}' is marked NOACCESS and reads as zeros", line.file));
  if (length == 0) return;
  link_->pieces_.push_back({link_->size_bytes_, length, std::move(map)});
  link_->size_bytes_ += length;
}

std::uint64_t VmdkLink::grain_bytes() const {
  std::uint64_t finest = 64 * kKiB;
  bool any = false;
  for (const Piece& piece : pieces_) {
    const std::uint64_t grain = piece.map->grain_bytes();
    if (grain == 0) continue;
    finest = any ? std::min(finest, grain) : grain;
    any = true;
  }
  return finest;
}

Status VmdkLink::map(std::uint64_t offset, std::uint64_t length, ExtentList& out) const {
  auto piece = std::prev(std::ranges::upper_bound(pieces_, offset, {}, &Piece::guest_offset));
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end; ++piece) {
    const std::uint64_t stop = std::min(end, piece->guest_offset + piece->length);
    GM_CHECK(piece->map->map(
        {.address = at - piece->guest_offset, .length = stop - at, .guest_offset = at}, out));
    at = stop;
  }
  return {};
}

Status VmdkLink::inflate(const Extent& extent, std::span<const std::byte> stored,
                         Inflater& inflater, std::span<std::byte> out) const {
  return inflate_grain(*this, extent, stored, inflater, out);
}

std::vector<const File*> VmdkLink::files() const {
  std::vector<const File*> files;
  if (descriptor_) files.push_back(descriptor_.get());
  for (const Piece& piece : pieces_)
    if (piece.map->file() != nullptr) files.push_back(piece.map->file());
  return files;
}

Status VmdkLink::check() const {
  for (const Piece& piece : pieces_) GM_CHECK(piece.map->check());
  return {};
}

}  // namespace grainmill::vmdk
