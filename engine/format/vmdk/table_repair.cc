// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/table_repair.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/codec/zero_scan.h"
#include "engine/map/grain_allocator.h"
#include "engine/map/slot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

namespace grainmill::vmdk {
namespace {

// One copy of the tables: where its directory is, and what that says.
struct Copy {
  std::string_view name;
  std::uint64_t directory_sector = 0;
  std::vector<std::uint32_t> directory{};
  std::uint64_t base = 0;  // see common_base(); behind the directory if that says nothing
};

class TableRepair {
 public:
  TableRepair(const DamagedTables& extent, RepairPlan& plan)
      : file_(extent.file),
        header_(extent.header),
        file_bytes_(extent.file_bytes),
        has_parent_(extent.has_parent),
        plan_(plan),
        grains_(ceil_div(header_.capacity_sectors, header_.grain_sectors)),
        tables_(ceil_div(grains_, header_.entries_per_table)),
        stride_(table_sectors(header_)) {}

  Status run() {
    copies_.push_back({"primary", header_.directory_sector});
    if (header_.has_redundant_tables())
      copies_.push_back({"redundant", header_.redundant_directory_sector});
    for (Copy& copy : copies_) {
      GM_TRY(copy.directory, read_words(file_, copy.directory_sector, tables_));
      copy.directory.resize(tables_);
      copy.base = common_base(copy.directory, stride_);
      if (copy.base == 0 && copies_.size() == 2)
        copy.base = copy.directory_sector + ceil_div(tables_ * 4, kSectorBytes);
    }
    GM_CHECK(place_tables());
    GM_CHECK(claim_agreed());
    for (std::uint64_t table = 0; table < tables_ && copies_.size() == 2; ++table)
      GM_CHECK(settle_table(table));
    return settle_emptied();
  }

 private:
  using Words = std::vector<std::uint32_t>;

  // Directories.

  [[nodiscard]] bool may_hold_table(std::uint64_t sector) const {
    return sector * kSectorBytes >= first_byte() &&
           range_within(sector * kSectorBytes, header_.entries_per_table * std::uint64_t{4},
                        file_bytes_);
  }
  [[nodiscard]] std::uint64_t first_byte() const {
    const bool embedded =
        header_.descriptor_sector != 0 && header_.descriptor_sector < header_.overhead_sectors;
    return (embedded ? header_.descriptor_sector + header_.descriptor_sectors : 1) * kSectorBytes;
  }
  [[nodiscard]] Result<Words> read_table(std::uint64_t sector) const {
    if (sector == 0 || !may_hold_table(sector)) return Words(header_.entries_per_table);
    GM_TRY(Words words, read_words(file_, sector, header_.entries_per_table));
    words.resize(header_.entries_per_table);
    return words;
  }

  // A table whose entries could all be true.
  [[nodiscard]] bool is_plausible(const Words& table) const {
    return std::ranges::all_of(table, [&](std::uint32_t entry) {
      return entry <= kZeroedGrainEntry || may_hold_grain(entry);
    });
  }
  [[nodiscard]] bool may_hold_grain(std::uint32_t sector) const {
    return sector >= std::max<std::uint64_t>(header_.overhead_sectors, 1) &&
           sector * kSectorBytes < file_bytes_;
  }

  // How many of the entries that are not missing are the same, in thousandths.
  static unsigned likeness(const Words& one, const Words& other) {
    std::uint64_t same = 0;
    std::uint64_t stored = 0;
    for (std::size_t i = 0; i < one.size(); ++i) {
      if (one[i] == 0 && other[i] == 0) continue;
      ++stored;
      same += one[i] == other[i] ? 1U : 0U;
    }
    constexpr unsigned kAll = 1000;
    return stored == 0 ? kAll : static_cast<unsigned>(same * kAll / stored);
  }

  Status place_tables() {
    for (const Copy& copy : copies_)
      for (const std::uint32_t sector : copy.directory) ++uses_[sector];
    for (std::uint64_t table = 0; table < tables_; ++table) {
      GM_TRY(const bool sure, is_sure(table));
      for (const Copy& copy : copies_)
        if (sure) taken_[copy.directory[table]] = true;
      sure_.push_back(sure);
    }
    for (std::uint64_t table = 0; table < tables_; ++table)
      if (!sure_[table]) GM_CHECK(place_table(table));
    return {};
  }

