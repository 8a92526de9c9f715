// SPDX-License-Identifier: Apache-2.0
//
// Damage to whole tables and directories, and to the space behind them.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>

namespace grainmill::testing {
namespace {

struct Region {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

std::uint64_t table_bytes(const Target& target) {
  return std::uint64_t{target.extent().gtes_per_gt} * 4;
}

// The tables of one copy that hold anything.
std::vector<Region> tables_in_use(const Target& target, bool redundant) {
  const BuiltExtent& extent = target.extent();
  std::vector<Region> regions;
  for (const std::uint64_t offset : redundant ? extent.rgt_offsets : extent.gt_offsets) {
    if (offset == 0) continue;
    const std::vector<std::byte> bytes = file_bytes(target.path(), offset, table_bytes(target));
    if (std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; }))
      regions.push_back({offset, table_bytes(target)});
  }
  return regions;
}

std::vector<Region> directories(const Target& target, bool redundant) {
  const BuiltExtent& extent = target.extent();
  const std::uint64_t offset = redundant ? extent.rgd_offset : extent.gd_offset;
  return {{offset, extent.gt_offsets.size() * 4}};
}

using Regions = std::vector<Region> (*)(const Target&, bool redundant);
using Wreck = void (*)(const Target&, const Region&);

void zero(const Target& target, const Region& region) {
  fill_file(target.path(), region.offset, region.size, std::byte{0});
}
void ones(const Target& target, const Region& region) {
  fill_file(target.path(), region.offset, region.size, std::byte{0xff});
}
void scramble(const Target& target, const Region& region) {
  patch_file(target.path(), region.offset, garbage(region.offset, region.size));
}
// The entries move up by one.
void shift(const Target& target, const Region& region) {
  std::vector<std::byte> bytes = file_bytes(target.path(), region.offset, region.size);
  std::ranges::rotate(bytes, bytes.begin() + 4);
  patch_file(target.path(), region.offset, bytes);
}
// Every entry in the other byte order.
void swap_bytes(const Target& target, const Region& region) {
  std::vector<std::byte> bytes = file_bytes(target.path(), region.offset, region.size);
  for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + 4));
  patch_file(target.path(), region.offset, bytes);
}
void zero_half(const Target& target, const Region& region) {
  fill_file(target.path(), region.offset, region.size / 2, std::byte{0});
}

struct TableDamage {
  const char* name;
  const char* what;
  Regions regions;
  Wreck wreck;
  bool traceless_in_plain = false;
};

constexpr TableDamage kDamages[] = {
    {"table-zeroed", "a grain table of zeros", tables_in_use, zero, true},
    {"table-half-zeroed", "half a grain table of zeros", tables_in_use, zero_half, true},
    {"table-ones", "a grain table of all ones", tables_in_use, ones},
    {"table-garbage", "garbage for a grain table", tables_in_use, scramble},
    {"table-shifted", "a grain table whose entries moved up by one", tables_in_use, shift, true},
    {"table-byte-order", "a grain table in the wrong byte order", tables_in_use, swap_bytes},
    {"directory-zeroed", "a grain directory of zeros", directories, zero},
    {"directory-garbage", "garbage for a grain directory", directories, scramble},
    {"directory-byte-order", "a grain directory in the wrong byte order", directories, swap_bytes},
};

void add_for_copy(std::vector<DamageKind>& kinds, const TableDamage& damage, bool redundant) {
  const std::string copy = redundant ? "/redundant" : "/primary";
  kinds.push_back(extent_kind(
      damage.name + copy, std::string(damage.what) + ", the other copy being whole",
      [damage, redundant](const Target& t) {
        return t.has_two_copies() ? damage.regions(t, redundant).size() : 0;
      },
      [damage, redundant](const Target& t, std::size_t place) {
        damage.wreck(t, damage.regions(t, redundant)[place]);
      },
      nullptr, redundant ? TableCopyHit::redundant : TableCopyHit::primary));
}

void add_for_all(std::vector<DamageKind>& kinds, const TableDamage& damage) {
  kinds.push_back(extent_kind(
      damage.name, std::string(damage.what) + ", in every copy",
      [damage](const Target& t) { return t.has_tables() ? damage.regions(t, false).size() : 0; },
      [damage](const Target& t, std::size_t place) {
        const std::vector<Region> other =
            t.has_two_copies() ? damage.regions(t, true) : std::vector<Region>();
        damage.wreck(t, damage.regions(t, false)[place]);
        if (!other.empty()) damage.wreck(t, other[place]);
      },
      [damage](const Target& t, std::size_t) {
        return damage.traceless_in_plain && !t.is_stream();
      }));
}

}  // namespace

void add_table_damage(std::vector<DamageKind>& kinds) {
  for (const TableDamage& damage : kDamages) {
    add_for_copy(kinds, damage, false);
    add_for_copy(kinds, damage, true);
    add_for_all(kinds, damage);
  }
}

}  // namespace grainmill::testing
