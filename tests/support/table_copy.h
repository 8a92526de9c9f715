// SPDX-License-Identifier: Apache-2.0
//
// Inside the VMDK builder: grain table entries, and one copy of directory and tables in a file.
#pragma once

#include "tests/support/output_file.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace grainmill::testing {

// The entries of all grain tables of an extent; only tables with an entry that is not 0 take
// memory.
class TableEntries {
 public:
  TableEntries(std::uint64_t grains, std::uint32_t gtes_per_gt)
      : grains_(grains), gtes_per_gt_(gtes_per_gt) {}

  void set(std::uint64_t grain, std::uint64_t value);

  std::uint32_t gtes_per_gt() const { return gtes_per_gt_; }
  std::uint64_t tables() const;
  std::uint64_t table_sectors() const;
  std::uint64_t directory_sectors() const;

  // The table as it stands in a file, whole sectors; empty if all its entries are 0.
  std::vector<std::byte> encode(std::uint64_t table) const;

 private:
  std::uint64_t grains_;
  std::uint32_t gtes_per_gt_;
  std::map<std::uint64_t, std::vector<std::uint32_t>> used_;
};

// Where one copy of the directory and its tables is, in sectors.
struct TableCopy {
  std::uint64_t gd_sector = 0;
  std::vector<std::uint64_t> gt_sectors;  // 0: no such table

  // The directory followed by the wanted tables, from *cursor on, which is moved behind them.
  static TableCopy placed_at(std::uint64_t* cursor, const TableEntries& entries,
                             const std::vector<bool>& wanted);

  void write_directory(OutputFile& file, const TableEntries& entries) const;
  void write_table(OutputFile& file, const TableEntries& entries, std::uint64_t table) const;
  // Directory and tables. A table of zeros is left as a hole in the file.
  void write(OutputFile& file, const TableEntries& entries) const;
  std::vector<std::uint64_t> gt_offsets() const;
};

// VMDK's tables hold 32-bit sectors. Throws std::invalid_argument if the file has outgrown them.
std::uint32_t sector_pointer(std::uint64_t sector);

}  // namespace grainmill::testing
