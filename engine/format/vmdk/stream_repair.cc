// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/stream_repair.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/format/vmdk/stream_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <set>

namespace grainmill::vmdk {
namespace {

std::vector<std::byte> marker_bytes(MarkerType type, std::uint64_t payload_sectors) {
  std::vector<std::byte> bytes(kSectorBytes);
  store_le(bytes.data(), payload_sectors);
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(type));
  return bytes;
}

struct Directory {
  std::string_view name;
  std::uint64_t sector = 0;
  std::vector<std::uint32_t> tables{};
};

class StreamRepair {
 public:
  StreamRepair(const DamagedTables& extent, RepairPlan& plan)
      : file_(extent.file),
        header_(extent.header),
        file_bytes_(extent.file_bytes),
        plan_(plan),
        entries_(header_.entries_per_table),
        tables_(ceil_div(ceil_div(header_.capacity_sectors, header_.grain_sectors), entries_)),
        stride_(table_sectors(header_)) {}

  Status run() {
    GM_TRY(walk_, walk_stream(file_, header_, {}));
    GM_CHECK(find_directories());
    if (directories_.empty()) return {};
    GM_CHECK(read_known());
    if (!walk_.whole) {
      GM_TRY(walk_, walk_stream(file_, header_, known_));
    }
    if (!is_complete()) {
      doubt(walk_.end_byte,
            "the end of the stream is lost, with its tables, so how many of its grains are missing "
            "is not known: get the file again");
      return {};
    }
    settle_grains();
    for (Directory& directory : directories_) {
      GM_CHECK(place_tables(directory));
      GM_CHECK(settle_entries(directory));
    }
    GM_CHECK(settle_markers());
    return header_.directory_sector == kDirectoryAtEnd || footer_ ? settle_footer() : Status{};
  }

 private:
  using Words = std::vector<std::uint32_t>;
  static constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

  void correct(std::uint64_t offset, std::vector<std::byte> bytes, std::string what) {
    plan_.corrections.push_back({file_.path(), {offset, std::move(bytes)}, std::move(what)});
  }
  void doubt(std::uint64_t offset, std::string message) {
    plan_.doubts.push_back(
        fail(ErrorKind::corrupt, file_.path(), offset, std::move(message)).error());
  }

  [[nodiscard]] std::uint64_t directory_sectors() const {
    return ceil_div(tables_ * 4, kSectorBytes);
  }

  // Whether tables at the end are there, behind the last grain.
  [[nodiscard]] bool is_complete() const {
    const bool in_front = directories_.front().sector < header_.overhead_sectors;
    return in_front || marked_directory_ != 0 || sound_footer_;
  }

  // The last footer there is, else the marker of the directory.
  Status find_directories() {
    std::uint64_t sector = header_.directory_sector;
    for (const StreamWalk::Marker& marker : walk_.markers) {
      if (marker.type == marker_footer) footer_ = marker.sector + 1;
      if (marker.type == marker_grain_directory) marked_directory_ = marker.sector + 1;
    }
    if (sector == kDirectoryAtEnd) {
      GM_TRY(sector, directory_of_footer());
      if (sector == 0) sector = marked_directory_;
      if (sector == 0) {
        doubt(file_bytes_,
              "neither footer nor grain directory is left of the stream, so how many "
              "of its grains are missing is not known: get the file again");
        return {};
      }
    }
    directories_.push_back({"", sector});
    if (header_.has_redundant_tables())
      directories_.push_back({"redundant ", header_.redundant_directory_sector});
    for (Directory& directory : directories_) {
      GM_TRY(directory.tables, read_words(file_, directory.sector, tables_));
      directory.tables.resize(tables_);
    }
    return {};
  }

  Result<std::uint64_t> directory_of_footer() {
    constexpr std::uint64_t kMostPadding = 2048;  // sectors
    std::array<std::byte, kSectorBytes> bytes{};
    const std::uint64_t end = file_bytes_ / kSectorBytes;
    for (std::uint64_t at = end; at > 1 && at + kMostPadding > end;) {
      GM_CHECK(file_.read_exact_at(--at * kSectorBytes, bytes));
      if (!has_hosted_magic(bytes)) continue;
      footer_ = at;
      const auto footer = parse_hosted_header(bytes, file_.path(), at * kSectorBytes);
      const bool usable = footer && footer->directory_sector < end &&
                          (marked_directory_ == 0 || footer->directory_sector == marked_directory_);
      sound_footer_ = usable;
      return usable ? footer->directory_sector : 0;
    }
    return 0;
  }

