// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/hosted_check.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/codec/inflate.h"
#include "engine/codec/zero_scan.h"
#include "engine/map/grain_allocator.h"
#include "engine/map/slot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;
// What writes in flight at a crash may leave without an entry, at most.
constexpr std::uint64_t kMaxLostGrains = 64;
// Behind a stream without a single grain there may be this much, and no more.
constexpr std::uint64_t kMaxEmptyTail = 16 * kKiB;

std::string count_grains(std::uint64_t grains) {
  return fmt::format("{} grain{}", grains, grains == 1 ? "" : "s");
}

std::string entry_name(const HostedTables& extent, std::uint64_t grain) {
  return fmt::format("grain table entry for address {:#x}", grain * extent.header.grain_bytes());
}

// Checks all entries of an extent in one pass over both copies.
class TableCheck {
 public:
  TableCheck(const HostedTables& extent, Findings& findings)
      : extent_(extent), findings_(findings) {}

  Status run() {
    GM_TRY(const FileInfo info, extent_.file.info());
    file_bytes_ = info.size_bytes;
    GM_CHECK(claim_tables());
    const std::uint64_t grains = extent_.tables.shape().grains();
    for (std::uint64_t first = 0; first < grains; first += kChunkEntries)
      GM_CHECK(check_chunk(first, std::min(kChunkEntries, grains - first)));
    GM_CHECK(extent_.header.compressed() ? check_blocks() : check_unused_space());
    return check_tail();
  }

 private:
  [[nodiscard]] Error corrupt(std::uint64_t offset, std::string message) const {
    return fail(ErrorKind::corrupt, extent_.file.path(), offset, std::move(message)).error();
  }
  // Damage that is about no grain in particular.
  [[nodiscard]] Status damaged(std::string_view code, std::uint64_t offset,
                               std::string message) const {
    return findings_.add({.code = code, .what = corrupt(offset, std::move(message))});
  }
  [[nodiscard]] Status damaged_grain(std::string_view code, std::uint64_t grain, Error what,
                                     std::string repair = {}) const {
    const std::uint64_t grain_bytes = extent_.header.grain_bytes();
    return findings_.add({.code = code,
                          .what = std::move(what),
                          .guest_offset = grain * grain_bytes,
                          .guest_length = grain_bytes,
                          .repair = std::move(repair)});
  }

  // Plain grains fill slots of one grain each; blocks of a stream begin anywhere.
  [[nodiscard]] std::uint64_t slot_bytes() const {
    return extent_.header.compressed() ? kSectorBytes : extent_.header.grain_bytes();
  }
  // How far the grain area begins from a multiple of the grain; 0 in what all but a few writers
  // make.
  [[nodiscard]] std::uint64_t area_phase() const {
    return extent_.header.overhead_sectors * kSectorBytes % slot_bytes();
  }
  [[nodiscard]] std::uint64_t slot_of(std::uint64_t offset) const {
    return (offset + slot_bytes() - area_phase()) / slot_bytes();
  }

  // Tables take their place before grains do: a grain that overlaps one is seen as used twice.
  Status claim_tables() {
    // A copy that was not chosen may say anything.
    const GrainTables* other = extent_.chosen ? nullptr : extent_.other;
    for (const GrainTables* tables : {&extent_.tables, other}) {
      if (tables == nullptr) continue;
      GM_CHECK(check_places(*tables));
      for (std::uint64_t i = 0; i < tables->shape().tables(); ++i)
        if (tables->table_offset(i) != 0)
          claim_table(tables->table_offset(i), tables->shape().table_bytes());
    }
    return {};
  }

