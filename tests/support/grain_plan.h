// SPDX-License-Identifier: Apache-2.0
//
// Inside the VMDK builder: which grains of an extent are stored, and in which order.
#pragma once

#include "tests/support/extent_writers.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace grainmill::testing {

enum class GrainState { hole, zero, stored };

// Runs, not single grains, so that a plan for 2 TiB of holes is small.
struct GrainRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  GrainState state = GrainState::hole;
};

class GrainPlan {
 public:
  // `can_mark_zero`: the format has grain table entries that mean zeros.
  GrainPlan(const ExtentJob& job, std::uint64_t grain_bytes, bool can_mark_zero);

  std::uint64_t grain_bytes() const { return grain_bytes_; }
  std::uint64_t grains() const { return grains_; }
  const std::vector<GrainRun>& runs() const { return runs_; }

  // The stored grains in the order that options.placement asks for.
  std::vector<std::uint64_t> placed_grains() const;

  // For each table of `gtes_per_gt` entries, whether it holds anything.
  std::vector<bool> tables_in_use(std::uint32_t gtes_per_gt) const;

  // The bytes to store for a grain; shorter than a grain only if options.last_grain says so.
  std::vector<std::byte> content(std::uint64_t grain) const;

 private:
  GrainState settle_zeros(GrainState state, bool can_mark_zero) const;
  GrainState mixed_state(std::uint64_t begin, std::uint64_t end) const;
  void add_run(std::uint64_t count, GrainState state);

  const ExtentJob& job_;
  std::uint64_t grain_bytes_;
  std::uint64_t grains_;
  std::vector<GrainRun> runs_;
};

}  // namespace grainmill::testing
