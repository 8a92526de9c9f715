// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/hosted_check.h"

#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"
#include "engine/map/slot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;

std::string entry_name(const HostedTables& extent, std::uint64_t grain) {
  return fmt::format("grain table entry for address {:#x}", grain * extent.header.grain_bytes());
}

// Checks all entries of an extent in one pass over both copies.
class TableCheck {
 public:
  explicit TableCheck(const HostedTables& extent) : extent_(extent) {}

  Status run() {
    GM_TRY(const FileInfo info, extent_.file.info());
    file_bytes_ = info.size_bytes;
    GM_CHECK(claim_tables());
    const std::uint64_t grains = extent_.tables.shape().grains();
    for (std::uint64_t first = 0; first < grains; first += kChunkEntries)
      GM_CHECK(check_chunk(first, std::min(kChunkEntries, grains - first)));
    return extent_.header.compressed() ? check_first_block() : check_unused_space();
  }

 private:
  [[nodiscard]] std::unexpected<Error> corrupt(std::uint64_t offset, std::string message) const {
    return fail(ErrorKind::corrupt, extent_.file.path(), offset, std::move(message));
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
    for (const GrainTables* tables : {&extent_.tables, extent_.redundant}) {
      if (tables == nullptr) continue;
      for (std::uint64_t i = 0; i < tables->shape().tables(); ++i)
        if (tables->table_offset(i) != 0)
          claim_table(tables->table_offset(i), tables->shape().table_bytes());
    }
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
    if (extent_.redundant != nullptr) {
      GM_TRY(const bool any_copy, extent_.redundant->load(first, copy_));
      if (!any && !any_copy) return {};
      if (!any) std::ranges::fill(primary_, 0U);
      if (!any_copy) std::ranges::fill(copy_, 0U);
      GM_CHECK(compare_copies(first));
    }
    if (!any) return {};
    for (std::uint64_t i = 0; i < count; ++i)
      if (primary_[i] != 0) GM_CHECK(check_entry(first + i, primary_[i]));
    return {};
  }

  Status compare_copies(std::uint64_t first) const {
    const auto differ = std::ranges::mismatch(primary_, copy_);
    if (differ.in1 == primary_.end()) return {};
    const std::uint64_t grain = first + static_cast<std::uint64_t>(differ.in1 - primary_.begin());
    const auto place = [&](const GrainTables& tables) {
      const bool exists = tables.table_offset(grain / tables.shape().entries_per_table) != 0;
      return exists ? fmt::format("offset {:#x}", tables.entry_offset(grain))
                    : std::string("a missing table");
    };
    return corrupt(
        0, fmt::format(
               "{} is sector {} in the primary tables ({}) and sector {} in the redundant ones "
               "({}): one "
               "copy is damaged; --tables primary or --tables redundant decides which to believe",
               entry_name(extent_, grain), *differ.in1, place(extent_.tables), *differ.in2,
               place(*extent_.redundant)));
  }

  Status check_entry(std::uint64_t grain, std::uint32_t entry) {
    GM_CHECK(check_hosted_entry(extent_, grain, entry, file_bytes_));
    if (entry == kZeroedGrainEntry) {
      ++zeroed_;
      return {};
    }
    const std::uint64_t offset = entry * kSectorBytes;
    if (!extent_.header.compressed()) GM_CHECK(check_phase(grain, offset));
    if (!used_.add(slot_of(offset), 1))
      return corrupt(extent_.tables.entry_offset(grain),
                     fmt::format("{} points at offset {:#x}, which another entry or a table takes "
                                 "too: a grain is shared",
                                 entry_name(extent_, grain), offset));
    ++grains_used_;
    return {};
  }

  // Grains lie side by side at multiples of the grain, counted from the start of the file or of the
  // grain area.
  Status check_phase(std::uint64_t grain, std::uint64_t offset) {
    const std::uint64_t grain_bytes = extent_.header.grain_bytes();
    const std::uint64_t phase = offset % grain_bytes;
    if (grains_used_ == 0) phase_ = phase;
    if (phase == phase_ && (phase == 0 || phase == area_phase())) return {};
    return corrupt(
        extent_.tables.entry_offset(grain),
        fmt::format("{} points at offset {:#x}, which is not aligned to grains of {} bytes",
                    entry_name(extent_, grain), offset, grain_bytes));
  }

  // A stream's first block is a grain that the tables know, or a marker. (Every later block is
  // checked when the one before it is read.)
  Status check_first_block() const {
    const HostedHeader& header = extent_.header;
    const std::uint64_t offset =
        std::max(header.overhead_sectors * kSectorBytes, first_table_byte(header));
    if (!range_within(offset, kMarkerHeaderBytes, file_bytes_)) return {};
    std::array<std::byte, kMarkerHeaderBytes> bytes{};
    GM_CHECK(extent_.file.read_exact_at(offset, bytes));
    const BlockHeader block = parse_block_header(bytes);
    if (block.size == 0 || block.size > 2 * header.grain_bytes()) return {};
    if (block.address >= header.capacity_sectors || block.address % header.grain_sectors != 0)
      return {};
    std::array<std::uint32_t, 1> entry{};
    GM_CHECK(extent_.tables.load(block.address / header.grain_sectors, entry));
    if (entry[0] * kSectorBytes == offset) return {};
    return corrupt(
        offset,
        fmt::format("a grain for address {:#x} is stored here, but the grain tables do not know it",
                    block.address * kSectorBytes));
  }

  // Grains that no entry refers to: a few are left by crashes, and one for every entry that was set
  // to zero; many mean that the header gives the wrong geometry or that entries are lost. The
  // stored bytes are looked at, so that space taken in advance does not count.
  Status check_unused_space() {
    if (extent_.header.unclean_shutdown) return {};
    const bool two_copies = extent_.redundant != nullptr;
    const std::uint64_t allowed = zeroed_ + (two_copies ? grains_used_ / 8 : 0);
    GM_TRY(const std::uint64_t unused, count_unused(allowed));
    if (unused <= allowed) return {};
    return corrupt(
        0,
        fmt::format(
            "at least {} grains of data that no grain table entry refers to ({} are in use): "
            "entries "
            "are lost, or the header's grain or table size is damaged; --tables primary reads what "
            "the tables say",
            unused, grains_used_));
  }

  Result<std::uint64_t> count_unused(std::uint64_t enough) const {
    const std::uint64_t grain_bytes = extent_.header.grain_bytes();
    const std::uint64_t metadata_end =
        std::max<std::uint64_t>(extent_.header.overhead_sectors, 1) * kSectorBytes;
    const std::uint64_t begin = phase_ == 0 ? align_up(metadata_end, grain_bytes) : metadata_end;
    std::vector<std::byte> grain(std::min<std::uint64_t>(grain_bytes, kMiB));
    // Mostly every place is taken, and need not be looked at.
    const std::uint64_t places = begin < file_bytes_ ? (file_bytes_ - begin) / grain_bytes : 0;
    if (places <= grains_used_ + enough) return 0;
    std::uint64_t unused = 0;
    for (std::uint64_t at = begin; unused <= enough && range_within(at, grain_bytes, file_bytes_);
         at += grain_bytes) {
      if (used_.contains(slot_of(at))) continue;
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

  HostedTables extent_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t phase_ = 0;
  std::uint64_t grains_used_ = 0;
  std::uint64_t zeroed_ = 0;
  SlotSet used_;
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

Status check_hosted_tables(const HostedTables& extent) { return TableCheck(extent).run(); }

}  // namespace grainmill::vmdk