  [[nodiscard]] bool may_hold_table(std::uint64_t sector) const {
    return sector > 0 &&
           range_within(sector * kSectorBytes, entries_ * std::uint64_t{4}, file_bytes_);
  }
  [[nodiscard]] Result<Words> read_table(std::uint64_t sector) const {
    if (!may_hold_table(sector)) return Words(entries_);
    return read_words(file_, sector, entries_);
  }

  Status read_known() {
    for (const Directory& directory : directories_)
      for (std::uint64_t table = 0; table < tables_; ++table) {
        GM_TRY(const Words words, read_table(directory.tables[table]));
        for (std::size_t i = 0; i < words.size(); ++i) {
          if (words[i] <= kZeroedGrainEntry || words[i] * kSectorBytes >= file_bytes_) continue;
          known_.insert(words[i]);
          owners_[words[i]].insert(table * entries_ + i);
        }
      }
    return {};
  }

  // Which grain each block is: what it says; what the tables say where that cannot be.
  void settle_grains() {
    std::map<std::uint64_t, std::size_t> claims;  // grains, by how many blocks
    for (const StreamWalk::Grain& block : walk_.grains)
      if (const auto grain = claimed(block)) ++claims[*grain];
    for (const StreamWalk::Grain& block : walk_.grains) {
      if (block.size_differs)
        correct(block.sector * kSectorBytes + 8, le_bytes(block.size),
                fmt::format("grain stored here: {} bytes, as its zlib stream says", block.size));
      const std::optional<std::uint64_t> grain = claimed(block);
      const std::set<std::uint64_t>& owners = owners_[block.sector];
      const bool disputed = grain && claims[*grain] > 1 && !owners.contains(*grain);
      if (grain && !disputed) {
        believe(*grain, block, owners);
        continue;
      }
      if (owners.size() != 1 || claims.contains(*owners.begin())) continue;
      // Its neighbour's address, or its neighbour written over it.
      if (disputed && has_twin(block))
        expected_[*owners.begin()] = kUnknown;
      else
        readdress(block, *owners.begin());
    }
    if (strangers_.size() == 1) doubt_stranger();
  }

  void believe(std::uint64_t grain, const StreamWalk::Grain& block,
               const std::set<std::uint64_t>& owners) {
    expected_[grain] = block.sector;
    if (owners.size() == 1 && !owners.contains(grain)) strangers_[grain] = *owners.begin();
  }

  void readdress(const StreamWalk::Grain& block, std::uint64_t grain) {
    expected_[grain] = block.sector;
    const std::uint64_t address = grain * header_.grain_sectors;
    correct(block.sector * kSectorBytes, le_bytes(address),
            fmt::format("grain stored here: sector {} of the disk in place of {}, by the grain "
                        "table",
                        address, block.address));
  }

  // One grain alone that the tables have for another one, and nothing else is either of the two:
  // its address may be damaged as well as they.
  void doubt_stranger() {
    const auto [grain, owner] = *strangers_.begin();
    if (expected_.contains(owner)) return;
    const std::uint64_t sector = expected_[grain];
    expected_[grain] = expected_[owner] = kUnknown;
    doubt(sector * kSectorBytes,
          fmt::format("the grain stored here says address {:#x}, the grain table {:#x}, and both "
                      "could be true",
                      grain * header_.grain_bytes(), owner * header_.grain_bytes()));
  }

  [[nodiscard]] bool has_twin(const StreamWalk::Grain& block) const {
    return std::ranges::count_if(walk_.grains, [&](const StreamWalk::Grain& other) {
             return other.address == block.address && other.size == block.size;
           }) > 1;
  }

  template <typename Word>
  static std::vector<std::byte> le_bytes(Word value) {
    std::vector<std::byte> bytes(sizeof value);
    store_le(bytes.data(), value);
    return bytes;
  }

  [[nodiscard]] std::optional<std::uint64_t> claimed(const StreamWalk::Grain& block) const {
    if (block.address >= header_.capacity_sectors || block.address % header_.grain_sectors != 0)
      return std::nullopt;
    return block.address / header_.grain_sectors;
  }

