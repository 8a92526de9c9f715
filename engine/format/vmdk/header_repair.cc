// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/header_repair.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/format/vmdk/layout.h"
#include "engine/format/vmdk/table_repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace grainmill::vmdk {
namespace {

// Fields of "Hosted Sparse Extent Header", Virtual Disk Format 5.0.
constexpr std::size_t kMagicField = 0;
constexpr std::size_t kVersionField = 4;
constexpr std::size_t kFlagsField = 8;
constexpr std::size_t kCapacityField = 12;
constexpr std::size_t kGrainField = 20;
constexpr std::size_t kDescriptorField = 28;
constexpr std::size_t kDescriptorSizeField = 36;
constexpr std::size_t kTableField = 44;
constexpr std::size_t kRedundantField = 48;
constexpr std::size_t kDirectoryField = 56;
constexpr std::size_t kOverheadField = 64;
constexpr std::size_t kNewlineField = 73;
constexpr std::size_t kCompressField = 77;

// What one field may have been, the likeliest first.
struct Guess {
  std::string_view name;
  std::size_t offset = 0;
  std::size_t width = 0;
  std::vector<std::uint64_t> values{};
};

class HeaderRepair {
 public:
  HeaderRepair(const File& file, const HeaderWitness& witness, const Trial& trial, RepairPlan& plan)
      : file_(file), witness_(witness), trial_(trial), plan_(plan) {}

  Status run() {
    GM_TRY(const FileInfo info, file_.info());
    file_bytes_ = info.size_bytes;
    if (file_bytes_ < kSectorBytes) return {};
    GM_CHECK(file_.read_exact_at(0, bytes_));
    GM_CHECK(try_footer());
    GM_TRY(const std::vector<Guess> guesses, small_guesses());
    for (const Guess& guess : guesses) try_guess(guess);
    if (!found_ && !witness_.sizes_are_right) GM_CHECK(try_places());
    if (!found_ && witness_.claimed_bytes != 0) GM_CHECK(try_usual());
    if (!found_) return {};
    if (ambiguous_) {
      plan_.doubts.push_back(
          fail(ErrorKind::corrupt, file_.path(), 0,
               "the header is damaged, and more than one change would put it right")
              .error());
      return {};
    }
    plan_.corrections.push_back(*std::move(found_));
    return {};
  }

 private:
  template <typename Word>
  [[nodiscard]] Word field(std::size_t offset) const {
    return load_le<Word>(bytes_.data() + offset);
  }

  void consider(FilePatch patch, std::string what) {
    const std::optional<Digest128> digest = trial_(std::span(&patch, 1));
    if (!digest) return;
    if (found_) {
      ambiguous_ = ambiguous_ || *digest != digest_;
      return;
    }
    digest_ = *digest;
    found_ = Correction{file_.path(), std::move(patch), std::move(what)};
  }

  void try_guess(const Guess& guess) {
    std::vector<std::byte> old(
        bytes_.begin() + static_cast<std::ptrdiff_t>(guess.offset),
        bytes_.begin() + static_cast<std::ptrdiff_t>(guess.offset + guess.width));
    for (const std::uint64_t value : guess.values) {
      std::array<std::byte, 8> wide{};
      store_le(wide.data(), value);
      std::vector<std::byte> bytes(wide.begin(),
                                   wide.begin() + static_cast<std::ptrdiff_t>(guess.width));
      if (bytes == old) continue;
      consider(
          {guess.offset, std::move(bytes)},
          fmt::format("header, {}: {:#x}, as all the rest of the extent says", guess.name, value));
    }
  }

