// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"
#include "engine/format/vmdk/extent_map.h"
#include "engine/format/vmdk/layout.h"
#include "engine/map/grain_tables.h"
#include "engine/map/slot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;

// The sparse extents of VMFS 3 snapshots: one copy of tables, grains of one sector usually, no
// zeroed-grain entries.
class CowdMap final : public ExtentMap {
 public:
  CowdMap(std::unique_ptr<File> file, const CowdHeader& header, GrainTables tables,
          TableChoice choice)
      : file_(std::move(file)), header_(header), tables_(std::move(tables)), choice_(choice) {}

  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override;
  [[nodiscard]] Status examine(Findings& findings) const override;
  [[nodiscard]] const File* file() const override { return file_.get(); }
  [[nodiscard]] std::uint64_t grain_bytes() const override {
    return header_.grain_sectors * kSectorBytes;
  }
  [[nodiscard]] bool unclean_shutdown() const override { return header_.unclean_shutdown; }

 private:
  [[nodiscard]] Status check_entry(std::uint64_t grain, std::uint32_t entry,
                                   std::uint64_t file_bytes) const;
  [[nodiscard]] Status claim_tables(SlotSet& used, Findings& findings) const;
  [[nodiscard]] Status check_unused_space(const SlotSet& used, std::uint64_t file_bytes,
                                          Findings& findings) const;
  [[nodiscard]] Finding finding(std::string_view code, std::uint64_t grain, Error what) const {
    return {.code = code,
            .what = std::move(what),
            .guest_offset = grain * grain_bytes(),
            .guest_length = grain_bytes()};
  }
  [[nodiscard]] std::uint64_t metadata_end() const {
    return header_.directory_sector * kSectorBytes + tables_.shape().directory_bytes();
  }

  std::unique_ptr<File> file_;
  CowdHeader header_;
  GrainTables tables_;
  TableChoice choice_;
};

Status CowdMap::check_entry(std::uint64_t grain, std::uint32_t entry,
                            std::uint64_t file_bytes) const {
  if (entry == 0) return {};
  const std::uint64_t offset = entry * kSectorBytes;
  const std::uint64_t address = grain * grain_bytes();
  const std::uint64_t needed =
      std::min(grain_bytes(), header_.capacity_sectors * kSectorBytes - address);
  if (offset >= metadata_end() && range_within(offset, needed, file_bytes)) return {};
  return fail(
      ErrorKind::corrupt, file_->path(), tables_.entry_offset(grain),
      fmt::format("grain table entry for address {:#x} points at offset {:#x}, {}", address, offset,
                  offset < metadata_end()
                      ? "inside the metadata"
                      : fmt::format("past the end of the file ({:#x}): the file is truncated or "
                                    "the entry is damaged",
                                    file_bytes)));
}

Status CowdMap::map(const AddressRange& range, ExtentList& out) const {
  const std::uint64_t end = range.address + range.length;
  const std::uint64_t first = range.address / grain_bytes();
  std::vector<std::uint32_t> entries(ceil_div(end, grain_bytes()) - first);
  GM_TRY(const bool any, tables_.load(first, entries));
  if (!any) {
    append_merged(out, {.guest_offset = range.guest_offset, .length = range.length});
    return {};
  }
  GM_TRY(const FileInfo info, file_->info());
  const std::uint64_t shift = range.guest_offset - range.address;
  for (std::size_t i = 0; i < entries.size();) {
    const std::size_t run = run_length(entries, i, header_.grain_sectors);
    for (const std::size_t edge : {i, i + run - 1})
      GM_CHECK(check_entry(first + edge, entries[edge], info.size_bytes));
    Extent whole{.guest_offset = (first + i) * grain_bytes(), .length = run * grain_bytes()};
    if (entries[i] != 0) {
      whole.kind = ExtentKind::data;
      whole.file = file_.get();
      whole.file_offset = entries[i] * kSectorBytes;
    }
    Extent extent = clip(whole, range.address, end);
    extent.guest_offset += shift;
    append_merged(out, extent);
    i += run;
  }
  return {};
}

Status CowdMap::claim_tables(SlotSet& used, Findings& findings) const {
  const GrainTableShape& shape = tables_.shape();
  for (std::uint64_t i = 0; i < shape.tables(); ++i) {
    const std::uint64_t offset = tables_.table_offset(i);
    if (offset == 0 || used.add(offset / kSectorBytes, shape.table_bytes() / kSectorBytes))
      continue;
    GM_CHECK(findings.add({.code = "tables-overlap",
                           .what = fail(ErrorKind::corrupt, file_->path(), offset,
                                        fmt::format("grain table {} overlaps another one", i))
                                       .error()}));
  }
  return {};
}

