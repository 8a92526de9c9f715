// SPDX-License-Identifier: Apache-2.0
#include "tests/support/table_copy.h"

#include "tests/support/extent_writers.h"
#include "tests/support/little_endian.h"

#include <stdexcept>

namespace grainmill::testing {

std::uint32_t sector_pointer(std::uint64_t sector) {
  if (sector > UINT32_MAX)
    throw std::invalid_argument("the extent file is too large for 32-bit sector pointers");
  return static_cast<std::uint32_t>(sector);
}

void TableEntries::set(std::uint64_t grain, std::uint64_t value) {
  std::vector<std::uint32_t>& table = used_[grain / gtes_per_gt_];
  table.resize(gtes_per_gt_);
  table[grain % gtes_per_gt_] = sector_pointer(value);
}

std::uint64_t TableEntries::tables() const { return divide_up(grains_, gtes_per_gt_); }
std::uint64_t TableEntries::table_sectors() const {
  return divide_up(std::uint64_t{gtes_per_gt_} * 4, kSectorSize);
}
std::uint64_t TableEntries::directory_sectors() const {
  return divide_up(tables() * 4, kSectorSize);
}

std::vector<std::byte> TableEntries::encode(std::uint64_t table) const {
  const auto found = used_.find(table);
  if (found == used_.end()) return {};
  std::vector<std::byte> bytes(table_sectors() * kSectorSize);
  for (std::size_t i = 0; i < found->second.size(); ++i) put_le32(bytes, i * 4, found->second[i]);
  return bytes;
}

TableCopy TableCopy::placed_at(std::uint64_t* cursor, const TableEntries& entries,
                               const std::vector<bool>& wanted) {
  TableCopy copy;
  copy.gd_sector = *cursor;
  *cursor += entries.directory_sectors();
  for (const bool is_wanted : wanted) {
    copy.gt_sectors.push_back(is_wanted ? *cursor : 0);
    if (is_wanted) *cursor += entries.table_sectors();
  }
  return copy;
}

void TableCopy::write_directory(OutputFile& file, const TableEntries& entries) const {
  std::vector<std::byte> bytes(entries.directory_sectors() * kSectorSize);
  for (std::size_t i = 0; i < gt_sectors.size(); ++i)
    put_le32(bytes, i * 4, sector_pointer(gt_sectors[i]));
  file.write(gd_sector * kSectorSize, bytes);
}

void TableCopy::write_table(OutputFile& file, const TableEntries& entries,
                            std::uint64_t table) const {
  file.write(gt_sectors[table] * kSectorSize, entries.encode(table));
}

void TableCopy::write(OutputFile& file, const TableEntries& entries) const {
  write_directory(file, entries);
  for (std::uint64_t table = 0; table < gt_sectors.size(); ++table) {
    if (gt_sectors[table] != 0) write_table(file, entries, table);
  }
}

std::vector<std::uint64_t> TableCopy::gt_offsets() const {
  std::vector<std::uint64_t> offsets;
  offsets.reserve(gt_sectors.size());
  for (const std::uint64_t sector : gt_sectors) offsets.push_back(sector * kSectorSize);
  return offsets;
}

}  // namespace grainmill::testing