  // A footer is the header again, but for the place of the directory, which may be in both.
  Status try_footer() {
    constexpr std::uint64_t kMostPadding = 2048;  // sectors
    std::array<std::byte, kSectorBytes> footer{};
    const std::uint64_t end = file_bytes_ / kSectorBytes;
    for (std::uint64_t at = end; at > 1 && at + kMostPadding > end;) {
      GM_CHECK(file_.read_exact_at(--at * kSectorBytes, footer));
      if (!has_hosted_magic(footer)) continue;
      if (!parse_hosted_header(footer, file_.path(), at * kSectorBytes)) return {};
      for (const bool at_end : {true, false}) {
        std::vector<std::byte> bytes(footer.begin(), footer.end());
        if (at_end) store_le(bytes.data() + kDirectoryField, kDirectoryAtEnd);
        consider({0, std::move(bytes)},
                 fmt::format("header, all of it: as the footer at offset {:#x} says",
                             at * kSectorBytes));
        if (found_) return {};
      }
      return {};
    }
    return {};
  }

  // A header that is lost as a whole: as VMware's tools, qemu and Grainmill lay extents out, with
  // both directories in front, each followed by its tables. Of an extent that holds nothing, any
  // size of grain may be right: the usual one comes first.
  Status try_usual() {
    if (has_hosted_magic(bytes_) && parse_hosted_header(bytes_, file_.path(), 0)) return {};
    for (const std::uint64_t grain : {128U, 8U, 16U, 32U, 64U, 256U, 512U, 1024U, 2048U})
      for (const bool with_room : {true, false})
        if (with_room || witness_.descriptor_sector == 0) GM_CHECK(try_layout(grain, with_room));
    return {};
  }

  Status try_layout(std::uint64_t grain, bool with_room) {
    constexpr std::uint64_t kUsualGrain = 128;
    constexpr std::uint64_t kDescriptorSectors = 20;
    HostedHeader header = usual_header(grain);
    if (with_room) {
      header.descriptor_sector = 1;
      header.descriptor_sectors = kDescriptorSectors;
    }
    place_tables(header, std::max(grain, kUsualGrain));
    GM_TRY(const bool zeroes, has_zeroed_grains(header));
    if (zeroes) {
      header.version = std::max(header.version, 2U);
      header.flags |= kFlagZeroedGrain;
    }
    const auto bytes = encode_hosted_header(header);
    consider({0, {bytes.begin(), bytes.end()}},
             fmt::format("header, all of it: grains of {} sectors, laid out as usual", grain));
    return {};
  }

  // Readers take such an entry for a place where the header does not say that there are some.
  [[nodiscard]] Result<bool> has_zeroed_grains(const HostedHeader& header) const {
    constexpr std::uint64_t kMostTables = 1
                                          << 22;  // 128 TiB by the usual sizes: no size is trusted
    if (tables_of(header) > kMostTables) return false;
    GM_TRY(const std::vector<std::uint32_t> directory,
           read_words(file_, header.directory_sector, tables_of(header)));
    for (const std::uint32_t table : directory) {
      if (table == 0) continue;
      if (table <= header.directory_sector || table >= header.overhead_sectors) return false;
      GM_TRY(const std::vector<std::uint32_t> entries,
             read_words(file_, table, header.entries_per_table));
      if (std::ranges::find(entries, kZeroedGrainEntry) != entries.end()) return true;
    }
    return false;
  }

  [[nodiscard]] HostedHeader usual_header(std::uint64_t grain) const {
    constexpr std::uint32_t kEntries = 512;
    HostedHeader header;
    header.version = 1;
    header.flags = kFlagNewlineTest | kFlagRedundantTables;
    if (witness_.is_stream) {
      header.version = 3;
      header.flags |= kFlagCompressed | kFlagMarkers;
      header.compress_algorithm = 1;
    }
    header.capacity_sectors = witness_.claimed_bytes / kSectorBytes;
    header.grain_sectors = grain;
    header.entries_per_table = kEntries;
    return header;
  }

  [[nodiscard]] static std::uint64_t tables_of(const HostedHeader& header) {
    return ceil_div(header.capacity_sectors, header.entries_per_table * header.grain_sectors);
  }