  // How well a table fits a place in the directory: entries that are as the grains say, less those
  // that are not.
  [[nodiscard]] std::int64_t fit(const Words& words, std::uint64_t table) const {
    std::int64_t score = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const auto found = expected_.find(table * entries_ + i);
      const std::uint64_t right = found == expected_.end() ? 0 : found->second;
      if (words[i] != 0 || right != 0) score += words[i] == right ? 1 : -1;
    }
    return score;
  }
  [[nodiscard]] bool has_grains(std::uint64_t table) const {
    const auto first = expected_.lower_bound(table * entries_);
    return first != expected_.end() && first->first < (table + 1) * entries_;
  }

  [[nodiscard]] Result<bool> fits_wholly(std::uint64_t sector, std::uint64_t table) const {
    if (!may_hold_table(sector)) return false;
    GM_TRY(const Words words, read_table(sector));
    const auto grains = std::distance(expected_.lower_bound(table * entries_),
                                      expected_.lower_bound((table + 1) * entries_));
    return grains != 0 && fit(words, table) == grains;
  }

  Status place_tables(Directory& directory) {
    std::uint64_t base = common_base(directory.tables, stride_);
    for (std::uint64_t table = 0; table < tables_; ++table) {
      const std::uint64_t old = directory.tables[table];
      if (old == 0 && !has_grains(table)) continue;
      GM_TRY(const bool fits, fits_wholly(old, table));
      if (fits) continue;
      std::vector<std::uint64_t> places{old};
      if (base != 0) places.push_back(base + table * stride_);
      // Tables in front lie behind their directory.
      places.push_back(directory.sector + directory_sectors() + table * stride_);
      for (const StreamWalk::Marker& marker : walk_.markers)
        if (marker.type == marker_grain_table) places.push_back(marker.sector + 1);
      std::optional<std::int64_t> best;
      for (const std::uint64_t place : places) {
        if (!may_hold_table(place)) continue;
        GM_TRY(const Words words, read_table(place));
        const std::int64_t score = fit(words, table);
        if (best && score <= *best) continue;
        if (!best && place != old && score <= 0 && has_grains(table)) continue;
        best = score;
        directory.tables[table] = static_cast<std::uint32_t>(place);
      }
      if (!best) {
        doubt(directory.sector * kSectorBytes + table * 4,
              fmt::format("grain directory, table {}: nothing says where the table is", table));
        directory.tables[table] = 0;
        continue;
      }
      if (directory.tables[table] == old) continue;
      plan_.corrections.push_back(correct_word(
          file_, directory.sector * kSectorBytes + table * 4, directory.tables[table],
          fmt::format("{}grain directory, table {}: sector {} in place of {}, by the grains",
                      directory.name, table, directory.tables[table], old)));
    }
    return {};
  }

  Status settle_entries(const Directory& directory) {
    for (std::uint64_t table = 0; table < tables_; ++table) {
      if (directory.tables[table] == 0) continue;
      GM_TRY(const Words words, read_table(directory.tables[table]));
      for (std::size_t i = 0; i < words.size(); ++i) settle_entry(directory, table, i, words[i]);
    }
    return {};
  }

  void settle_entry(const Directory& directory, std::uint64_t table, std::size_t i,
                    std::uint32_t entry) {
    const std::uint64_t grain = table * entries_ + i;
    const auto found = expected_.find(grain);
    const std::uint64_t right = found == expected_.end() ? 0 : found->second;
    if (entry == right || (right == 0 && entry == kZeroedGrainEntry)) return;
    const std::uint64_t offset = directory.tables[table] * kSectorBytes + i * 4;
    if (right == kUnknown || (right == 0 && !points_nowhere(entry))) {
      doubt(offset, fmt::format("{}grain table entry for address {:#x}: sector {}, where no grain "
                                "can be read",
                                directory.name, grain * header_.grain_bytes(), entry));
      return;
    }
    plan_.corrections.push_back(correct_word(
        file_, offset, static_cast<std::uint32_t>(right),
        fmt::format("{}grain table entry for address {:#x}: sector {} in place of {}, by the grain "
                    "itself",
                    directory.name, grain * header_.grain_bytes(), right, entry)));
  }

