// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/size_witness.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"
#include "engine/format/vmdk/descriptor_edit.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <span>
#include <vector>

namespace grainmill::vmdk {
namespace {

std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) {
  const std::optional<std::string_view> value = value_of(text, key);
  if (!value) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = value->data() + value->size();
  const auto [parsed, status] = std::from_chars(value->data(), end, number);
  if (status != std::errc{} || parsed != end) return std::nullopt;
  return number;
}

// Writers put the redundant directory and its tables in front of the primary ones, without gaps:
// the distance between the directories is the number of tables.
void tell_room(const HostedHeader& header, ExtentFacts& facts) {
  const std::uint64_t first = header.redundant_directory_sector;
  const std::uint64_t second = header.directory_sector;
  if (!header.has_redundant_tables() || second == kDirectoryAtEnd || second <= first) return;
  constexpr std::uint64_t kMostTables = 1 << 22;
  const std::uint64_t stride = ceil_div(header.entries_per_table * std::uint64_t{4}, kSectorBytes);
  const std::uint64_t per_table = header.entries_per_table * header.grain_sectors;
  for (std::uint64_t tables = (second - first) / stride; tables != 0 && tables <= kMostTables;
       --tables) {
    const std::uint64_t room = ceil_div(tables * 4, kSectorBytes) + tables * stride;
    if (room < second - first) return;
    if (room > second - first) continue;
    facts.least_sectors = (tables - 1) * per_table + 1;
    facts.most_sectors = tables * per_table;
    return;
  }
}

// A stream's footer is its header again, in the last sector but one.
Status tell_by_footer(const File& file, ExtentFacts& facts) {
  GM_TRY(const FileInfo info, file.info());
  if (info.size_bytes < 3 * kSectorBytes) return {};
  std::array<std::byte, kSectorBytes> sector{};
  const std::uint64_t offset = info.size_bytes - 2 * kSectorBytes;
  GM_CHECK(file.read_exact_at(offset, sector));
  if (!has_hosted_magic(sector)) return {};
  const Result<HostedHeader> footer = parse_hosted_header(sector, file.path(), offset);
  if (footer) facts.least_sectors = facts.most_sectors = footer->capacity_sectors;
  return {};
}

Result<ExtentFacts> hosted_facts(const File& file) {
  std::array<std::byte, kSectorBytes> sector{};
  GM_CHECK(file.read_exact_at(0, sector));
  GM_TRY(const HostedHeader header, parse_hosted_header(sector, file.path(), 0));
  ExtentFacts facts{.type = "SPARSE",
                    .sectors = header.capacity_sectors,
                    .grain_sectors = header.grain_sectors,
                    .compressed = header.compressed()};
  tell_room(header, facts);
  if (header.compressed()) GM_CHECK(tell_by_footer(file, facts));
  return facts;
}

Result<ExtentFacts> cowd_facts(const File& file) {
  std::array<std::byte, kCowdHeaderBytes> bytes{};
  GM_CHECK(file.read_exact_at(0, bytes));
  GM_TRY(const CowdHeader header, parse_cowd_header(bytes, file.path()));
  ExtentFacts facts{.type = "VMFSSPARSE", .sectors = header.capacity_sectors};
  const std::uint64_t per_table = kCowdEntriesPerTable * header.grain_sectors;
  facts.least_sectors = (header.directory_entries - std::uint64_t{1}) * per_table + 1;
  facts.most_sectors = header.directory_entries * per_table;
  return facts;
}

}  // namespace

Result<ExtentFacts> read_extent_facts(const File& file) {
  std::array<std::byte, 4> magic{};
  GM_TRY(const std::size_t got, file.read_at(0, magic));
  const std::span<const std::byte> head = std::span(magic).first(got);
  if (has_hosted_magic(head)) return hosted_facts(file);
  if (has_cowd_magic(head)) return cowd_facts(file);
  GM_TRY(const FileInfo info, file.info());
  if (info.size_bytes == 0 || info.size_bytes % kSectorBytes != 0)
    return fail(ErrorKind::corrupt, file.path(),
                fmt::format("has {} bytes, which no flat extent has", info.size_bytes));
  return ExtentFacts{.type = "FLAT", .sectors = info.size_bytes / kSectorBytes};
}

StatedGeometry::StatedGeometry(std::string_view text) {
  const auto heads = number_of(text, "ddb.geometry.heads");
  const auto sectors = number_of(text, "ddb.geometry.sectors");
  constexpr std::uint64_t kMost = 255;  // of either, as the BIOS has it
  if (!heads || !sectors || *heads == 0 || *sectors == 0 || *heads > kMost || *sectors > kMost)
    return;
  cylinders_ = number_of(text, "ddb.geometry.cylinders");
  track_sectors_ = *heads * *sectors;
}

std::optional<bool> StatedGeometry::is_of(std::uint64_t sectors) const {
  // Larger disks all have the same.
  constexpr std::uint64_t kMost = 16383;
  if (!cylinders_ || *cylinders_ >= kMost) return std::nullopt;
  return sectors / track_sectors_ == *cylinders_;
}

SizeVote vote_on_size(const ExtentFacts& facts, std::uint64_t line_sectors, std::uint64_t others,
                      const StatedGeometry& geometry) {
  if (facts.has_room_told()) {
    const bool for_file = facts.room_is_for(facts.sectors);
    const bool for_line = facts.room_is_for(line_sectors);
    if (for_file != for_line) return for_file ? SizeVote::file : SizeVote::descriptor;
  }
  const std::optional<bool> of_file = geometry.is_of(others + facts.sectors);
  const std::optional<bool> of_line = geometry.is_of(others + line_sectors);
  if (!of_file || !of_line || *of_file == *of_line) return SizeVote::undecided;
  return *of_file ? SizeVote::file : SizeVote::descriptor;
}

}  // namespace grainmill::vmdk