  static void place_tables(HostedHeader& header, std::uint64_t alignment) {
    const std::uint64_t stride = header.entries_per_table * std::uint64_t{4} / kSectorBytes;
    const std::uint64_t tables = tables_of(header);
    const std::uint64_t room = ceil_div(tables * 4, kSectorBytes) + tables * stride;
    header.redundant_directory_sector = 1 + header.descriptor_sectors;
    header.directory_sector = header.redundant_directory_sector + room;
    header.overhead_sectors = align_up(header.directory_sector + room, alignment);
  }

  [[nodiscard]] Result<std::vector<Guess>> small_guesses() const {
    constexpr std::uint64_t kMagic = 0x564d444b;     // "KDMV"
    constexpr std::uint64_t kNewlines = 0x0a0d200a;  // "\n \r\n"
    GM_TRY(std::vector<std::uint64_t> flags, flag_guesses());
    std::vector<Guess> guesses{{"magic", kMagicField, 4, {kMagic}},
                               {"version", kVersionField, 4, {1, 3, 2}},
                               {"flags", kFlagsField, 4, std::move(flags)},
                               {"newline test", kNewlineField, 4, {kNewlines}},
                               {"compression", kCompressField, 2, {0, 1}}};
    guesses.push_back({"metadata size", kOverheadField, 8, overheads()});
    if (witness_.sizes_are_right) return guesses;
    GM_TRY(std::vector<std::uint64_t> grains, grain_sizes());
    GM_TRY(std::vector<std::uint64_t> tables, table_sizes());
    guesses.push_back({"grain size", kGrainField, 8, std::move(grains)});
    guesses.push_back({"table size", kTableField, 4, std::move(tables)});
    if (!witness_.opens) {
      guesses.push_back({"descriptor", kDescriptorField, 8, {witness_.descriptor_sector}});
      guesses.push_back({"descriptor size", kDescriptorSizeField, 8, descriptor_sizes()});
    }
    if (witness_.claimed_bytes != 0 && witness_.claim_is_right)
      guesses.push_back({"capacity", kCapacityField, 8, capacities()});
    return guesses;
  }

  // Grains lie side by side, and so do tables: the least distance between two tells their size.
  // Where there are no two, only a size that cannot be is doubted.
  [[nodiscard]] Result<std::vector<std::uint64_t>> grain_sizes() const {
    constexpr std::uint64_t kSmallest = 8;
    constexpr std::uint64_t kLargest = 2048;
    GM_TRY(const std::uint64_t distance, grain_distance());
    if (distance != 0) return std::vector{distance};
    if (is_power_of_two(field<std::uint64_t>(kGrainField))) return std::vector<std::uint64_t>();
    std::vector<std::uint64_t> values;
    for (std::uint64_t size = kSmallest; size <= kLargest; size *= 2) values.push_back(size);
    return values;
  }
  [[nodiscard]] Result<std::vector<std::uint64_t>> table_sizes() const {
    constexpr std::uint64_t kEntriesPerSector = kSectorBytes / 4;
    constexpr std::uint64_t kUsual = 512;
    GM_TRY(const std::vector<std::uint32_t> tables, directory_entries());
    const std::uint64_t distance = least_distance(tables);
    if (distance > 1) return std::vector{distance * kEntriesPerSector};
    std::vector<std::uint64_t> values;
    if (distance == 0 && is_power_of_two(field<std::uint32_t>(kTableField))) return values;
    for (std::uint64_t size = kEntriesPerSector; size >= 1; size /= 2) values.push_back(size);
    if (distance == 0) values.insert(values.begin(), {kUsual, kUsual / 2, kUsual * 2, kUsual * 4});
    return values;
  }

