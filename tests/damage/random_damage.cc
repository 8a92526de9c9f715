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
constexpr std::uint64_t kGrainHeaderBytes = 12;
constexpr std::uint64_t kMarkerBytes = 16;
constexpr std::uint64_t kHeaderBytes = 79;
// Of an embedded descriptor, behind its text.
constexpr std::uint64_t kPaddingLookedAt = 64;

enum class OfGrains { all, header };

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
  // COWD headers have fields further on.
  void add_header(const Target& target, OfGrains part) {
    add_sector(target.path(), "header", 0, target.is_cowd() ? kSectorSize : kHeaderBytes, part);
  }
  // A sector of which the first bytes say something; as much of them as of the rest.
  void add_sector(const std::filesystem::path& path, const char* what, std::uint64_t offset,
                  std::uint64_t used, OfGrains part) {
    if (part == OfGrains::all) used = kSectorSize;
    add(path, what, offset, used);
    add(path, "rest of a sector", offset + used, kSectorSize - used);
  }
  void add_blocks(const Target& target, OfGrains part) {
    const BuiltExtent& extent = target.extent();
    for (const MarkerPlace& marker : extent.markers)
      add_sector(target.path(), "marker", marker.offset, kMarkerBytes, part);
    if (extent.footer_offset != 0)
      add_sector(target.path(), "footer", extent.footer_offset, kHeaderBytes, part);
    if (!target.is_stream()) return;
    for (const GrainPlace& grain : extent.grains)
      add(target.path(), "grain", grain.data_offset,
          part == OfGrains::all ? grain.stored_bytes : kGrainHeaderBytes);
  }
  void add_descriptor(const BuiltLink& link, OfGrains part) {
    const BuiltExtent& extent = link.extents.front();
    const std::uint64_t text = read_descriptor(link).size();
    add(link.path, "descriptor", extent.descriptor_offset, text);
    if (part == OfGrains::header && extent.descriptor_bytes > text)
      add(link.path, "padding of the descriptor", extent.descriptor_offset + text,
          std::min(kPaddingLookedAt, extent.descriptor_bytes - text));
  }

 private:
  std::vector<FileRegion>* out_;
};

std::vector<FileRegion> regions_of(const BuiltDisk& disk, OfGrains part) {
  std::vector<FileRegion> found;
  Regions regions(&found);
  for (const Target& target : targets_of(disk)) {
    if (!target.has_tables()) continue;
    regions.add_header(target, part);
    regions.add_tables(target);
    regions.add_blocks(target, part);
  }
  for (const BuiltLink& link : disk.links) regions.add_descriptor(link, part);
  return found;
}

struct Place {
  const FileRegion* region = nullptr;
  std::uint64_t offset = 0;
  std::string name;
};

Place random_place(const std::vector<FileRegion>& regions, std::uint64_t seed) {
  const FileRegion& region = regions[mix(seed) % regions.size()];
  const std::uint64_t at = region.offset + mix(seed + 1) % region.size;
  return {&region, at,
          fmt::format("{} of {} at {:#x}", region.what, region.path.filename().string(), at)};
}

std::string flip(const Place& place, std::uint64_t seed) {
  const unsigned mask = 1U << (mix(seed + 2) % 8);
  flip_bits(place.region->path, place.offset, mask);
  return fmt::format("bits {:#x} turned over in the {}", mask, place.name);
}

}  // namespace

std::vector<FileRegion> checked_regions(const BuiltDisk& disk) {
  return regions_of(disk, OfGrains::all);
}

std::vector<FileRegion> metadata_regions(const BuiltDisk& disk) {
  return regions_of(disk, OfGrains::header);
}

std::string flip_at_random(const std::vector<FileRegion>& regions, std::uint64_t seed) {
  return flip(random_place(regions, seed), seed);
}

std::string damage_at_random(const std::vector<FileRegion>& regions, std::uint64_t seed) {
  const Place place = random_place(regions, seed);
  if (seed % 2 == 0) return flip(place, seed);
  const FileRegion& region = *place.region;
  const std::uint64_t size = std::min(kScribble, region.offset + region.size - place.offset);
  patch_file(region.path, place.offset, garbage(seed, size));
  return fmt::format("{} bytes of garbage in the {}", size, place.name);
}

}  // namespace grainmill::testing
