// SPDX-License-Identifier: Apache-2.0
//
// Damage to single entries of grain tables and grain directories, in the primary copy, in the
// redundant one, or the same in both.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>
#include <optional>

namespace grainmill::testing {
namespace {

constexpr std::size_t kGrainsTried = 4;
constexpr std::uint32_t kFarSector = 0x70000000;

// What becomes of the entry of a grain. nullopt: nothing to do here.
using NewEntry = std::function<std::optional<std::uint32_t>(const Target&, std::size_t grain)>;

std::uint32_t sector(std::uint64_t offset) {
  return static_cast<std::uint32_t>(offset / kSectorSize);
}

std::uint32_t stored_sector(const Target& target, std::size_t grain) {
  return sector(target.extent().grains[grain].data_offset);
}

bool has_next(const Target& target, std::size_t grain) {
  return grain + 1 < target.extent().grains.size();
}

// A place between, or behind, the stored grains where nothing is.
std::uint32_t free_sector(const Target& target) {
  const BuiltExtent& extent = target.extent();
  const std::uint64_t step = extent.grain_bytes;
  std::uint64_t last = extent.overhead_bytes;
  for (const GrainPlace& grain : extent.grains) last = std::max(last, grain.data_offset);
  for (std::uint64_t at = extent.overhead_bytes; at < last; at += step) {
    const auto overlaps = [&](const GrainPlace& grain) {
      return grain.data_offset < at + step && at < grain.data_offset + step;
    };
    if (std::ranges::none_of(extent.grains, overlaps)) return sector(at);
  }
  return sector(last + step);
}

struct EntryDamage {
  const char* name;
  const char* what;
  NewEntry entry;
  bool traceless_in_plain = false;  // when done to all copies of an uncompressed extent
  bool swaps = false;               // the next grain gets the old entry
};

std::vector<EntryDamage> grain_entry_damages() {
  const auto next = [](const Target& t, std::size_t g) -> std::optional<std::uint32_t> {
    if (!has_next(t, g)) return std::nullopt;
    return stored_sector(t, g + 1);
  };
  const auto always = [](std::uint32_t value) {
    return [value](const Target&, std::size_t) { return std::optional(value); };
  };
  const auto moved = [](std::uint32_t by) {
    return [by](const Target& t, std::size_t g) { return std::optional(stored_sector(t, g) + by); };
  };
  return {
      {"gte-past-end", "a grain table entry far past the end of the file", always(kFarSector)},
      {"gte-at-end", "an entry for the sector where the file ends",
       [](const Target& t, std::size_t) { return std::optional(sector(t.extent().file_size)); }},
      {"gte-in-metadata", "an entry that points at the grain directory",
       [](const Target& t, std::size_t) { return std::optional(sector(t.extent().gd_offset)); }},
      {"gte-in-header", "an entry that points behind the header", always(2)},
      {"gte-one-sector-on", "an entry that points one sector further", moved(1)},
      {"gte-one-sector-back", "an entry that points one sector before",
       moved(static_cast<std::uint32_t>(-1))},
      {"gte-half-grain-on", "an entry that points half a grain further",
       [](const Target& t, std::size_t g) {
         return std::optional(stored_sector(t, g) + sector(t.extent().grain_bytes / 2));
       }},
      {"gte-shared", "two entries for one grain", next},
      {"gte-swapped", "the entries of two grains exchanged", next, true, true},
      {"gte-zeroed", "an entry lost", always(0), true},
      {"gte-one", "an entry that says zeros", always(1), true},
      {"gte-free-slot", "an entry for a place that is free",
       [](const Target& t, std::size_t) { return std::optional(free_sector(t)); }, true},
  };
}

void put_entry(const Target& target, std::size_t grain, TableCopyHit copy, std::uint32_t value) {
  const GrainPlace& place = target.extent().grains[grain];
  if (copy != TableCopyHit::redundant) patch_word(target.path(), place.gte_offset, value);
  if (copy != TableCopyHit::primary && place.redundant_gte_offset != 0)
    patch_word(target.path(), place.redundant_gte_offset, value);
}

std::string with_copy(const char* name, TableCopyHit copy) {
  if (copy == TableCopyHit::primary) return std::string(name) + "/primary";
  if (copy == TableCopyHit::redundant) return std::string(name) + "/redundant";
  return name;
}

std::string of_copy(const char* what, TableCopyHit copy) {
  if (copy == TableCopyHit::primary) return std::string(what) + ", in the primary tables";
  if (copy == TableCopyHit::redundant) return std::string(what) + ", in the redundant tables";
  return std::string(what) + ", in every copy";
}

bool has_copy(const Target& target, TableCopyHit copy) {
  return target.has_tables() && (copy == TableCopyHit::none || target.has_two_copies());
}

// The grains of an extent to which a damage can be done.
std::vector<std::size_t> fit_grains(const Target& target, const EntryDamage& damage) {
  std::vector<std::size_t> fit;
  for (const std::size_t grain : sample(target.extent().grains.size(), kGrainsTried))
    if (damage.entry(target, grain)) fit.push_back(grain);
  return fit;
}

DamageKind grain_entry_kind(const EntryDamage& damage, TableCopyHit copy) {
  return extent_kind(
      with_copy(damage.name, copy), of_copy(damage.what, copy),
      [damage, copy](const Target& t) {
        return has_copy(t, copy) ? fit_grains(t, damage).size() : 0;
      },
      [damage, copy](const Target& t, std::size_t place) {
        const std::size_t grain = fit_grains(t, damage)[place];
        const std::uint32_t old = stored_sector(t, grain);
        put_entry(t, grain, copy, *damage.entry(t, grain));
        if (damage.swaps) put_entry(t, grain + 1, copy, old);
      },
      [damage, copy](const Target& t, std::size_t) {
        return damage.traceless_in_plain && copy == TableCopyHit::none && !t.is_stream();
      },
      copy);
}

// Entries of grains that are not stored, or stored as zeros.
std::vector<std::uint64_t> absent_entries(const Target& target, std::uint32_t value) {
  const BuiltExtent& extent = target.extent();
  std::vector<std::uint64_t> found;
  if (!target.has_tables()) return found;
  for (std::uint64_t at = 0; at < extent.size_bytes && found.size() < 2; at += extent.grain_bytes) {
    const std::uint64_t offset = extent.gte_offset_of(extent.guest_offset + at);
    if (offset != 0 && file_word(target.path(), offset) == value)
      found.push_back(extent.guest_offset + at);
  }
  return found;
}

DamageKind absent_entry_kind(const char* name, const char* what, std::uint32_t from,
                             std::uint32_t to, TableCopyHit copy) {
  return extent_kind(
      with_copy(name, copy), of_copy(what, copy),
      [from, copy](const Target& t) {
        return has_copy(t, copy) ? absent_entries(t, from).size() : 0;
      },
      [from, to, copy](const Target& t, std::size_t place) {
        const std::uint64_t guest_offset = absent_entries(t, from)[place];
        if (copy != TableCopyHit::redundant)
          patch_word(t.path(), t.extent().gte_offset_of(guest_offset), to);
        if (copy != TableCopyHit::primary && t.has_two_copies())
          patch_word(t.path(), t.extent().redundant_gte_offset_of(guest_offset), to);
      },
      [to, copy](const Target&, std::size_t) { return to <= 1 && copy == TableCopyHit::none; },
      copy);
}

// Grain directories.

std::size_t table_count(const Target& target) { return target.extent().gt_offsets.size(); }

std::uint64_t directory_entry(const Target& target, std::size_t table, bool redundant) {
  return (redundant ? target.extent().rgd_offset : target.extent().gd_offset) + table * 4;
}

void put_directory_entry(const Target& target, std::size_t table, TableCopyHit copy,
                         const std::function<std::uint32_t(bool redundant)>& value) {
  if (copy != TableCopyHit::redundant)
    patch_word(target.path(), directory_entry(target, table, false), value(false));
  if (copy != TableCopyHit::primary && target.has_two_copies())
    patch_word(target.path(), directory_entry(target, table, true), value(true));
}

std::uint32_t table_sector(const Target& target, std::size_t table, bool redundant) {
  const BuiltExtent& extent = target.extent();
  return sector(redundant ? extent.rgt_offsets[table] : extent.gt_offsets[table]);
}

// The next table that exists, round to this one itself.
std::size_t next_table(const Target& target, std::size_t table) {
  const std::vector<std::uint64_t>& offsets = target.extent().gt_offsets;
  std::size_t next = (table + 1) % offsets.size();
  while (next != table && offsets[next] == 0) next = (next + 1) % offsets.size();
  return next;
}

struct DirectoryDamage {
  const char* name;
  const char* what;
  std::function<std::uint32_t(const Target&, std::size_t table, bool redundant)> entry;
  std::size_t tables_needed = 1;
  bool swaps = false;
  bool traceless_in_plain = false;
};

std::vector<DirectoryDamage> directory_damages() {
  const auto next = [](const Target& t, std::size_t table, bool redundant) {
    return table_sector(t, next_table(t, table), redundant);
  };
  return {
      {"gde-past-end", "a grain directory entry past the end of the file",
       [](const Target&, std::size_t, bool) { return kFarSector; }},
      {"gde-in-header", "a directory entry that points into the header",
       [](const Target&, std::size_t, bool) { return 1U; }},
      {"gde-at-directory", "a directory entry that points at the directory itself",
       [](const Target& t, std::size_t, bool redundant) {
         return sector(redundant ? t.extent().rgd_offset : t.extent().gd_offset);
       }},
      {"gde-one-sector-on", "a directory entry that points one sector further",
       [](const Target& t, std::size_t table, bool redundant) {
         return table_sector(t, table, redundant) + 1;
       }},
      {"gde-at-grain", "a directory entry that points at a grain",
       [](const Target& t, std::size_t, bool) {
         return t.extent().grains.empty() ? sector(t.extent().overhead_bytes) : stored_sector(t, 0);
       }},
      {"gde-zeroed", "a table lost from the directory",
       [](const Target&, std::size_t, bool) { return 0U; }, 1, false, true},
      {"gde-shared", "two directory entries for one table", next, 2},
      {"gde-swapped", "two directory entries exchanged", next, 2, true, true},
  };
}

DamageKind directory_kind(const DirectoryDamage& damage, TableCopyHit copy) {
  return extent_kind(
      with_copy(damage.name, copy), of_copy(damage.what, copy),
      [damage, copy](const Target& t) -> std::size_t {
        if (!has_copy(t, copy) || table_count(t) < damage.tables_needed) return 0;
        return std::min<std::size_t>(table_count(t), 3);
      },
      [damage, copy](const Target& t, std::size_t table) {
        put_directory_entry(t, table, copy,
                            [&](bool redundant) { return damage.entry(t, table, redundant); });
        if (damage.swaps)
          put_directory_entry(t, next_table(t, table), copy,
                              [&](bool redundant) { return table_sector(t, table, redundant); });
      },
      [damage, copy](const Target& t, std::size_t) {
        return damage.traceless_in_plain && copy == TableCopyHit::none && !t.is_stream();
      },
      copy);
}

constexpr TableCopyHit kCopies[] = {TableCopyHit::none, TableCopyHit::primary,
                                    TableCopyHit::redundant};

}  // namespace

void add_entry_damage(std::vector<DamageKind>& kinds) {
  for (const TableCopyHit copy : kCopies) {
    for (const EntryDamage& damage : grain_entry_damages())
      kinds.push_back(grain_entry_kind(damage, copy));
    kinds.push_back(absent_entry_kind(
        "gte-hole-to-zero", "an entry for a grain that is not stored says zeros", 0, 1, copy));
    kinds.push_back(absent_entry_kind("gte-hole-to-data",
                                      "an entry for a grain that is not stored points far away", 0,
                                      kFarSector, copy));
    kinds.push_back(
        absent_entry_kind("gte-zero-to-hole", "an entry that says zeros is lost", 1, 0, copy));
    for (const DirectoryDamage& damage : directory_damages())
      kinds.push_back(directory_kind(damage, copy));
  }
}

}  // namespace grainmill::testing