  // The sectors of the tables, of the directory as it is.
  [[nodiscard]] Result<std::vector<std::uint32_t>> directory_entries() const {
    constexpr std::uint64_t kMost = 4096;
    GM_TRY(std::vector<std::uint32_t> entries,
           read_words(file_, field<std::uint64_t>(kDirectoryField), kMost));
    // They go up, mostly; what follows the directory does not.
    std::erase(entries, 0U);
    const auto end = std::ranges::is_sorted_until(entries);
    entries.erase(end, entries.end());
    std::erase_if(entries, [&](std::uint32_t at) { return at >= file_bytes_ / kSectorBytes; });
    return entries;
  }

  // What the first tables say, in order; not that there is nothing.
  [[nodiscard]] Result<std::vector<std::uint32_t>> first_entries() const {
    constexpr std::size_t kMostTables = 16;
    constexpr std::uint32_t kMostEntries = 65536;
    const auto entries = field<std::uint32_t>(kTableField);
    std::vector<std::uint32_t> said;
    if (entries > kMostEntries) return said;
    GM_TRY(const std::vector<std::uint32_t> tables, directory_entries());
    for (std::size_t i = 0; i < std::min(tables.size(), kMostTables); ++i) {
      GM_TRY(const std::vector<std::uint32_t> words, read_words(file_, tables[i], entries));
      said.insert(said.end(), words.begin(), words.end());
    }
    std::erase(said, 0U);
    std::ranges::sort(said);
    return said;
  }

  // In sectors; 0: there are no two.
  [[nodiscard]] Result<std::uint64_t> grain_distance() const {
    GM_TRY(std::vector<std::uint32_t> grains, first_entries());
    std::erase(grains, kZeroedGrainEntry);
    return least_distance(grains);
  }

  static std::uint64_t least_distance(const std::vector<std::uint32_t>& sorted) {
    std::uint64_t least = 0;
    for (std::size_t i = 1; i < sorted.size(); ++i)
      if (sorted[i] != sorted[i - 1] && (least == 0 || sorted[i] - sorted[i - 1] < least))
        least = sorted[i] - sorted[i - 1];
    return least;
  }

  // Only such that let more be held against each other, or say what compression says.
  [[nodiscard]] Result<std::vector<std::uint64_t>> flag_guesses() const {
    const auto flags = field<std::uint32_t>(kFlagsField);
    constexpr std::uint32_t kAll = kFlagCompressed | kFlagMarkers;
    constexpr std::uint32_t kKnown = kAll | 7U;
    const std::uint32_t base = kFlagNewlineTest;
    const bool redundant = field<std::uint64_t>(kRedundantField) != 0;
    const std::uint32_t tables = redundant ? base | kFlagRedundantTables : base;
    std::vector<std::uint64_t> values{flags | tables, flags & kKnown};
    GM_TRY(const std::vector<std::uint32_t> entries, first_entries());
    if (field<std::uint32_t>(kVersionField) >= 2 && !entries.empty() &&
        entries.front() == kZeroedGrainEntry)
      values.push_back(flags | kFlagZeroedGrain);
    if (field<std::uint16_t>(kCompressField) == 1) {
      values.insert(values.end(), {flags | kAll, flags | kAll | tables});
    } else {
      values.insert(values.end(), {flags & ~kAll, (flags & ~kAll) | tables});
    }
    return values;
  }

  [[nodiscard]] std::vector<std::uint64_t> capacities() const {
    const std::uint64_t sectors = witness_.claimed_bytes / kSectorBytes;
    const auto grain = field<std::uint64_t>(kGrainField);
    std::vector<std::uint64_t> values{sectors};
    if (is_power_of_two(grain)) values.push_back(align_up(sectors, grain));
    return values;
  }

  [[nodiscard]] std::vector<std::uint64_t> descriptor_sizes() const {
    constexpr std::uint64_t kUsual = 20;
    std::vector<std::uint64_t> values;
    if (witness_.descriptor_sector == 0) return {0};
    const std::uint64_t needed = ceil_div(witness_.descriptor_bytes, kSectorBytes);
    if (needed <= kUsual) values.push_back(kUsual);
    for (const std::size_t next : {kRedundantField, kDirectoryField, kOverheadField}) {
      const auto sector = field<std::uint64_t>(next);
      constexpr std::uint64_t kMost = 2048;
      if (sector > witness_.descriptor_sector + needed && sector < kMost)
        values.push_back(sector - witness_.descriptor_sector);
    }
    values.push_back(needed);
    return values;
  }

