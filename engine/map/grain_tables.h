// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/arith.h"
#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/io/file.h"

#include <cstdint>
#include <span>
#include <vector>

namespace grainmill {

// The two-level table of a sparse extent: a grain directory (GD) of table positions, grain tables
// (GT) of grain positions, each a little-endian 32-bit sector number.
struct GrainTableShape {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t grain_bytes = 0;
  std::uint32_t entries_per_table = 0;

  [[nodiscard]] std::uint64_t grains() const { return ceil_div(capacity_bytes, grain_bytes); }
  [[nodiscard]] std::uint64_t tables() const { return ceil_div(grains(), entries_per_table); }
  [[nodiscard]] std::uint64_t table_bytes() const { return std::uint64_t{entries_per_table} * 4; }
  [[nodiscard]] std::uint64_t directory_bytes() const { return tables() * 4; }
};

// How many entries from `first` on are of one run: all missing, all zeroed, or each grain right
// behind the one before in the file.
[[nodiscard]] std::size_t run_length(std::span<const std::uint32_t> entries, std::size_t first,
                                     std::uint64_t grain_sectors);

// Reads grain table entries. Holds only the directory: 4 bytes for 32 MiB of guest disk, usually.
// Threads: const methods may be called from several threads at once.
class GrainTables {
 public:
  // Reads the directory at `directory_offset` (bytes) and checks that every table it names lies
  // inside the file, at or after `first_byte`. The file must outlive this object.
  [[nodiscard]] static Result<GrainTables> open(const File& file, const GrainTableShape& shape,
                                                std::uint64_t directory_offset,
                                                std::uint64_t first_byte);

  // Reads the entries of out.size() grains from `first_grain` on; tables that are missing give
  // zeros. Returns false, without touching `out`, when they are all zero because nothing is stored
  // there: an empty disk costs no reading. REQUIRES: the grains exist.
  [[nodiscard]] Result<bool> load(std::uint64_t first_grain, std::span<std::uint32_t> out) const;

  [[nodiscard]] const GrainTableShape& shape() const { return shape_; }
  // Byte offset of each table in the file; 0 where there is none.
  [[nodiscard]] std::uint64_t table_offset(std::uint64_t table) const {
    return directory_[table] * kSectorBytes;
  }
  // Byte offset of a grain's entry in the file. REQUIRES: its table exists.
  [[nodiscard]] std::uint64_t entry_offset(std::uint64_t grain) const;

 private:
  GrainTables(const File& file, const GrainTableShape& shape) : file_(&file), shape_(shape) {}

  [[nodiscard]] Result<bool> load_run(std::uint64_t begin, std::span<std::uint32_t> out) const;

  const File* file_;
  GrainTableShape shape_;
  std::vector<std::uint32_t> directory_;  // sectors
};

}  // namespace grainmill