  // The tables of one copy do not overlap. Nor do they stand twice as far apart as they are long,
  // in the first half of their directory: such tables have twice the entries that the header says.
  [[nodiscard]] Status check_places(const GrainTables& tables) const {
    const std::uint64_t table_bytes = tables.shape().table_bytes();
    std::vector<std::uint64_t> places;
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < tables.shape().tables(); ++i) {
      if (tables.table_offset(i) == 0) continue;
      places.push_back(tables.table_offset(i));
      last = i;
    }
    if (places.size() < 2) return {};
    std::ranges::sort(places);
    std::uint64_t nearest = places[1] - places[0];
    std::uint64_t farthest = nearest;
    for (std::size_t i = 1; i < places.size(); ++i) {
      nearest = std::min(nearest, places[i] - places[i - 1]);
      farthest = std::max(farthest, places[i] - places[i - 1]);
    }
    if (nearest < table_bytes)
      return damaged("tables-overlap", 0,
                     fmt::format("two grain tables of {} bytes are {} bytes apart: the grain "
                                 "directory or the table size in the header is damaged",
                                 table_bytes, nearest));
    // A table begins on a sector, however short it is.
    const std::uint64_t room = align_up(table_bytes, kSectorBytes);
    for (const std::uint64_t factor : {2U, 4U, 8U})
      if (!extent_.header.compressed() && nearest == factor * room && farthest == nearest &&
          last < ceil_div(tables.shape().tables(), factor))
        return damaged("table-size", 44,
                       fmt::format("grain tables of {} bytes are {} bytes apart, and fill only "
                                   "the beginning of their directory: the table size in the "
                                   "header is damaged",
                                   table_bytes, nearest));
    return {};
  }

  void claim_table(std::uint64_t offset, std::uint64_t bytes) {
    const std::uint64_t first = slot_of(offset);
    used_.add(first, slot_of(offset + bytes - 1) - first + 1);
  }

  Status check_chunk(std::uint64_t first, std::uint64_t count) {
    primary_.resize(count);
    copy_.resize(count);
    GM_TRY(const bool any, extent_.tables.load(first, primary_));
    if (extent_.other != nullptr) {
      GM_TRY(const bool any_copy, extent_.other->load(first, copy_));
      if (!any && !any_copy) return {};
      if (!any) std::ranges::fill(primary_, 0U);
      if (!any_copy) std::ranges::fill(copy_, 0U);
      GM_CHECK(compare_copies(first));
    }
    if (!any && extent_.other == nullptr) return {};
    for (std::uint64_t i = 0; i < count; ++i)
      if (primary_[i] != 0) GM_CHECK(check_entry(first + i, primary_[i]));
    return {};
  }

  // Leaves in `primary_` what both copies together say.
  Status compare_copies(std::uint64_t first) {
    for (std::size_t i = 0; i < primary_.size(); ++i) {
      if (primary_[i] == copy_[i]) continue;
      copies_agree_ = false;
      if (extent_.chosen) return {};
      const std::optional<std::uint32_t> entry =
          copies_may_differ(extent_) ? further_entry(primary_[i], copy_[i]) : std::nullopt;
      if (entry) {
        primary_[i] = *entry;
        continue;
      }
      GM_CHECK(report_difference(first + i, primary_[i], copy_[i]));
      for (const std::uint64_t said : {primary_[i], copy_[i]})
        if (said > kZeroedGrainEntry && said * kSectorBytes < file_bytes_)
          disputed_.add(slot_of(said * kSectorBytes), 1);
      if (!check_hosted_entry(extent_, first + i, primary_[i], file_bytes_)) primary_[i] = copy_[i];
    }
    return {};
  }

  [[nodiscard]] Status report_difference(std::uint64_t grain, std::uint32_t primary,
                                         std::uint32_t redundant) const {
    const auto exists = [&](const GrainTables& tables) {
      return tables.table_offset(grain / tables.shape().entries_per_table) != 0;
    };
    const auto place = [&](const GrainTables& tables) {
      return exists(tables) ? fmt::format("offset {:#x}", tables.entry_offset(grain))
                            : std::string("a missing table");
    };
    const GrainTables& shown = exists(extent_.tables) ? extent_.tables : *extent_.other;
    Error what = corrupt(
        shown.entry_offset(grain),
        fmt::format(
            "{} is sector {} in the primary tables ({}) and sector {} in the redundant ones "
            "({}): one "
            "copy is damaged; --tables primary or --tables redundant decides which to believe",
            entry_name(extent_, grain), primary, place(extent_.tables), redundant,
            place(*extent_.other)));
    return damaged_grain("copies-differ", grain, std::move(what),
                         whole_copy(grain, primary, redundant));
  }

  // The copy whose entry can be right, where that of the other one cannot.
  [[nodiscard]] std::string whole_copy(std::uint64_t grain, std::uint32_t primary,
                                       std::uint32_t redundant) const {
    const auto possible = [&](std::uint32_t entry) {
      const std::uint64_t phase = entry * kSectorBytes % slot_bytes();
      return check_hosted_entry(extent_, grain, entry, file_bytes_).has_value() &&
             (entry <= kZeroedGrainEntry || phase == 0 || phase == area_phase());
    };
    if (possible(primary) != possible(redundant))
      return possible(primary) ? "the primary tables" : "the redundant tables";
    return "one of the two copies: by itself, each could be right";
  }

  Status check_entry(std::uint64_t grain, std::uint32_t entry) {
    if (Status sane = check_hosted_entry(extent_, grain, entry, file_bytes_); !sane) {
      // What is there of it is no leak.
      if (entry * kSectorBytes < file_bytes_) used_.add(slot_of(entry * kSectorBytes), 1);
      return damaged_grain("entry", grain, std::move(sane).error());
    }
    if (entry == kZeroedGrainEntry) {
      // A writer that zeroes grains says so; without that, no data is left behind by it.
      if ((extent_.header.flags & kFlagZeroedGrain) != 0) ++zeroed_;
      return {};
    }
    const std::uint64_t offset = entry * kSectorBytes;
    if (!extent_.header.compressed() && !is_aligned(offset)) {
      used_.add(slot_of(offset), 1);
      return damaged_grain(
          "unaligned", grain,
          corrupt(extent_.tables.entry_offset(grain),
                  fmt::format("{} points at offset {:#x}, which is not aligned to grains of {} "
                              "bytes",
                              entry_name(extent_, grain), offset, extent_.header.grain_bytes())));
    }
    if (!used_.add(slot_of(offset), 1))
      return damaged_grain(
          "shared-grain", grain,
          corrupt(extent_.tables.entry_offset(grain),
                  fmt::format("{} points at offset {:#x}, which another entry or a table takes "
                              "too: a grain is shared",
                              entry_name(extent_, grain), offset)));
    ++grains_used_;
    return extent_.header.compressed() && extent_.partly_hidden ? check_stored(grain, offset)
                                                                : Status{};
  }

  // What reading the grain would say of its header.
  [[nodiscard]] Status check_stored(std::uint64_t grain, std::uint64_t offset) const {
    std::array<std::byte, kGrainHeaderBytes> bytes{};
    GM_CHECK(extent_.file.read_exact_at(offset, bytes));
    const bool marker = load_le<std::uint32_t>(bytes.data() + 8) == 0;
    if (!marker && load_le<std::uint64_t>(bytes.data()) == grain * extent_.header.grain_sectors)
      return {};
    return damaged_grain(
        "no-grain", grain,
        corrupt(offset, fmt::format("no grain for address {:#x} is stored here, where its grain "
                                    "table entry points",
                                    grain * extent_.header.grain_bytes())));
  }

  // Grains lie side by side at multiples of the grain, counted from the start of the file or of the
  // grain area; which of both, the first of them says.
  bool is_aligned(std::uint64_t offset) {
    const std::uint64_t phase = offset % extent_.header.grain_bytes();
    if (phase != 0 && phase != area_phase()) return false;
    if (!phase_) phase_ = phase;
    return phase == *phase_;
  }

  // A stream's first grain is one that the tables know. Every later one is checked when the one
  // before it is read, or here if that will not be.
  Status check_blocks() const {
    const HostedHeader& header = extent_.header;
    std::uint64_t at = std::max(header.overhead_sectors * kSectorBytes, first_table_byte(header));
    std::array<std::byte, kMarkerHeaderBytes> bytes{};
    bool any_marker = false;
    while (range_within(at, kMarkerHeaderBytes, file_bytes_)) {
      GM_CHECK(extent_.file.read_exact_at(at, bytes));
      const BlockHeader block = parse_block_header(bytes);
      if (block.size == 0) {
        if (block.type == marker_end_of_stream) return check_empty_stream(at);
        any_marker = true;
        const std::uint64_t payload = block.type == marker_progress ? 0 : block.address;
        if (block.type > marker_progress || payload > file_bytes_ / kSectorBytes) return {};
        at += (1 + payload) * kSectorBytes;
        continue;
      }
      if (block.size > 2 * header.grain_bytes()) return {};
      GM_CHECK(check_known(at, block));
      if (!extent_.partly_hidden && !findings_.wants_all()) return {};
      at += align_up(kGrainHeaderBytes + block.size, kSectorBytes);
    }
    // Who writes no markers at all ends a stream without one, too.
    if (!any_marker) return {};
    return findings_.add({.severity = Severity::suspicious,
                          .code = "no-end-of-stream",
                          .what = corrupt(at,
                                          "the file ends here without an end-of-stream marker, "
                                          "though the stream has markers: it may be cut off")});
  }

  [[nodiscard]] Status check_known(std::uint64_t offset, const BlockHeader& block) const {
    const HostedHeader& header = extent_.header;
    if (block.address >= header.capacity_sectors || block.address % header.grain_sectors != 0)
      return {};
    std::array<std::uint32_t, 1> entry{};
    GM_CHECK(extent_.tables.load(block.address / header.grain_sectors, entry));
    if (entry[0] * kSectorBytes == offset) return {};
    return damaged_grain(
        "unknown-grain", block.address / header.grain_sectors,
        corrupt(offset, fmt::format("a grain for address {:#x} is stored here, but the grain "
                                    "tables do not know it",
                                    block.address * kSectorBytes)),
        "the address that the grain itself has");
  }

  // Zeros where the tables and grains were, after a copy that stopped early, look like a stream
  // that holds nothing.
  Status check_empty_stream(std::uint64_t end) const {
    if (grains_used_ != 0 || zeroed_ != 0 || file_bytes_ - end <= kMaxEmptyTail) return {};
    return damaged("empty-stream", end,
                   fmt::format("the stream ends here without a grain, but its file goes on to "
                               "{:#x}: its tables and data are lost",
                               file_bytes_));
  }

  // Grains that no entry refers to: a few are left by crashes, and one for every entry that was set
  // to zero; many mean that the header gives the wrong geometry or that entries are lost. The
  // stored bytes are looked at, so that space taken in advance does not count.
  Status check_unused_space() {
    const bool two_copies = extent_.header.has_redundant_tables();
    const bool confirmed = two_copies && extent_.other != nullptr && copies_agree_;
    // Chosen, with nothing that speaks against it: the user means what the tables say.
    const bool excused =
        extent_.header.unclean_shutdown || (extent_.chosen && (confirmed || !two_copies));
    if (excused && !findings_.wants_all()) return {};
    const std::uint64_t allowed =
        excused ? file_bytes_ : zeroed_ + (confirmed ? most_left_over() : 0);
    GM_TRY(const std::uint64_t unused, count_unused(allowed));
    if (unused == 0) return {};
    if (unused <= allowed) return report_leak(unused);
    return damaged(
        "lost-grains", 0,
        fmt::format("at least {} of data that no grain table entry refers to ({} are in "
                    "use): entries are lost, or the header's grain or table size is damaged; {}",
                    count_grains(unused), grains_used_,
                    extent_.chosen ? "try the other copy of the tables"
                                   : "--tables primary reads what the tables say"));
  }

  // By whoever wrote two copies of tables that agree. A grain that was zeroed and written again has
  // a new place, and no entry tells any more of the old one.
  [[nodiscard]] std::uint64_t most_left_over() const {
    const bool zeroes = (extent_.header.flags & kFlagZeroedGrain) != 0;
    return zeroes ? grains_used_ : std::min(grains_used_ / 8, kMaxLostGrains);
  }

  [[nodiscard]] Status report_leak(std::uint64_t grains) const {
    return findings_.add(
        {.severity = Severity::leak,
         .code = "unused-grains",
         .what = corrupt(extent_.header.overhead_sectors * kSectorBytes,
                         fmt::format("from here on {} {} of data that no grain table entry "
                                     "refers to: what a crash leaves, or zeroed grains",
                                     grains == 1 ? "lies" : "lie", count_grains(grains))),
         .leaked_bytes = grains * extent_.header.grain_bytes()});
  }

  // Counts no further than needed to tell whether it is more than what is allowed, unless all is
  // wanted.
  Result<std::uint64_t> count_unused(std::uint64_t allowed) const {
    const std::uint64_t ignored = findings_.wants_all() ? 0 : allowed;
    const std::uint64_t enough = findings_.wants_all() ? file_bytes_ : allowed;
    const std::uint64_t grain_bytes = extent_.header.grain_bytes();
    const std::uint64_t metadata_end =
        std::max<std::uint64_t>(extent_.header.overhead_sectors, 1) * kSectorBytes;
    const std::uint64_t begin =
        phase_.value_or(0) == 0 ? align_up(metadata_end, grain_bytes) : metadata_end;
    std::vector<std::byte> grain(std::min<std::uint64_t>(grain_bytes, kMiB));
    // Mostly every place is taken, and need not be looked at.
    const std::uint64_t places =
        (metadata_end < begin ? 1 : 0) +
        (begin < file_bytes_ ? ceil_div(file_bytes_ - begin, grain_bytes) : 0);
    if (places <= grains_used_ + ignored) return 0;
    std::uint64_t unused = 0;
    if (metadata_end < begin) {
      // Less than a grain, so none can be here.
      const std::span gap =
          std::span(grain).first(std::min<std::uint64_t>(begin - metadata_end, grain.size()));
      GM_TRY(const std::size_t got, extent_.file.read_at(metadata_end, gap));
      if (!is_zero(gap.first(got))) ++unused;
    }
    for (std::uint64_t at = begin; unused <= enough && at < file_bytes_; at += grain_bytes) {
      if (used_.contains(slot_of(at)) || disputed_.contains(slot_of(at))) continue;
      GM_TRY(const DataRange stored, extent_.file.next_data(at));
      if (stored.begin == stored.end) break;
      if (stored.begin >= at + grain_bytes) {
        at += align_down(stored.begin - at, grain_bytes) - grain_bytes;
        continue;
      }
      GM_TRY(const std::size_t got, extent_.file.read_at(at, grain));
      if (!is_zero(std::span(grain).first(got))) ++unused;
    }
    return unused;
  }

  // Where the header rounds the capacity up to whole grains, what is behind the descriptor's size
  // is not part of the disk, and zeros.
  Status check_tail() const {
    const std::uint64_t surplus = extent_.header.capacity_bytes() - extent_.claimed_bytes;
    if (surplus == 0) return {};
    GM_CHECK(findings_.add(
        {.severity = Severity::suspicious,
         .code = "capacity-rounded",
         .what =
             corrupt(12, fmt::format("the header says a capacity of {} bytes, the descriptor "
                                     "{}: a writer rounded it up to whole grains, or one of "
                                     "them is damaged",
                                     extent_.header.capacity_bytes(), extent_.claimed_bytes))}));
    std::array<std::uint32_t, 1> entry{};
    GM_CHECK(extent_.tables.load(extent_.tables.shape().grains() - 1, entry));
    if (entry[0] <= kZeroedGrainEntry) return {};
    GM_TRY(const std::vector<std::byte> grain, read_grain(entry[0] * kSectorBytes));
    const std::uint64_t valid = extent_.claimed_bytes % extent_.header.grain_bytes();
    if (valid >= grain.size() || is_zero(std::span(grain).subspan(valid))) return {};
    return damaged("capacity", 12,
                   fmt::format("the header says a capacity of {} bytes, the descriptor {}, and "
                               "there is data in between: one of them is damaged",
                               extent_.header.capacity_bytes(), extent_.claimed_bytes));
  }

  // What is stored of a grain; empty if it does not inflate, which is for its reader to report.
  [[nodiscard]] Result<std::vector<std::byte>> read_grain(std::uint64_t offset) const {
    const std::uint64_t grain_bytes = extent_.header.grain_bytes();
    const bool compressed = extent_.header.compressed();
    std::vector<std::byte> stored(compressed ? max_block_bytes(grain_bytes) : grain_bytes);
    GM_TRY(const std::size_t got, extent_.file.read_at(offset, stored));
    stored.resize(got);
    if (!compressed) return stored;
    std::vector<std::byte> grain(grain_bytes);
    std::size_t produced = 0;
    Inflater inflater;
    if (got < kMarkerHeaderBytes) return std::vector<std::byte>();
    const std::uint32_t size = parse_block_header(stored).size;
    if (range_within(kGrainHeaderBytes, size, got))
      static_cast<void>(inflater.inflate_zlib(std::span(stored).subspan(kGrainHeaderBytes, size),
                                              grain, produced));
    grain.resize(produced);
    return grain;
  }

  HostedTables extent_;
  Findings& findings_;
  bool copies_agree_ = true;
  std::uint64_t file_bytes_ = 0;
  std::optional<std::uint64_t> phase_;
  std::uint64_t grains_used_ = 0;
  std::uint64_t zeroed_ = 0;
  SlotSet used_;
  SlotSet disputed_;  // where only one of the copies says that something is
  std::vector<std::uint32_t> primary_;
  std::vector<std::uint32_t> copy_;
};

}  // namespace

