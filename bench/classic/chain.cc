// SPDX-License-Identifier: Apache-2.0
#include "bench/classic/chain.h"

#include "engine/base/byte_order.h"

#include <span>

namespace grainmill::bench::classic {

Result<std::vector<std::uint64_t>> read_directory(const File& file, const GrainTableShape& shape,
                                                  std::uint64_t directory_offset) {
  std::vector<std::byte> bytes(shape.directory_bytes());
  GM_CHECK(file.read_exact_at(directory_offset, bytes));
  std::vector<std::uint64_t> tables(shape.tables());
  for (std::size_t table = 0; table < tables.size(); ++table)
    tables[table] = load_le<std::uint32_t>(&bytes[table * 4]) * kSectorBytes;
  return tables;
}

}  // namespace grainmill::bench::classic
