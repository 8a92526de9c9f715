// SPDX-License-Identifier: Apache-2.0
#include "bench/classic/table_cache.h"

#include "engine/base/byte_order.h"

#include <algorithm>
#include <bit>
#include <span>

namespace grainmill::bench::classic {
namespace {

Status read_entries(const File& file, std::uint64_t offset, std::span<std::uint32_t> out) {
  GM_CHECK(file.read_exact_at(offset, std::as_writable_bytes(out)));
  if constexpr (std::endian::native == std::endian::big)
    for (std::uint32_t& entry : out) entry = swap_if(entry, std::endian::little);
  return {};
}

std::uint64_t line_offset(const EntryPlace& place) {
  return place.table_offset + place.index / DirectCache::kEntries * DirectCache::kEntries * 4;
}

std::size_t line_of(const EntryPlace& place) {
  return place.grain / DirectCache::kEntries % DirectCache::kLines;
}

}  // namespace

std::size_t CountedCache::slot_of(std::uint64_t table_offset) const {
  std::size_t slot = 0;
  while (slot < kTables && offsets_[slot] != table_offset) ++slot;
  return slot;
}

void CountedCache::count_use(std::size_t slot) {
  if (++uses_[slot] == most_uses_)
    for (std::uint32_t& uses : uses_) uses /= 2;
}

Result<std::size_t> CountedCache::replace_least_used(const File& file, std::uint64_t table_offset) {
  const auto least = static_cast<std::size_t>(std::ranges::min_element(uses_) - uses_.begin());
  offsets_[least] = 0;
  GM_CHECK(
      read_entries(file, table_offset, std::span(entries_).subspan(least * kEntries, kEntries)));
  offsets_[least] = table_offset;
  uses_[least] = 1;
  return least;
}

Result<std::uint32_t> CountedCache::entry(const File& file, const EntryPlace& place) {
  std::size_t slot = slot_of(place.table_offset);
  if (slot < kTables) {
    count_use(slot);
  } else {
    GM_TRY(slot, replace_least_used(file, place.table_offset));
  }
  return entries_[slot * kEntries + place.index];
}

void CountedCache::update(const EntryPlace& place, std::uint32_t entry) {
  const std::size_t slot = slot_of(place.table_offset);
  if (slot < kTables) entries_[slot * kEntries + place.index] = entry;
}

Result<std::uint32_t> DirectCache::entry(const File& file, const EntryPlace& place) {
  const std::size_t line = line_of(place);
  const std::uint64_t offset = line_offset(place);
  if (offsets_[line] != offset) {
    offsets_[line] = 0;
    GM_CHECK(read_entries(file, offset, std::span(entries_).subspan(line * kEntries, kEntries)));
    offsets_[line] = offset;
  }
  return entries_[line * kEntries + place.index % kEntries];
}

void DirectCache::update(const EntryPlace& place, std::uint32_t entry) {
  const std::size_t line = line_of(place);
  if (offsets_[line] == line_offset(place))
    entries_[line * kEntries + place.index % kEntries] = entry;
}

}  // namespace grainmill::bench::classic
