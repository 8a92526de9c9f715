// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "pipeline/unit.h"

#include <cstdint>

namespace grainmill {

// The shape of units that suits a disk, whose deflated grains fit whole, and an output, whose units
// do.
[[nodiscard]] UnitShape shape_for(const Disk& disk, std::size_t leaf_bytes,
                                  const SinkShape& output = {});

// A part of the guest disk. Begins at a multiple of UnitShape::guest_bytes, and ends at one or at
// the end of the disk.
struct GuestRange {
  std::uint64_t begin = 0;
  std::uint64_t end = ~std::uint64_t{0};  // clipped to the disk
};

// Walks a disk, or a range of it, in guest order and cuts it into units of work. Every unit begins
// and ends at a multiple of UnitShape::step_bytes (or the end of the disk); runs of zeros become
// one unit each, however long. Threads: one at a time.
class Planner {
 public:
  Planner(const ChainMap& map, const UnitShape& shape, const GuestRange& range = {});

  // Fills in the next unit; false when there is none. A piece of the disk that the map cannot
  // answer, no larger than a unit, is a unit with the error in it and without extents.
  [[nodiscard]] bool next(Unit& unit);

 private:
  [[nodiscard]] Status load_window();
  [[nodiscard]] std::uint64_t zero_run_end();
  void plan_failure(Unit& unit, Status failure);
  void plan_data(Unit& unit);
  // What the step at `offset` adds to a unit.
  struct StepCost {
    bool zero = true;
    std::uint64_t stored_bytes = 0;
  };
  [[nodiscard]] StepCost cost_at(std::uint64_t offset, std::uint64_t end) const;
  [[nodiscard]] bool counted_before(ExtentList::const_iterator extent) const;

  const ChainMap& map_;
  UnitShape shape_;
  std::uint64_t window_bytes_;
  std::uint64_t sequence_ = 0;
  std::uint64_t end_;
  std::uint64_t position_;  // everything before it is planned

  ExtentList window_;  // composed extents of [window_begin_, window_end_)
  std::uint64_t window_end_ = 0;
  std::uint64_t failed_end_ = 0;  // up to here, windows are no larger than a unit
  std::size_t cursor_ = 0;        // the extent of window_ that holds position_
};

}  // namespace grainmill
