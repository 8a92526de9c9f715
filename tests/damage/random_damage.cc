// SPDX-License-Identifier: Apache-2.0
#include "tests/damage/random_damage.h"

#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kScribble = 16;

class Regions {
 public:
  explicit Regions(std::vector<FileRegion>* out) : out_(out) {}

  void add(const std::filesystem::path& path, const char* what, std::uint64_t offset,
           std::uint64_t size) {
    if (size != 0) out_->push_back({path, what, offset, size});
  }
  void add_tables(const Target& target) {
    const BuiltExtent& extent = target.extent();
    const std::uint64_t directory = extent.gt_offsets.size() * 4;
    add(target.path(), "directory", extent.gd_offset, directory);
    for (const std::uint64_t offset : extent.gt_offsets)
      if (offset != 0) add(target.path(), "table", offset, std::uint64_t{extent.gtes_per_gt} * 4);
    if (extent.rgd_offset == 0) return;
    add(target.path(), "redundant directory", extent.rgd_offset, directory);
    for (const std::uint64_t offset : extent.rgt_offsets)
      if (offset != 0)
        add(target.path(), "redundant table", offset, std::uint64_t{extent.gtes_per_gt} * 4);
  }
  void add_blocks(const Target& target) {
    const BuiltExtent& extent = target.extent();
    for (const MarkerPlace& marker : extent.markers)
      add(target.path(), "marker", marker.offset, kSectorSize);
    if (extent.footer_offset != 0) add(target.path(), "footer", extent.footer_offset, kSectorSize);
    if (!target.is_stream()) return;
    for (const GrainPlace& grain : extent.grains)
      add(target.path(), "grain", grain.data_offset, grain.stored_bytes);
  }

 private:
  std::vector<FileRegion>* out_;
};

}  // namespace

std::vector<FileRegion> checked_regions(const BuiltDisk& disk) {
  std::vector<FileRegion> found;
  Regions regions(&found);
  for (const Target& target : targets_of(disk)) {
    if (!target.has_tables()) continue;
    regions.add(target.path(), "header", 0, kSectorSize);
    regions.add_tables(target);
    regions.add_blocks(target);
  }
  for (const BuiltLink& link : disk.links)
    regions.add(link.path, "descriptor", link.extents.front().descriptor_offset,
                read_descriptor(link).size());
  return found;
}

std::string damage_at_random(const std::vector<FileRegion>& regions, std::uint64_t seed) {
  const FileRegion& region = regions[mix(seed) % regions.size()];
  const std::uint64_t at = region.offset + mix(seed + 1) % region.size;
  const std::string place =
      fmt::format("{} of {} at {:#x}", region.what, region.path.filename().string(), at);
  if (seed % 2 == 0) {
    const unsigned mask = 1U << (mix(seed + 2) % 8);
    flip_bits(region.path, at, mask);
    return fmt::format("bits {:#x} turned over in the {}", mask, place);
  }
  const std::uint64_t size = std::min(kScribble, region.offset + region.size - at);
  patch_file(region.path, at, garbage(seed, size));
  return fmt::format("{} bytes of garbage in the {}", size, place);
}

}  // namespace grainmill::testing
