// SPDX-License-Identifier: Apache-2.0
#include "pipeline/plan.h"

#include "engine/base/arith.h"

#include <algorithm>

namespace grainmill {
namespace {

// Small enough that what was read is still in the second-level cache when it is hashed and written,
// large enough that a system call costs nothing beside it.
constexpr std::uint64_t kUnitBytes = 256 * kKiB;

// The most that the blocks of one link behind one step can take in the file.
std::uint64_t stored_per_step(std::uint64_t grain_bytes, std::uint64_t step_bytes, bool aligned) {
  constexpr std::uint64_t kBlockHeader = 12;
  const std::uint64_t block = align_up(kBlockHeader + 2 * grain_bytes, kSectorBytes);
  return block * (ceil_div(step_bytes, std::min(grain_bytes, step_bytes)) + (aligned ? 0 : 1));
}

}  // namespace

UnitShape shape_for(const Disk& disk, std::size_t leaf_bytes, const SinkShape& output) {
  UnitShape shape{.leaf_bytes = leaf_bytes};
  shape.step_bytes = std::max(kDigestGrain, output.unit_bytes);
  shape.guest_bytes = std::max(kUnitBytes, shape.step_bytes);
  std::uint64_t most_stored = 0;  // all links together: each may show a part
  for (std::size_t i = 0; i < disk.depth(); ++i) {
    if (!disk.link(i).may_deflate()) continue;
    std::uint64_t of_link = 0;
    const std::vector<ExtentDescription>& extents = disk.link(i).description().extents;
    for (const ExtentDescription& extent : extents) {
      if (!extent.compressed) continue;
      const bool aligned = extents.size() == 1 && (shape.step_bytes % extent.grain_bytes == 0 ||
                                                   extent.grain_bytes % shape.step_bytes == 0);
      shape.grain_bytes = std::max(shape.grain_bytes, extent.grain_bytes);
      of_link = std::max(of_link, stored_per_step(extent.grain_bytes, shape.step_bytes, aligned));
    }
    most_stored += of_link;
  }
  shape.guest_bytes = std::max(shape.guest_bytes, shape.grain_bytes);
  if (shape.grain_bytes != 0) shape.stored_bytes = shape.guest_bytes + most_stored;
  shape.room_bytes = shape.guest_bytes / output.unit_bytes * output.room_bytes;
  return shape;
}

Planner::Planner(const ChainMap& map, const UnitShape& shape, const GuestRange& range)
    : map_(map),
      shape_(shape),
      window_bytes_(align_up(map.window_bytes(), shape.guest_bytes)),
      end_(std::min(range.end, map.size_bytes())),
      position_(std::min(range.begin, end_)) {}

// Composes the window at position_, unless it is the one in hand. One that is damaged is gone
// through in small ones, so that not more of it is lost than must be; what the operating system
// refused is not asked for again.
Status Planner::load_window() {
  if (position_ < window_end_) return {};
  const bool small = position_ < failed_end_;
  const std::uint64_t end = std::min(
      align_down(position_, shape_.guest_bytes) + (small ? shape_.guest_bytes : window_bytes_),
      end_);
  if (Status composed = map_.compose(position_, end - position_, window_); !composed) {
    if (small || composed.error().kind != ErrorKind::corrupt) return composed;
    failed_end_ = end;
    return load_window();
  }
  window_end_ = end;
  cursor_ = 0;
  return {};
}

bool Planner::next(Unit& unit) {
  if (position_ == end_) return false;
  unit.reset();
  unit.sequence = sequence_++;
  unit.guest_offset = position_;
  // Zeros go on across windows: an empty disk is one unit.
  while (position_ < end_) {
    if (Status loaded = load_window(); !loaded) {
      if (!unit.zero) plan_failure(unit, std::move(loaded));
      return true;
    }
    const std::uint64_t end = zero_run_end();
    if (end == position_) break;
    unit.zero = true;
    unit.length = end - unit.guest_offset;
    position_ = end;
  }
  if (!unit.zero) plan_data(unit);
  return true;
}

// A piece that the map cannot answer is one unit with the error in it; the walk goes on behind it.
void Planner::plan_failure(Unit& unit, Status failure) {
  unit.status = std::move(failure);
  unit.length =
      std::min(align_down(position_, shape_.guest_bytes) + shape_.guest_bytes, end_) - position_;
  position_ += unit.length;
  window_end_ = position_;
}

// Where the steps that are zero as a whole end, from position_ on, in this window.
std::uint64_t Planner::zero_run_end() {
  while (window_[cursor_].guest_end() <= position_) ++cursor_;
  std::uint64_t end = position_;
  for (std::size_t i = cursor_; i < window_.size() && window_[i].reads_as_zero(); ++i)
    end = window_[i].guest_end();
  return end == end_ ? end : align_down(end, shape_.step_bytes);
}

// Whether the unit that begins at position_ reads the block of this extent already for another one.
bool Planner::counted_before(ExtentList::const_iterator extent) const {
  if (extent->length == extent->grain_bytes) return false;
  for (auto other = extent; other != window_.begin() + static_cast<std::ptrdiff_t>(cursor_);)
    if (same_block(*--other, *extent)) return true;
  return false;
}

Planner::StepCost Planner::cost_at(std::uint64_t offset, std::uint64_t end) const {
  StepCost cost;
  auto extent =
      std::prev(std::ranges::upper_bound(window_.begin() + static_cast<std::ptrdiff_t>(cursor_),
                                         window_.end(), offset, {}, &Extent::guest_offset));
  for (; extent != window_.end() && extent->guest_offset < end; ++extent) {
    if (!extent->reads_as_zero()) cost.zero = false;
    if (extent->kind != ExtentKind::deflated) continue;
    // One that began before was counted there, unless the unit begins here.
    if (extent->guest_offset < offset && offset != position_) continue;
    if (!counted_before(extent)) cost.stored_bytes += extent->stored_bytes;
  }
  return cost;
}

// Takes steps until the unit is full or a zero one comes. Units do not cross multiples of
// their size, so that a large deflated grain is never cut in two.
void Planner::plan_data(Unit& unit) {
  const std::uint64_t limit =
      std::min({align_down(position_, shape_.guest_bytes) + shape_.guest_bytes, window_end_, end_});
  std::uint64_t stored = 0;
  std::uint64_t end = position_;
  while (end < limit) {
    const std::uint64_t step_end =
        std::min(align_down(end, shape_.step_bytes) + shape_.step_bytes, limit);
    const StepCost cost = cost_at(end, step_end);
    const bool full = stored + cost.stored_bytes > shape_.stored_bytes;
    if (end != position_ && (cost.zero || full)) break;
    stored += cost.stored_bytes;
    end = step_end;
  }
  for (std::size_t i = cursor_; i < window_.size() && window_[i].guest_offset < end; ++i)
    if (window_[i].guest_end() > position_)
      unit.extents.push_back(clip(window_[i], position_, end));
  unit.length = end - position_;
  position_ = end;
}

}  // namespace grainmill
