// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/hosted_recovery.h"

#include "engine/base/arith.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;

// Calls `visit(grain, entry of the primary copy, entry of the other, what both say)` for every
// grain that one of the copies knows.
using EntryVisitor =
    std::function<Status(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t)>;

Status visit_entries(const HostedTables& extent, const EntryVisitor& visit) {
  const std::uint64_t grains = extent.tables.shape().grains();
  std::vector<std::uint32_t> primary;
  std::vector<std::uint32_t> copy;
  for (std::uint64_t first = 0; first < grains; first += kChunkEntries) {
    primary.assign(std::min(kChunkEntries, grains - first), 0);
    GM_TRY(const bool any, extent.tables.load(first, primary));
    if (!any) std::ranges::fill(primary, 0U);
    bool any_copy = false;
    copy = primary;
    if (extent.other != nullptr) {
      GM_TRY(any_copy, extent.other->load(first, copy));
      if (!any_copy) std::ranges::fill(copy, 0U);
    }
    if (!any && !any_copy) continue;
    for (std::size_t i = 0; i < primary.size(); ++i)
      if (primary[i] != 0 || copy[i] != 0)
        GM_CHECK(visit(first + i, primary[i], copy[i],
                       further_entry(primary[i], copy[i]).value_or(primary[i])));
  }
  return {};
}

// Which places for grains are taken, by grains or by tables.
class Places {
 public:
  Places(std::uint64_t begin, std::uint64_t grain_bytes, std::uint64_t file_bytes)
      : begin_(begin), grain_bytes_(grain_bytes) {
    if (file_bytes > begin) taken_.resize(ceil_div(file_bytes - begin, grain_bytes));
  }

  void take(std::uint64_t offset, std::uint64_t bytes) {
    if (offset + bytes <= begin_) return;
    const std::uint64_t first = offset < begin_ ? 0 : (offset - begin_) / grain_bytes_;
    const std::uint64_t last = (offset + bytes - 1 - begin_) / grain_bytes_;
    for (std::uint64_t i = first; i <= last && i < taken_.size(); ++i) taken_[i] = true;
  }

  // Forgets the free ones at the end, and returns where the file may end.
  std::uint64_t trim() {
    while (!taken_.empty() && !taken_.back()) taken_.pop_back();
    return begin_ + taken_.size() * grain_bytes_;
  }

  Status zero_free(File& file, std::uint64_t file_bytes) const {
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i]) continue;
      const std::uint64_t at = begin_ + i * grain_bytes_;
      if (at >= file_bytes) break;
      GM_CHECK(file.zero_range(at, std::min(grain_bytes_, file_bytes - at)));
    }
    return {};
  }

 private:
  std::uint64_t begin_;
  std::uint64_t grain_bytes_;
  std::vector<bool> taken_;
};

void take_tables(const GrainTables* tables, Places& places) {
  if (tables == nullptr) return;
  for (std::uint64_t i = 0; i < tables->shape().tables(); ++i)
    if (tables->table_offset(i) != 0)
      places.take(tables->table_offset(i), tables->shape().table_bytes());
}

}  // namespace

Result<std::uint64_t> first_grain_place(const HostedTables& extent) {
  const std::uint64_t grain_bytes = extent.header.grain_bytes();
  const std::uint64_t metadata_end = extent.header.overhead_sectors * kSectorBytes;
  std::uint64_t phase = metadata_end % grain_bytes;
  bool found = phase == 0;
  // All stored grains have one phase: that was checked.
  if (!found)
    GM_CHECK(visit_entries(extent,
                           [&](std::uint64_t /*grain*/, std::uint32_t /*primary*/,
                               std::uint32_t /*copy*/, std::uint32_t entry) -> Status {
                             if (!found && entry > kZeroedGrainEntry) {
                               phase = entry * kSectorBytes % grain_bytes;
                               found = true;
                             }
                             return {};
                           }));
  return align_down(metadata_end + grain_bytes - 1 - phase, grain_bytes) + phase;
}

Status reclaim_space(const HostedTables& extent, File& file) {
  GM_TRY(const FileInfo info, file.info());
  GM_TRY(const std::uint64_t begin, first_grain_place(extent));
  Places places(begin, extent.header.grain_bytes(), info.size_bytes);
  take_tables(&extent.tables, places);
  take_tables(extent.other, places);
  GM_CHECK(visit_entries(extent,
                         [&](std::uint64_t /*grain*/, std::uint32_t /*primary*/,
                             std::uint32_t /*copy*/, std::uint32_t entry) -> Status {
                           if (entry > kZeroedGrainEntry)
                             places.take(entry * kSectorBytes, extent.header.grain_bytes());
                           return {};
                         }));
  const std::uint64_t end = places.trim();
  if (end < info.size_bytes) GM_CHECK(file.resize(end));
  return places.zero_free(file, std::min(end, info.size_bytes));
}

Status even_out_tables(const HostedTables& extent, GrainAllocator& allocator) {
  GM_CHECK(visit_entries(extent,
                         [&](std::uint64_t grain, std::uint32_t primary, std::uint32_t copy,
                             std::uint32_t entry) -> Status {
                           if (primary == copy) return {};
                           return entry == kZeroedGrainEntry
                                      ? allocator.put_zeros(grain)
                                      : allocator.put(grain, entry * kSectorBytes);
                         }));
  return allocator.flush();
}

}  // namespace grainmill::vmdk