  // The metadata ends behind the last table, mostly at a multiple of the grain. What is such a
  // place is not doubted.
  [[nodiscard]] std::vector<std::uint64_t> overheads() const {
    const auto grain = field<std::uint64_t>(kGrainField);
    const std::uint64_t table =
        ceil_div(field<std::uint32_t>(kTableField) * std::uint64_t{4}, kSectorBytes);
    const std::uint64_t per_table = field<std::uint32_t>(kTableField) * grain;
    if (grain == 0 || per_table == 0) return {};
    const std::uint64_t tables = ceil_div(field<std::uint64_t>(kCapacityField), per_table);
    const std::uint64_t directory = ceil_div(tables * 4, kSectorBytes);
    // A smaller one would let entries point into tables.
    std::uint64_t end = 0;
    for (const std::size_t place : {kDirectoryField, kRedundantField}) {
      const auto sector = field<std::uint64_t>(place);
      if (sector < file_bytes_ / kSectorBytes && sector != 0)
        end = std::max(end, sector + directory + tables * table);
    }
    std::vector<std::uint64_t> values;
    if (field<std::uint16_t>(kCompressField) == 0)
      for (const std::uint64_t unit :
           {grain, std::uint64_t{128}, std::uint64_t{8}, std::uint64_t{1}})
        values.push_back(align_up(end, unit));
    if (std::ranges::find(values, field<std::uint64_t>(kOverheadField)) != values.end()) return {};
    return values;
  }

  // The places of both directories: every sector of the metadata that could be one.
  Status try_places() {
    Guess directory{"grain directory", kDirectoryField, 8};
    Guess redundant{"redundant grain directory", kRedundantField, 8};
    directory.values.push_back(kDirectoryAtEnd);
    const std::uint64_t overhead = field<std::uint64_t>(kOverheadField);
    constexpr std::uint64_t kMostSectors = 1 << 20;
    const std::uint64_t end = std::min({overhead, file_bytes_ / kSectorBytes, kMostSectors});
    constexpr std::size_t kMostPlaces = 64;
    for (std::uint64_t at = 1; at < end && directory.values.size() < kMostPlaces; ++at) {
      GM_TRY(const bool may_be, may_be_directory(at, end));
      if (!may_be) continue;
      directory.values.push_back(at);
      redundant.values.push_back(at);
    }
    try_guess(directory);
    if ((field<std::uint32_t>(kFlagsField) & kFlagRedundantTables) != 0) try_guess(redundant);
    return {};
  }

  // All that is stored in its first sector are places within the metadata, one behind the other.
  [[nodiscard]] Result<bool> may_be_directory(std::uint64_t sector, std::uint64_t end) const {
    std::array<std::byte, kSectorBytes> bytes{};
    GM_CHECK(file_.read_exact_at(sector * kSectorBytes, bytes));
    std::uint32_t last = 0;
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      const auto entry = load_le<std::uint32_t>(bytes.data() + i);
      if (entry == 0) continue;
      if (entry <= last || entry >= end) return false;
      last = entry;
    }
    return last != 0;
  }

  const File& file_;
  const HeaderWitness& witness_;
  const Trial& trial_;
  RepairPlan& plan_;
  std::uint64_t file_bytes_ = 0;
  std::array<std::byte, kSectorBytes> bytes_{};
  std::optional<Correction> found_;
  Digest128 digest_;
  bool ambiguous_ = false;
};

}  // namespace

Status repair_header(const File& file, const HeaderWitness& witness, const Trial& trial,
                     RepairPlan& plan) {
  return HeaderRepair(file, witness, trial, plan).run();
}

}  // namespace grainmill::vmdk
