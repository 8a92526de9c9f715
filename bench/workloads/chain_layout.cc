// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/chain_layout.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"
#include "tests/support/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace grainmill::bench {
namespace {

// The header and 20 sectors for the descriptor, as VMware leaves them.
constexpr std::uint64_t kFirstDirectory = 21 * kSectorBytes;

std::string size_text(std::uint64_t bytes) {
  std::string text = format_size(bytes);
  std::erase(text, ' ');
  return text;
}

}  // namespace

std::string ChainSpec::name() const {
  return fmt::format("{}/depth:{}/alloc:{}/{}{}", size_text(disk_bytes), depth, allocated_percent,
                     layout == Layout::contiguous ? "contiguous" : "scattered",
                     grain_bytes == kDefaultGrainBytes ? "" : "/grain:" + size_text(grain_bytes));
}

ChainLayout::ChainLayout(const ChainSpec& spec)
    : spec_(spec),
      grains_(spec.disk_bytes / spec.grain_bytes),
      zone_grains_(std::clamp<std::uint64_t>(grains_ / 512, kTableEntries, 32768)) {
  if (!is_power_of_two(spec.grain_bytes) || spec.grain_bytes < kSectorBytes)
    throw std::invalid_argument("a benchmark's grain is a power of two of sectors");
  if (!is_power_of_two(grains_) || grains_ < kTableEntries ||
      grains_ * spec.grain_bytes != spec.disk_bytes)
    throw std::invalid_argument("a benchmark's disk is a power of two of whole tables");
}

GrainPlace ChainLayout::place(std::uint64_t grain) const {
  GrainPlace place;
  std::uint64_t slot = grain;
  if (spec_.layout == Layout::contiguous) {
    place.stored = grain % zone_grains_ * 100 < zone_grains_ * spec_.allocated_percent;
    place.link = static_cast<std::uint32_t>(testing::mix(grain / zone_grains_) % spec_.depth);
  } else {
    const std::uint64_t chance = testing::mix(grain);
    place.stored = (chance >> 32) % 100 < spec_.allocated_percent;
    place.link = static_cast<std::uint32_t>((chance & 0xffffffff) % spec_.depth);
    slot = scatter(grain, grains_);
  }
  if (!place.stored) return {};
  place.file_offset = data_begin() + slot * grain_bytes();
  return place;
}

GrainTableShape ChainLayout::shape() const {
  return {spec_.disk_bytes, grain_bytes(), kTableEntries};
}

std::uint64_t ChainLayout::copy_bytes() const {
  return align_up(shape().directory_bytes(), kSectorBytes) +
         shape().tables() * shape().table_bytes();
}

std::uint64_t ChainLayout::redundant_directory_offset() const {
  return spec_.redundant_tables ? kFirstDirectory : 0;
}

std::uint64_t ChainLayout::directory_offset() const {
  return kFirstDirectory + (spec_.redundant_tables ? copy_bytes() : 0);
}

std::uint64_t ChainLayout::tables_offset(std::uint64_t directory_offset) const {
  return directory_offset + align_up(shape().directory_bytes(), kSectorBytes);
}

std::uint64_t ChainLayout::data_begin() const {
  return align_up(directory_offset() + copy_bytes(), grain_bytes());
}

std::uint64_t scatter(std::uint64_t value, std::uint64_t size) {
  // Each step can be undone: what is shifted in comes from bits that stay as they are, and an odd
  // factor has an inverse.
  const std::uint64_t mask = size - 1;
  const auto half = std::bit_width(mask) / 2;
  value = (value * 0x9e3779b97f4a7c15 + 12345) & mask;
  value ^= value >> half;
  value = (value * 0xbf58476d1ce4e5b9) & mask;
  return value ^ (value >> half);
}

}  // namespace grainmill::bench
