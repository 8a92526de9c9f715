// SPDX-License-Identifier: Apache-2.0
//
// Damage to the fields of headers and footers.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>
#include <array>

namespace grainmill::testing {
namespace {

using Change = std::function<std::uint64_t(std::uint64_t)>;

Change set_to(std::uint64_t value) {
  return [value](std::uint64_t) { return value; };
}
Change add(std::int64_t by) {
  return [by](std::uint64_t old) { return old + static_cast<std::uint64_t>(by); };
}
Change flip(unsigned bit) {
  return [bit](std::uint64_t old) { return old ^ (std::uint64_t{1} << bit); };
}
std::uint64_t twice(std::uint64_t old) { return old * 2; }
std::uint64_t half(std::uint64_t old) { return old / 2; }
std::uint64_t half_more(std::uint64_t old) { return old + old / 2; }

struct FieldDamage {
  const char* name;
  const char* what;
  std::uint64_t offset = 0;
  std::size_t width = 0;
  std::vector<Change> changes;
  bool traceless_in_plain = false;
};

constexpr std::uint64_t kHuge = std::uint64_t{1} << 40;

// "Hosted Sparse Extent Header" of Virtual Disk Format 5.0.
std::vector<FieldDamage> hosted_fields() {
  return {
      {"magic", "a wrong magic number", 0, 4, {flip(0), flip(31), set_to(0), set_to(0x564d444b)}},
      {"version",
       "another version",
       4,
       4,
       {set_to(0), set_to(1), set_to(2), set_to(3), set_to(4), flip(31)}},
      {"flag-0", "newline test flag turned over", 8, 4, {flip(0)}},
      {"flag-1", "redundant tables flag turned over", 8, 4, {flip(1)}},
      {"flag-2", "zeroed grain flag turned over", 8, 4, {flip(2)}},
      {"flag-16", "compression flag turned over", 8, 4, {flip(16)}},
      {"flag-17", "marker flag turned over", 8, 4, {flip(17)}},
      {"flags-16-17", "compression and marker flags turned over", 8, 4, {[](std::uint64_t old) {
         return old ^ 0x30000;
       }}},
      {"flags-unknown", "unknown flags set", 8, 4, {flip(3), flip(15), flip(18), flip(31)}},
      {"flags-zeroed", "no flags at all", 8, 4, {set_to(0)}},
      {"capacity-down",
       "a smaller capacity",
       12,
       8,
       {add(-1), add(-8), half, set_to(0), set_to(1)}},
      {"capacity-up", "a larger capacity", 12, 8, {add(1), add(8), add(128), twice, set_to(kHuge)}},
      {"grain-size-halved", "half the grain size", 20, 8, {half}},
      {"grain-size-doubled",
       "twice the grain size",
       20,
       8,
       {twice, [](std::uint64_t old) { return old * 4; }}},
      {"grain-size-impossible",
       "an impossible grain size",
       20,
       8,
       {set_to(0), half_more, add(1), set_to(kHuge), set_to(1)}},
      {"table-size-halved",
       "half the entries in a table",
       44,
       4,
       {half, [](std::uint64_t old) { return old / 4; }},
       true},
      {"table-size-doubled",
       "twice the entries in a table",
       44,
       4,
       {twice, [](std::uint64_t old) { return old * 8; }}},
      {"table-size-impossible",
       "an impossible number of entries",
       44,
       4,
       {set_to(0), half_more, add(-1), set_to(0x80000000)}},
      {"gd-offset-shifted",
       "the directory's place shifted",
       56,
       8,
       {add(1), add(-1), add(4), add(-4), add(16), add(128)}},
      {"gd-offset-impossible",
       "an impossible place for the directory",
       56,
       8,
       {set_to(0), set_to(1), set_to(kHuge), set_to(~std::uint64_t{0})}},
      {"rgd-offset-shifted",
       "the redundant directory's place shifted",
       48,
       8,
       {add(1), add(-1), add(4), add(-4), add(16), add(128)}},
      {"rgd-offset-impossible",
       "an impossible place for the redundant directory",
       48,
       8,
       {set_to(0), set_to(1), set_to(kHuge), set_to(~std::uint64_t{0})}},
      {"overhead",
       "another end of the metadata",
       64,
       8,
       {set_to(0), add(1), add(-1), add(8), twice, half, set_to(kHuge)}},
      {"descriptor-offset",
       "another place of the descriptor",
       28,
       8,
       {set_to(0), add(1), add(-1), add(16), set_to(kHuge)}},
      {"descriptor-size",
       "another size of the descriptor",
       36,
       8,
       {set_to(0), set_to(1), add(1), half, twice, set_to(kHuge)}},
      {"unclean-shutdown", "the unclean shutdown mark turned over", 72, 1, {flip(0), set_to(0xff)}},
      {"newline-bytes",
       "changed newline test bytes",
       73,
       4,
       {set_to(0), set_to(0x0a0d2020), flip(0), flip(24)}},
      {"compression", "another compression algorithm", 77, 2, {flip(0), set_to(2), set_to(0xffff)}},
  };
}

// The COWD header, as in libyal's description of the format.
std::vector<FieldDamage> cowd_fields() {
  return {
      {"magic", "a wrong magic number", 0, 4, {flip(0), set_to(0)}},
      {"version", "another version", 4, 4, {set_to(0), set_to(2)}},
      {"flags", "other flags", 8, 4, {flip(0), flip(1), flip(2), set_to(0)}},
      {"capacity", "another capacity", 12, 4, {add(1), add(-1), half, twice, set_to(0)}},
      {"grain-size",
       "another grain size",
       16,
       4,
       {set_to(0), twice, half_more, half, add(1), set_to(0xffff)}},
      {"gd-offset",
       "another place of the directory",
       20,
       4,
       {set_to(0), add(1), add(-1), add(33), set_to(0x7fffffff)}},
      {"gd-entries", "another number of directory entries", 24, 4, {set_to(0), add(1), add(-1)}},
      {"free-sector", "another next free sector", 28, 4, {set_to(0), add(1), half}},
      {"unclean-shutdown", "the unclean shutdown mark turned over", 1648, 4, {flip(0)}},
  };
}

void change_field(const std::filesystem::path& path, std::uint64_t offset, std::size_t width,
                  const Change& change) {
  std::vector<std::byte> bytes = file_bytes(path, offset, width);
  put_le(bytes, 0, width, change(get_le(bytes, 0, width)));
  patch_file(path, offset, bytes);
}

void add_fields(std::vector<DamageKind>& kinds, const char* prefix,
                const std::vector<FieldDamage>& fields,
                const std::function<bool(const Target&)>& applies,
                const std::function<std::uint64_t(const Target&)>& start) {
  for (const FieldDamage& field : fields)
    kinds.push_back(extent_kind(
        std::string(prefix) + field.name, field.what,
        [field, applies](const Target& t) { return applies(t) ? field.changes.size() : 0; },
        [field, start](const Target& t, std::size_t place) {
          change_field(t.path(), start(t) + field.offset, field.width, field.changes[place]);
        },
        // With one table, a few lost entries look like those that zeroed grains leave.
        [field](const Target& t, std::size_t) {
          return field.traceless_in_plain && !t.is_stream();
        }));
}

// A header or footer of zeros, of garbage, cut in the middle of a device's block.
void add_whole_header_damage(std::vector<DamageKind>& kinds) {
  const auto hosted = [](const Target& t) -> std::size_t { return t.has_tables() ? 1 : 0; };
  kinds.push_back(extent_kind(
      "header-zeroed", "a header of zeros", hosted,
      [](const Target& t, std::size_t) { fill_file(t.path(), 0, kSectorSize, std::byte{0}); }));
  kinds.push_back(extent_kind(
      "header-garbage", "garbage behind the magic number", hosted,
      [](const Target& t, std::size_t) { patch_file(t.path(), 4, garbage(1, kSectorSize - 4)); }));
  kinds.push_back(
      extent_kind("header-torn", "the second half of the header's fields zeroed", hosted,
                  [](const Target& t, std::size_t) { fill_file(t.path(), 40, 40, std::byte{0}); }));
}

}  // namespace

void add_header_damage(std::vector<DamageKind>& kinds) {
  const auto at_start = [](const Target&) { return std::uint64_t{0}; };
  add_fields(kinds, "header-", hosted_fields(), &Target::is_hosted, at_start);
  add_fields(
      kinds, "footer-", hosted_fields(),
      [](const Target& t) { return t.extent().footer_offset != 0; },
      [](const Target& t) { return t.extent().footer_offset; });
  add_fields(kinds, "cowd-", cowd_fields(), &Target::is_cowd, at_start);
  add_whole_header_damage(kinds);
}

}  // namespace grainmill::testing