  Result<bool> is_sure(std::uint64_t table) const {
    std::vector<Words> contents;
    for (const Copy& copy : copies_) {
      const std::uint32_t sector = copy.directory[table];
      if (sector == 0 && copies_.size() == 1) {
        // Where the others lie side by side, there is a place for this one too.
        return copy.base == 0 || !may_hold_table(copy.base + table * stride_);
      }
      if (sector != 0 && (!may_hold_table(sector) || uses_.at(sector) > 1)) return false;
      GM_TRY(Words words, read_table(sector));
      contents.push_back(std::move(words));
    }
    if (contents.size() == 1) return is_plausible(contents.front());
    const bool both = (copies_[0].directory[table] == 0) == (copies_[1].directory[table] == 0);
    constexpr unsigned kAlike = 500;
    return both && likeness(contents[0], contents[1]) >= kAlike;
  }

  // Where a table of this copy could be: where its entry says, where the writer would have put it,
  // and beside its neighbours. The first one is the likeliest.
  [[nodiscard]] std::vector<std::uint64_t> candidates(const Copy& copy, std::uint64_t table) const {
    std::vector<std::uint64_t> places;
    const auto add = [&](std::uint64_t sector) {
      if (sector != 0 && may_hold_table(sector) && !taken_.contains(sector) &&
          std::ranges::find(places, sector) == places.end())
        places.push_back(sector);
    };
    if (uses_.at(copy.directory[table]) == 1) add(copy.directory[table]);
    if (copy.base != 0) add(copy.base + table * stride_);
    add(copy.directory_sector + ceil_div(tables_ * 4, kSectorBytes) + table * stride_);
    for (const std::uint64_t step : {std::uint64_t{1}, std::uint64_t{2}}) {
      if (table >= step && sure_[table - step] && copy.directory[table - step] != 0)
        add(copy.directory[table - step] + step * stride_);
      if (table + step < tables_ && copy.directory[table + step] > step * stride_)
        add(copy.directory[table + step] - step * stride_);
    }
    add(copy.directory[table]);
    return places;
  }

  Status place_table(std::uint64_t table) {
    return copies_.size() == 2 ? place_pair(table) : place_single(table);
  }

  // The pair of places whose tables say the same.
  Status place_pair(std::uint64_t table) {
    const std::vector<std::uint64_t> firsts = candidates(copies_[0], table);
    const std::vector<std::uint64_t> seconds = candidates(copies_[1], table);
    unsigned best = 0;
    std::array<std::uint64_t, 2> places{};
    for (const std::uint64_t first : firsts) {
      GM_TRY(const Words one, read_table(first));
      for (const std::uint64_t second : seconds) {
        if (first == second) continue;
        GM_TRY(const Words other, read_table(second));
        const unsigned alike = likeness(one, other);
        if (alike <= best) continue;
        best = alike;
        places = {first, second};
      }
    }
    constexpr unsigned kAlike = 500;
    if (best < kAlike) return keep_pair(table);
    for (std::size_t i = 0; i < 2; ++i) point(copies_[i], table, places[i], "the other copy");
    return {};
  }

  // Two tables that differ in all they say: one of them must say nothing, or what cannot be.
  Status keep_pair(std::uint64_t table) {
    std::array<bool, 2> says_something{};
    for (std::size_t i = 0; i < 2; ++i) {
      const std::uint32_t sector = copies_[i].directory[table];
      // Nothing is written where a grain may be.
      if (sector == 0 || !may_hold_table(sector) || uses_.at(sector) > 1 ||
          sector + stride_ > header_.overhead_sectors)
        return doubt_directory(table);
      GM_TRY(const Words words, read_table(sector));
      says_something[i] = is_plausible(words) && !is_empty(words);
    }
    if (says_something[0] == says_something[1]) return doubt_directory(table);
    for (Copy& copy : copies_) point(copy, table, copy.directory[table], "");
    return {};
  }

  static bool is_empty(const Words& table) {
    return std::ranges::all_of(table, [](std::uint32_t entry) { return entry == 0; });
  }

  Status place_single(std::uint64_t table) {
    const Copy& copy = copies_[0];
    if (copy.base == 0) return doubt_directory(table);
    const std::uint64_t place = copy.base + table * stride_;
    if (taken_.contains(place)) return doubt_directory(table);
    GM_TRY(const Words words, read_table(place));
    if (!is_plausible(words)) return doubt_directory(table);
    // Of a table without entries nothing is lost.
    if (copy.directory[table] == 0 && is_empty(words)) return {};
    point(copies_[0], table, place, "the places of the other tables");
    return {};
  }

  void point(Copy& copy, std::uint64_t table, std::uint64_t place, std::string_view source) {
    taken_[place] = true;
    sure_[table] = true;
    if (copy.directory[table] == place) return;
    const std::uint64_t offset = copy.directory_sector * kSectorBytes + table * 4;
    plan_.corrections.push_back(
        correct_word(file_, offset, static_cast<std::uint32_t>(place),
                     fmt::format("{} grain directory, table {}: sector {} in place of {}, by {}",
                                 copy.name, table, place, copy.directory[table], source)));
    copy.directory[table] = static_cast<std::uint32_t>(place);
  }

