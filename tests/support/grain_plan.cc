// SPDX-License-Identifier: Apache-2.0
#include "tests/support/grain_plan.h"

#include <algorithm>
#include <stdexcept>

namespace grainmill::testing {
namespace {

GrainState state_of(const Segment& segment) {
  if (segment.is_hole()) return GrainState::hole;
  return segment.is_explicit_zero() ? GrainState::zero : GrainState::stored;
}

}  // namespace

GrainPlan::GrainPlan(const ExtentJob& job, std::uint64_t grain_bytes, bool can_mark_zero)
    : job_(job), grain_bytes_(grain_bytes), grains_(divide_up(job.size_bytes, grain_bytes)) {
  const std::vector<Segment>& segments = job.layout.links[job.link].segments;
  const std::uint64_t end = job.guest_offset + job.size_bytes;
  for (std::uint64_t at = job.guest_offset; at < end;) {
    const auto segment = std::ranges::upper_bound(segments, at, {}, &Segment::end);
    const std::uint64_t segment_end = std::min(segment->end(), end);
    // Grains that lie wholly in this segment are one run; the last of the extent may be cut by its
    // end.
    const std::uint64_t whole =
        segment_end == end ? divide_up(end - at, grain_bytes) : (segment_end - at) / grain_bytes;
    if (whole > 0) {
      add_run(whole, settle_zeros(state_of(*segment), can_mark_zero));
      at += whole * grain_bytes;
    } else {
      add_run(1, settle_zeros(mixed_state(at, std::min(at + grain_bytes, end)), can_mark_zero));
      at += grain_bytes;
    }
  }
}

std::vector<std::uint64_t> GrainPlan::placed_grains() const {
  std::vector<std::uint64_t> placed;
  for (const GrainRun& run : runs_) {
    if (run.state != GrainState::stored) continue;
    for (std::uint64_t i = 0; i < run.count; ++i) placed.push_back(run.first + i);
  }
  if (job_.options.placement == Placement::reversed) std::ranges::reverse(placed);
  if (job_.options.placement == Placement::shuffled) {
    // Sorting by a mixed key is a shuffle that every platform agrees on.
    const std::uint64_t seed = mix(job_.options.placement_seed);
    std::ranges::sort(placed, {}, [seed](std::uint64_t grain) { return mix(seed ^ grain); });
  }
  return placed;
}

std::vector<bool> GrainPlan::tables_in_use(std::uint32_t gtes_per_gt) const {
  std::vector<bool> used(divide_up(grains_, gtes_per_gt));
  for (const GrainRun& run : runs_) {
    if (run.state == GrainState::hole) continue;
    const std::uint64_t last = (run.first + run.count - 1) / gtes_per_gt;
    for (std::uint64_t table = run.first / gtes_per_gt; table <= last; ++table) used[table] = true;
  }
  return used;
}

std::vector<std::byte> GrainPlan::content(std::uint64_t grain) const {
  const std::uint64_t at = grain * grain_bytes_;
  const std::uint64_t length = std::min(grain_bytes_, job_.size_bytes - at);
  std::vector<std::byte> bytes(length);
  expected_bytes(job_.layout, job_.link, job_.guest_offset + at, bytes);
  if (job_.options.last_grain != LastGrain::shortened) {
    bytes.resize(grain_bytes_,
                 job_.options.last_grain == LastGrain::garbage ? std::byte{0xee} : std::byte{0});
  }
  return bytes;
}

GrainState GrainPlan::settle_zeros(GrainState state, bool can_mark_zero) const {
  if (state != GrainState::zero) return state;
  switch (job_.options.zero_grains) {
    case ZeroGrains::automatic:
      if (can_mark_zero && job_.options.header_version == 2) return GrainState::zero;
      return job_.link == 0 ? GrainState::hole : GrainState::stored;
    case ZeroGrains::gte_one:
      if (!can_mark_zero)
        throw std::invalid_argument("this kind of extent has no entries for zero grains");
      return GrainState::zero;
    case ZeroGrains::stored:
      return GrainState::stored;
    case ZeroGrains::not_stored:
      return GrainState::hole;
  }
  throw std::invalid_argument("unknown ZeroGrains");
}

// A grain with several segments: one state if all agree, else it is stored (copied on write).
GrainState GrainPlan::mixed_state(std::uint64_t begin, std::uint64_t end) const {
  const std::vector<Segment>& segments = job_.layout.links[job_.link].segments;
  auto segment = std::ranges::upper_bound(segments, begin, {}, &Segment::end);
  const GrainState state = state_of(*segment);
  while (segment->end() < end) {
    if (state_of(*++segment) != state) return GrainState::stored;
  }
  return state;
}

void GrainPlan::add_run(std::uint64_t count, GrainState state) {
  if (!runs_.empty() && runs_.back().state == state) {
    runs_.back().count += count;
    return;
  }
  const std::uint64_t first = runs_.empty() ? 0 : runs_.back().first + runs_.back().count;
  runs_.push_back({first, count, state});
}

}  // namespace grainmill::testing