Status CowdMap::examine(Findings& findings) const {
  GM_TRY(const FileInfo info, file_->info());
  const GrainTableShape& shape = tables_.shape();
  SlotSet used;  // in sectors: tables and grains share the space behind the directory
  GM_CHECK(claim_tables(used, findings));
  std::vector<std::uint32_t> entries;
  for (std::uint64_t first = 0; first < shape.grains(); first += kChunkEntries) {
    entries.resize(std::min(kChunkEntries, shape.grains() - first));
    GM_TRY(const bool any, tables_.load(first, entries));
    if (!any) continue;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i] == 0) continue;
      if (Status sane = check_entry(first + i, entries[i], info.size_bytes); !sane) {
        GM_CHECK(findings.add(finding("entry", first + i, std::move(sane).error())));
        continue;
      }
      if (used.add(entries[i], header_.grain_sectors)) continue;
      GM_CHECK(findings.add(
          finding("shared-grain", first + i,
                  fail(ErrorKind::corrupt, file_->path(), tables_.entry_offset(first + i),
                       fmt::format("grain table entry for address {:#x} points at sector {}, which "
                                   "another entry or a table takes "
                                   "too: a grain is shared",
                                   (first + i) * grain_bytes(), entries[i]))
                      .error())));
    }
  }
  const bool believed = header_.unclean_shutdown || choice_ != TableChoice::agreeing;
  return believed ? Status{} : check_unused_space(used, info.size_bytes, findings);
}

// There is one copy of the tables, so a lost entry shows in nothing but the data it leaves behind.
Status CowdMap::check_unused_space(const SlotSet& used, std::uint64_t file_bytes,
                                   Findings& findings) const {
  std::array<std::byte, kSectorBytes> sector{};
  std::uint64_t at = align_up(metadata_end(), kSectorBytes);
  while (at < file_bytes) {
    if (used.contains(at / kSectorBytes)) {
      at += kSectorBytes;
      continue;
    }
    GM_TRY(const DataRange stored, file_->next_data(at));
    if (stored.begin == stored.end) break;
    if (stored.begin >= at + kSectorBytes) {
      at = align_down(stored.begin, kSectorBytes);
      continue;
    }
    GM_TRY(const std::size_t got, file_->read_at(at, sector));
    if (!is_zero(std::span(sector).first(got)))
      return findings.add(
          {.code = "lost-grains",
           .what = fail(ErrorKind::corrupt, file_->path(), at,
                        "data is stored here that no grain table entry refers to: entries are "
                        "lost, or the header's grain size or directory is damaged; --tables "
                        "primary reads what the tables say")
                       .error()});
    at += kSectorBytes;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ExtentMap>> open_cowd_map(std::unique_ptr<File> file,
                                                 const ExtentClaim& claim, TableChoice choice) {
  std::array<std::byte, kCowdHeaderBytes> bytes{};
  GM_CHECK(file->read_exact_at(0, bytes));
  GM_TRY(const CowdHeader header, parse_cowd_header(bytes, file->path()));
  GM_TRY(const FileInfo info, file->info());
  if (info.size_bytes % kSectorBytes != 0)
    return fail(ErrorKind::corrupt, file->path(), info.size_bytes,
                "the file does not end with a whole sector: it is truncated, or was damaged by a "
                "transfer in text mode");
  const std::uint64_t capacity = header.capacity_sectors * kSectorBytes;
  if (capacity != claim.size_bytes)
    return fail(ErrorKind::corrupt, file->path(), 12,
                fmt::format("header says a capacity of {} bytes, the descriptor in {} (offset "
                            "{:#x}) says {}: one of them is "
                            "damaged, or they are of different disks",
                            capacity, claim.descriptor_path, claim.line_offset, claim.size_bytes));
  const GrainTableShape shape{capacity, header.grain_sectors * kSectorBytes, kCowdEntriesPerTable};
  GM_TRY(GrainTables tables,
         GrainTables::open(*file, shape, header.directory_sector * kSectorBytes, kCowdHeaderBytes));
  return std::make_unique<CowdMap>(std::move(file), header, std::move(tables), choice);
}

}  // namespace grainmill::vmdk