  Status doubt_directory(std::uint64_t table) {
    const std::uint64_t offset = copies_[0].directory_sector * kSectorBytes + table * 4;
    plan_.doubts.push_back(fail(ErrorKind::corrupt, file_.path(), offset,
                                fmt::format("grain directory, table {}: nothing says where the "
                                            "table is",
                                            table))
                               .error());
    return {};
  }

  // Entries.

  [[nodiscard]] std::uint64_t entry_offset(const Copy& copy, std::uint64_t grain) const {
    return copy.directory[grain / header_.entries_per_table] * kSectorBytes +
           grain % header_.entries_per_table * 4;
  }
  [[nodiscard]] std::uint64_t slot_of(std::uint64_t sector) const {
    return (sector + header_.grain_sectors - phase_) / header_.grain_sectors;
  }
  [[nodiscard]] bool is_sane(std::uint32_t entry) const {
    return may_hold_grain(entry) && entry % header_.grain_sectors == phase_ &&
           !taken_by_table(entry);
  }
  [[nodiscard]] bool taken_by_table(std::uint32_t entry) const {
    const auto next = taken_.lower_bound(entry);
    return next != taken_.end() && next->first != 0 && next->first < entry + header_.grain_sectors;
  }

  // Takes the places of the grains that both copies agree on, or the only one knows; and how they
  // are aligned.
  Status claim_agreed() {
    std::map<std::uint64_t, std::uint64_t> phases;
    for (const bool counting : {true, false}) {
      for (std::uint64_t table = 0; table < tables_; ++table) {
        GM_TRY(const Words one, read_table(copies_.front().directory[table]));
        GM_TRY(const Words other, read_table(copies_.back().directory[table]));
        for (std::size_t i = 0; i < one.size(); ++i) {
          if (one[i] != other[i] || one[i] <= kZeroedGrainEntry || !may_hold_grain(one[i]))
            continue;
          if (counting)
            ++phases[one[i] % header_.grain_sectors];
          else
            used_.add(slot_of(one[i]), 1);
        }
      }
      if (counting && !phases.empty())
        phase_ =
            std::ranges::max_element(phases, {}, [](const auto& p) { return p.second; })->first;
      if (counting && phases.empty()) phase_ = header_.overhead_sectors % header_.grain_sectors;
    }
    return {};
  }

  Status settle_table(std::uint64_t table) {
    if (!sure_[table]) return {};
    GM_TRY(const Words one, read_table(copies_[0].directory[table]));
    GM_TRY(const Words other, read_table(copies_[1].directory[table]));
    const std::uint64_t first = table * header_.entries_per_table;
    for (std::size_t i = 0; i < one.size() && first + i < grains_; ++i) {
      if (one[i] == other[i]) continue;
      GM_TRY(const std::optional<std::uint32_t> right, decide(one[i], other[i]));
      const Disputed disputed{first + i, one[i], other[i]};
      if (!right)
        doubt_entry(disputed);
      else if (*right <= kZeroedGrainEntry && is_impossible(std::max(one[i], other[i])))
        emptied_.emplace_back(disputed, *right);
      else
        settle(disputed, *right);
    }
    return {};
  }

  // An entry that both copies may have lost, each in its way.
  struct Disputed {
    std::uint64_t grain = 0;
    std::uint32_t one = 0;
    std::uint32_t other = 0;
  };

  void settle(const Disputed& disputed, std::uint32_t right) {
    if (right > kZeroedGrainEntry) used_.add(slot_of(right), 1);
    const Copy& wrong = copies_[disputed.one == right ? 1 : 0];
    if (wrong.directory[disputed.grain / header_.entries_per_table] == 0) return;
    plan_.corrections.push_back(correct_word(
        file_, entry_offset(wrong, disputed.grain), right,
        fmt::format("{} grain table entry for address {:#x}: sector {} in place of {}, as in "
                    "the other copy",
                    wrong.name, disputed.grain * header_.grain_bytes(), right,
                    disputed.one == right ? disputed.other : disputed.one)));
  }

  // Where one copy says that there is nothing and the other what cannot be, there may have been a
  // grain, if there is one that nothing refers to.
  [[nodiscard]] bool is_impossible(std::uint32_t entry) const {
    return entry > kZeroedGrainEntry && (!is_sane(entry) || used_.contains(slot_of(entry)));
  }
  Status settle_emptied() {
    if (emptied_.empty()) return {};
    GM_TRY(const bool lost, any_grain_is_lost());
    for (const auto& [disputed, right] : emptied_) {
      if (lost)
        doubt_entry(disputed);
      else
        settle(disputed, right);
    }
    return {};
  }
  Result<bool> any_grain_is_lost() const {
    const std::uint64_t end = file_bytes_ / kSectorBytes;
    for (std::uint64_t sector = phase_; sector < end; sector += header_.grain_sectors) {
      const auto entry = static_cast<std::uint32_t>(sector);
      if (!is_sane(entry) || used_.contains(slot_of(entry))) continue;
      GM_TRY(const bool holds, holds_data(entry));
      if (holds) return true;
    }
    return false;
  }