std::uint64_t first_table_byte(const HostedHeader& header) {
  // Bounded by parse_hosted_header(), but for the descriptor's position, which may be anything.
  const bool embedded =
      header.descriptor_sector != 0 && header.descriptor_sector < header.overhead_sectors;
  return (embedded ? header.descriptor_sector + header.descriptor_sectors : 1) * kSectorBytes;
}

Status check_hosted_entry(const HostedTables& extent, std::uint64_t grain, std::uint32_t entry,
                          std::uint64_t file_bytes) {
  if (entry <= kZeroedGrainEntry) return {};
  const HostedHeader& header = extent.header;
  const std::uint64_t offset = entry * kSectorBytes;
  const std::uint64_t left = header.capacity_bytes() - grain * header.grain_bytes();
  const std::uint64_t needed =
      header.compressed() ? kGrainHeaderBytes : std::min(header.grain_bytes(), left);
  const std::uint64_t metadata_end =
      header.compressed() ? first_table_byte(header)
                          : std::max<std::uint64_t>(header.overhead_sectors, 1) * kSectorBytes;
  if (offset >= metadata_end && range_within(offset, needed, file_bytes)) return {};
  return fail(
      ErrorKind::corrupt, extent.file.path(), extent.tables.entry_offset(grain),
      offset < metadata_end
          ? fmt::format("{} points at offset {:#x}, inside the metadata, which ends at {:#x}",
                        entry_name(extent, grain), offset, metadata_end)
          : fmt::format("{} points at offset {:#x}, past the end of the file ({:#x}): the file is "
                        "truncated or the "
                        "entry is damaged",
                        entry_name(extent, grain), offset, file_bytes));
}

Result<bool> load_entries(const HostedTables& extent, std::uint64_t first_grain,
                          std::span<std::uint32_t> out) {
  GM_TRY(const bool any, extent.tables.load(first_grain, out));
  if (!copies_may_differ(extent)) return any;
  std::vector<std::uint32_t> copy(out.size());
  GM_TRY(const bool any_copy, extent.other->load(first_grain, copy));
  if (!any && any_copy) std::ranges::copy(copy, out.begin());
  if (any && any_copy)
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = further_entry(out[i], copy[i]).value_or(out[i]);
  return any || any_copy;
}

Status check_hosted_tables(const HostedTables& extent, Findings& findings) {
  return TableCheck(extent, findings).run();
}

}  // namespace grainmill::vmdk
