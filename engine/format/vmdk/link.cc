// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/link.h"

#include "engine/base/units.h"
#include "engine/format/vmdk/descriptor_edit.h"
#include "engine/format/vmdk/descriptor_text.h"
#include "engine/format/vmdk/grain_block.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::vmdk {
namespace {

// Any ID but the old one, with no more than `digits` digits where that leaves a choice: the text
// then keeps its length.
std::uint32_t fresh_content_id(std::optional<std::uint32_t> old, std::size_t digits) {
  constexpr std::size_t kEnough = 5;
  const bool narrow = digits >= kEnough && digits < 8;
  const RandomSource random = system_random();
  for (;;) {
    const std::uint32_t id = random_content_id(random) & (narrow ? (1U << (4 * digits)) - 1 : ~0U);
    if (id != 0 && id != old) return id;
  }
}

// From addresses in an extent to those of the disk.
class ExtentFindings final : public Findings {
 public:
  ExtentFindings(Findings& findings, std::uint64_t guest_offset, std::uint64_t length)
      : findings_(findings), guest_offset_(guest_offset), length_(length) {}

  [[nodiscard]] Status add(Finding finding) override {
    const std::uint64_t begin = std::min(finding.guest_offset, length_);
    finding.guest_length = std::min(finding.guest_length, length_ - begin);
    finding.guest_offset = guest_offset_ + begin;
    return findings_.add(std::move(finding));
  }
  [[nodiscard]] bool wants_all() const override { return findings_.wants_all(); }

 private:
  Findings& findings_;
  std::uint64_t guest_offset_;
  std::uint64_t length_;
};

}  // namespace

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
  if (store_ && stands_alone_) files.push_back(&store_->file());
  for (const Piece& piece : pieces_)
    if (piece.map->file() != nullptr) files.push_back(piece.map->file());
  return files;
}

Status VmdkLink::examine(Findings& findings) const {
  for (const Piece& piece : pieces_) {
    ExtentFindings of_extent(findings, piece.guest_offset, piece.length);
    GM_CHECK(piece.map->examine(of_extent));
  }
  return {};
}

void VmdkLink::Builder::make_writable(std::string text, FileSystem& files,
                                      const std::optional<Place>& place) {
  if (!place) {
    link_->stands_alone_ = true;
    link_->store_.emplace(std::move(link_->descriptor_), files, std::move(text));
    return;
  }
  if (link_->pieces_.empty()) return;
  File* file = link_->pieces_.front().map->write_target().file;
  if (file != nullptr) link_->store_.emplace(*file, place->offset, place->room, text);
}

Status VmdkLink::begin() {
  for (const Piece& piece : pieces_) {
    GM_CHECK(piece.map->begin_writing());
    const WriteTarget target = piece.map->write_target();
    parts_.push_back(
        {piece.guest_offset, piece.length, target.file, target.file_offset, target.allocator});
  }
  return {};
}

Status VmdkLink::store_content_id(std::optional<std::uint32_t> id) {
  const std::uint32_t stored =
      id.value_or(fresh_content_id(description_.content_id, content_id_digits(store_->text())));
  GM_CHECK(store_->store(with_content_id(store_->text(), stored)));
  description_.content_id = stored;
  return {};
}

Status VmdkLink::store_parent(const ParentRef& parent) {
  GM_CHECK(store_->store(
      with_parent(store_->text(), parent.hint, parent.content_id.value_or(kNoContentId))));
  description_.parent = parent.hint.empty() ? std::nullopt : std::optional(parent);
  return {};
}

Status VmdkLink::end() {
  for (const Piece& piece : pieces_) GM_CHECK(piece.map->end_writing());
  return {};
}

}  // namespace grainmill::vmdk