  // Which of two entries is right; nullopt: there is no telling.
  Result<std::optional<std::uint32_t>> decide(std::uint32_t one, std::uint32_t other) const {
    if (header_.unclean_shutdown)
      if (const auto further = further_entry(one, other)) return further;
    const auto is_viable = [&](std::uint32_t entry) {
      if (entry == 0) return true;
      if (entry == kZeroedGrainEntry) return (header_.flags & kFlagZeroedGrain) != 0;
      return is_sane(entry) && !used_.contains(slot_of(entry));
    };
    if (is_viable(one) != is_viable(other)) return is_viable(one) ? one : other;
    if (!is_viable(one)) return std::nullopt;
    GM_TRY(const bool one_holds, holds_data(one));
    GM_TRY(const bool other_holds, holds_data(other));
    // What is stored and would else be lost is what was meant.
    if (one_holds != other_holds) return one_holds ? one : other;
    if (one_holds || has_parent_) return std::nullopt;
    return std::max(one, other);  // zeros, whichever it is
  }

  Result<bool> holds_data(std::uint32_t entry) const {
    if (entry <= kZeroedGrainEntry) return false;
    std::vector<std::byte> grain(header_.grain_bytes());
    GM_TRY(const std::size_t got, file_.read_at(entry * kSectorBytes, grain));
    return !is_zero(std::span(grain).first(got));
  }

  void doubt_entry(const Disputed& disputed) {
    plan_.doubts.push_back(
        fail(ErrorKind::corrupt, file_.path(), entry_offset(copies_[0], disputed.grain),
             fmt::format("grain table entry for address {:#x} is sector {} in the primary tables "
                         "and sector {} in the redundant ones, and neither is sure to be right",
                         disputed.grain * header_.grain_bytes(), disputed.one, disputed.other))
            .error());
  }

  const File& file_;
  const HostedHeader& header_;
  std::uint64_t file_bytes_;
  bool has_parent_;
  RepairPlan& plan_;
  std::uint64_t grains_;
  std::uint64_t tables_;
  std::uint64_t stride_;
  std::vector<Copy> copies_;
  std::map<std::uint64_t, unsigned> uses_;  // of a sector, by both directories
  std::map<std::uint64_t, bool> taken_;     // sectors of tables whose place is sure
  std::vector<bool> sure_;
  std::uint64_t phase_ = 0;  // of grains, in sectors
  SlotSet used_;
  std::vector<std::pair<Disputed, std::uint32_t>> emptied_;  // and what the other copy says
};

}  // namespace

Correction correct_word(const File& file, std::uint64_t offset, std::uint32_t value,
                        std::string what) {
  std::vector<std::byte> bytes(sizeof value);
  store_le(bytes.data(), value);
  return {file.path(), {offset, std::move(bytes)}, std::move(what)};
}

Result<std::vector<std::uint32_t>> read_words(const File& file, std::uint64_t sector,
                                              std::uint64_t count) {
  const std::optional<std::uint64_t> offset = checked_mul(sector, kSectorBytes);
  GM_TRY(const FileInfo info, file.info());
  if (!offset || *offset >= info.size_bytes) return std::vector<std::uint32_t>();
  const std::uint64_t room = (info.size_bytes - *offset) / 4;
  std::vector<std::byte> bytes(std::min(count, room) * 4);
  GM_CHECK(file.read_exact_at(*offset, bytes));
  std::vector<std::uint32_t> words(bytes.size() / 4);
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = load_le<std::uint32_t>(bytes.data() + i * 4);
  return words;
}

std::uint64_t table_sectors(const HostedHeader& header) {
  return ceil_div(header.entries_per_table * std::uint64_t{4}, kSectorBytes);
}

std::uint64_t common_base(std::span<const std::uint32_t> directory, std::uint64_t stride) {
  std::map<std::uint64_t, std::size_t> votes;
  std::size_t stored = 0;
  for (std::size_t i = 0; i < directory.size(); ++i) {
    if (directory[i] == 0) continue;
    ++stored;
    if (directory[i] > i * stride) ++votes[directory[i] - i * stride];
  }
  for (const auto& [base, count] : votes)
    if (count * 2 > stored) return base;
  return 0;
}

Status repair_tables(const DamagedTables& extent, RepairPlan& plan) {
  return TableRepair(extent, plan).run();
}

}  // namespace grainmill::vmdk
