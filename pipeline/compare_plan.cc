// SPDX-License-Identifier: Apache-2.0
#include "pipeline/compare_plan.h"

#include "engine/base/arith.h"

#include <algorithm>

namespace grainmill {
namespace {

// Whether the bytes at `at` come from the same place of the same file, stored in the same way. Both
// extents hold `at`. What the maps know of a deflated block must agree as well: where one of them
// takes it for another grain, that disk cannot be read.
bool same_place(const Extent& one, const Extent& other, std::uint64_t at) {
  const std::uint64_t in_one = at - one.guest_offset;
  const std::uint64_t in_other = at - other.guest_offset;
  if (one.kind == ExtentKind::data) return one.file_offset + in_one == other.file_offset + in_other;
  return one.file_offset == other.file_offset && one.stored_bytes == other.stored_bytes &&
         one.grain_address == other.grain_address && one.grain_bytes == other.grain_bytes &&
         one.grain_valid == other.grain_valid &&
         one.grain_skip + in_one == other.grain_skip + in_other;
}

}  // namespace

Status FileIdentities::add(const File& file) {
  GM_TRY(files_[&file], file.info());
  return {};
}

bool FileIdentities::same_file(const File* one, const File* other) const {
  const auto first = files_.find(one);
  const auto second = files_.find(other);
  return first != files_.end() && second != files_.end() &&
         is_same_file(first->second, second->second);
}

Status ComparePlanner::start(std::uint64_t begin, std::uint64_t end) {
  for (std::size_t side = 0; side < maps_.size(); ++side) {
    ExtentList& extents = extents_[side];
    extents.clear();
    const std::uint64_t known_end = std::clamp(maps_[side]->size_bytes(), begin, end);
    if (begin < known_end) GM_CHECK(maps_[side]->compose(begin, known_end - begin, extents));
    if (known_end < end)
      append_merged(extents, {.guest_offset = known_end, .length = end - known_end});
  }
  cursors_ = {};
  position_ = begin;
  end_ = end;
  return {};
}

template <typename Visit>
void ComparePlanner::for_overlaps(std::uint64_t begin, std::uint64_t end,
                                  const Visit& visit) const {
  const Extent* one = extents_[0].data() + cursors_[0];
  const Extent* other = extents_[1].data() + cursors_[1];
  while (begin < end) {
    while (one->guest_end() <= begin) ++one;
    while (other->guest_end() <= begin) ++other;
    const Overlap overlap{begin, std::min({one->guest_end(), other->guest_end(), end}), one, other};
    if (!visit(overlap)) return;
    begin = overlap.end;
  }
}

void ComparePlanner::go_to(std::uint64_t position) {
  position_ = position;
  if (position_ == end_) return;
  for (std::size_t side = 0; side < cursors_.size(); ++side)
    while (extents_[side][cursors_[side]].guest_end() <= position_) ++cursors_[side];
}

// Whether nothing needs to be read to know that the disks read the same here.
bool ComparePlanner::is_idle(const Overlap& overlap) const {
  const Extent& one = *overlap.one;
  const Extent& other = *overlap.other;
  if (one.reads_as_zero() || other.reads_as_zero())
    return one.reads_as_zero() && other.reads_as_zero();
  return one.kind == other.kind && same_place(one, other, overlap.begin) &&
         files_.same_file(one.file, other.file);
}

// Where the steps in which nothing needs to be read end, from position_ on.
std::uint64_t ComparePlanner::idle_end() const {
  std::uint64_t end = position_;
  for_overlaps(position_, end_, [&](const Overlap& overlap) {
    if (is_idle(overlap)) end = overlap.end;
    return end == overlap.end;
  });
  return end == end_ ? end : align_down(end, kDigestGrain);
}

void ComparePlanner::note_allocation(UnitPair& pair, std::uint64_t end) const {
  const std::uint64_t common = std::min(maps_[0]->size_bytes(), maps_[1]->size_bytes());
  for_overlaps(position_, std::min(end, common), [&](const Overlap& overlap) {
    if (overlap.one->kind != overlap.other->kind)
      pair.found.push_back({.kind = DiskDifference::Kind::allocation,
                            .guest_offset = overlap.begin,
                            .length = overlap.end - overlap.begin});
    return true;
  });
}

bool ComparePlanner::next(UnitPair& pair) {
  if (position_ == end_) return false;
  pair.reset(position_);
  const std::uint64_t idle = idle_end();
  const std::uint64_t end = idle != position_ ? idle : plan_work(pair);
  if (strict_) note_allocation(pair, end);
  pair.length = end - position_;
  go_to(end);
  return true;
}

// Takes steps until the unit is full; returns where it ends.
std::uint64_t ComparePlanner::plan_work(UnitPair& pair) const {
  const std::uint64_t limit = std::min(align_down(position_, unit_bytes_) + unit_bytes_, end_);
  Filling one{pair.one};
  Filling other{pair.other};
  std::uint64_t end = position_;
  while (end < limit && one.stored_bytes <= unit_bytes_ && other.stored_bytes <= unit_bytes_) {
    const std::uint64_t step_end = std::min(align_down(end, kDigestGrain) + kDigestGrain, limit);
    for_overlaps(end, step_end, [&](const Overlap& overlap) {
      if (is_idle(overlap)) return true;
      if (!overlap.one->reads_as_zero()) add_extent(one, *overlap.one, overlap);
      if (!overlap.other->reads_as_zero()) add_extent(other, *overlap.other, overlap);
      add_part(pair, overlap);
      return true;
    });
    end = step_end;
  }
  for (Unit* unit : {&pair.one, &pair.other}) {
    unit->guest_offset = position_;
    unit->length = end - position_;
  }
  return end;
}

void ComparePlanner::add_part(UnitPair& pair, const Overlap& overlap) {
  using enum ComparedPart::Needs;
  const ComparedPart part{overlap.begin, overlap.end - overlap.begin,
                          overlap.other->reads_as_zero() ? one
                          : overlap.one->reads_as_zero() ? other
                                                         : both};
  if (!pair.parts.empty() && pair.parts.back().needs == part.needs &&
      pair.parts.back().guest_end() == part.guest_offset)
    pair.parts.back().length += part.length;
  else
    pair.parts.push_back(part);
}

// What lies side by side in one extent of the map stays one extent, so that a whole deflated grain
// is inflated straight to its place.
void ComparePlanner::add_extent(Filling& filling, const Extent& source, const Overlap& overlap) {
  ExtentList& extents = filling.unit.extents;
  const bool goes_on = filling.source == &source;
  filling.source = &source;
  if (goes_on && extents.back().guest_end() == overlap.begin) {
    extents.back().length += overlap.end - overlap.begin;
    return;
  }
  const bool counted =
      goes_on ||
      (source.length != source.grain_bytes &&
       std::ranges::any_of(extents, [&](const Extent& e) { return same_block(e, source); }));
  if (source.kind == ExtentKind::deflated && !counted) filling.stored_bytes += source.stored_bytes;
  extents.push_back(clip(source, overlap.begin, overlap.end));
}

}  // namespace grainmill