  // Whether no grain can ever have been stored there: something else is, or the stream has ended.
  [[nodiscard]] bool points_nowhere(std::uint64_t sector) const {
    for (const Directory& directory : directories_) {
      if (sector - directory.sector < directory_sectors()) return true;
      for (const std::uint32_t table : directory.tables)
        if (table != 0 && sector - table < stride_) return true;
    }
    if (sector < header_.descriptor_sector + header_.descriptor_sectors) return true;
    if (sector * kSectorBytes >= file_bytes_) return walk_.ended;
    const auto behind =
        std::ranges::upper_bound(walk_.grains, sector, {}, &StreamWalk::Grain::sector);
    if (behind == walk_.grains.begin()) return false;
    const StreamWalk::Grain& block = *std::prev(behind);
    return sector < block.sector + ceil_div(kGrainHeaderBytes + block.size, kSectorBytes);
  }

  // Tables and directory of a stream that was written in one go have a marker each.
  Status settle_markers() {
    const bool streamed = std::ranges::any_of(walk_.markers, [](const StreamWalk::Marker& marker) {
      return marker.type == marker_grain_table || marker.type == marker_grain_directory ||
             marker.type == marker_footer;
    });
    if (!streamed) return {};
    const Directory& directory = directories_.front();
    if (directory.sector * kSectorBytes < header_.overhead_sectors * kSectorBytes) return {};
    for (const std::uint32_t table : directory.tables)
      if (table > 1) GM_CHECK(settle_marker(table - 1, marker_grain_table, stride_));
    return settle_marker(directory.sector - 1, marker_grain_directory, directory_sectors());
  }

  Status settle_marker(std::uint64_t sector, MarkerType type, std::uint64_t payload) {
    std::vector<std::byte> found(kSectorBytes);
    GM_CHECK(file_.read_exact_at(sector * kSectorBytes, found));
    std::vector<std::byte> right = marker_bytes(type, payload);
    const BlockHeader block = parse_block_header(found);
    if (block.address == payload && block.size == 0 && block.type == type) return {};
    correct(sector * kSectorBytes, std::move(right),
            fmt::format("marker of type {} here, as something of its type follows",
                        static_cast<unsigned>(type)));
    return {};
  }

  // The footer is the header again, with the place of the directory.
  Status settle_footer() {
    HostedHeader footer = header_;
    footer.directory_sector = directories_.front().sector;
    const auto right = encode_hosted_header(footer);
    const std::uint64_t behind = directories_.front().sector + directory_sectors();
    const bool cut = (behind + 2) * kSectorBytes > file_bytes_;
    const std::uint64_t sector = footer_ && !cut ? *footer_ : behind + 1;
    std::array<std::byte, kSectorBytes> found{};
    if (!cut) {
      GM_CHECK(file_.read_exact_at(sector * kSectorBytes, found));
      if (found != right)
        correct(sector * kSectorBytes, {right.begin(), right.end()},
                "footer: the header again, with the grain directory's place");
      return settle_marker(sector - 1, marker_footer, 1);
    }
    if (behind * kSectorBytes > file_bytes_) {
      doubt(file_bytes_, "the grain directory at the end of the stream is cut off");
      return {};
    }
    correct(behind * kSectorBytes, marker_bytes(marker_footer, 1), "marker of the footer");
    correct((behind + 1) * kSectorBytes, {right.begin(), right.end()},
            "footer: the header again, with the grain directory's place");
    correct((behind + 2) * kSectorBytes, marker_bytes(marker_end_of_stream, 0),
            "end of the stream");
    return {};
  }

  const File& file_;
  const HostedHeader& header_;
  std::uint64_t file_bytes_;
  RepairPlan& plan_;
  std::uint64_t entries_;
  std::uint64_t tables_;
  std::uint64_t stride_;
  StreamWalk walk_;
  std::optional<std::uint64_t> footer_;
  bool sound_footer_ = false;
  std::uint64_t marked_directory_ = 0;
  std::vector<Directory> directories_;
  std::set<std::uint64_t> known_;
  std::map<std::uint64_t, std::set<std::uint64_t>> owners_;  // of a sector: grains, by the tables
  std::map<std::uint64_t, std::uint64_t> expected_;          // grain -> sector
  std::map<std::uint64_t, std::uint64_t> strangers_;  // grain by its block -> grain by the tables
};

}  // namespace

Status repair_stream(const DamagedTables& extent, RepairPlan& plan) {
  return StreamRepair(extent, plan).run();
}

}  // namespace grainmill::vmdk
