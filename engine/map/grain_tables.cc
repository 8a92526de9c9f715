// SPDX-License-Identifier: Apache-2.0
#include "engine/map/grain_tables.h"

#include "engine/base/byte_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace grainmill {
namespace {

// A directory larger than this describes more tables than any real disk has (16 million, 512 TiB of
// 64 KiB grains); a crafted header must not cost gigabytes of memory.
constexpr std::uint64_t kMaxDirectoryBytes = 64 * kMiB;

Status read_words(const File& file, std::uint64_t offset, std::span<std::uint32_t> out) {
  GM_CHECK(file.read_exact_at(offset, std::as_writable_bytes(out)));
  if constexpr (std::endian::native == std::endian::big)
    for (std::uint32_t& word : out) word = swap_if(word, std::endian::little);
  return {};
}

}  // namespace

std::size_t run_length(std::span<const std::uint32_t> entries, std::size_t first,
                       std::uint64_t grain_sectors) {
  // 0 and, where it exists, the entry for zeros repeat.
  const std::uint64_t step = entries[first] <= 1 ? 0 : grain_sectors;
  std::size_t next = first + 1;
  while (next < entries.size() && entries[next] == entries[next - 1] + step) ++next;
  return next - first;
}

Result<GrainTables> GrainTables::open(const File& file, const GrainTableShape& shape,
                                      std::uint64_t directory_offset, std::uint64_t first_byte) {
  GM_TRY(const FileInfo info, file.info());
  if (shape.directory_bytes() > kMaxDirectoryBytes)
    return fail(
        ErrorKind::corrupt, file.path(), directory_offset,
        fmt::format("grain directory of {} for a disk of {}: more than any real image has",
                    format_size(shape.directory_bytes()), format_size(shape.capacity_bytes)));
  if (!range_within(directory_offset, shape.directory_bytes(), info.size_bytes))
    return fail(ErrorKind::corrupt, file.path(), directory_offset,
                fmt::format("grain directory of {} bytes does not fit in the file of {} bytes: it "
                            "is truncated, or its "
                            "header is damaged",
                            shape.directory_bytes(), info.size_bytes));
  GrainTables tables(file, shape);
  tables.directory_.resize(shape.tables());
  GM_CHECK(read_words(file, directory_offset, tables.directory_));
  for (std::uint64_t i = 0; i < shape.tables(); ++i) {
    const std::uint64_t offset = tables.table_offset(i);
    if (offset == 0 ||
        (offset >= first_byte && range_within(offset, shape.table_bytes(), info.size_bytes)))
      continue;
    return fail(ErrorKind::corrupt, file.path(), directory_offset + i * 4,
                fmt::format("grain directory entry {} points at offset {:#x}, {}", i, offset,
                            offset < first_byte ? "inside the header"
                                                : fmt::format("past the end of the file ({:#x})",
                                                              info.size_bytes)));
  }
  return tables;
}

std::uint64_t GrainTables::entry_offset(std::uint64_t grain) const {
  return table_offset(grain / shape_.entries_per_table) + grain % shape_.entries_per_table * 4;
}

// Reads entries that lie side by side in the file.
Result<bool> GrainTables::load_run(std::uint64_t begin, std::span<std::uint32_t> out) const {
  GM_TRY(const bool stored, file_->stores_any(begin, out.size_bytes()));
  if (!stored) return false;
  GM_CHECK(read_words(*file_, begin, out));
  return true;
}

Result<bool> GrainTables::load(std::uint64_t first_grain, std::span<std::uint32_t> out) const {
  bool any = false;
  std::uint64_t done = 0;
  while (done < out.size()) {
    const std::uint64_t grain = first_grain + done;
    std::uint64_t table = grain / shape_.entries_per_table;
    std::uint64_t count = shape_.entries_per_table - grain % shape_.entries_per_table;
    const bool absent = directory_[table] == 0;
    // The run goes on through tables that follow each other in the file, or through missing ones.
    for (; count < out.size() - done; count += shape_.entries_per_table, ++table) {
      const std::uint64_t next = table_offset(table + 1);
      if (absent ? next != 0 : next != table_offset(table) + shape_.table_bytes()) break;
    }
    count = std::min<std::uint64_t>(count, out.size() - done);
    const std::span<std::uint32_t> part = out.subspan(done, count);
    bool stored = false;
    if (!absent) {
      GM_TRY(stored, load_run(entry_offset(grain), part));
    }
    if (stored && !any) std::ranges::fill(out.first(done), 0U);
    if (!stored && any) std::ranges::fill(part, 0U);
    any = any || stored;
    done += count;
  }
  return any;
}

}  // namespace grainmill
