// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/repair.h"
#include "engine/format/vmdk/layout.h"
#include "engine/io/file.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace grainmill::vmdk {

// A hosted sparse extent whose tables are damaged and whose header is not.
struct DamagedTables {
  const File& file;
  const HostedHeader& header;
  std::uint64_t file_bytes = 0;
  // Below a parent, an entry that says zeros is something else than one that says nothing.
  bool has_parent = false;
};

[[nodiscard]] Correction correct_word(const File& file, std::uint64_t offset, std::uint32_t value,
                                      std::string what);

// The entries of a table or a directory; fewer where the file ends.
[[nodiscard]] Result<std::vector<std::uint32_t>> read_words(const File& file, std::uint64_t sector,
                                                            std::uint64_t count);

// How far apart the tables of writers that allocate them in advance lie.
[[nodiscard]] std::uint64_t table_sectors(const HostedHeader& header);

// Where the first table of a directory would lie if all of them lay side by side, as most of the
// entries say; 0 if there is no majority for any.
[[nodiscard]] std::uint64_t common_base(std::span<const std::uint32_t> directory,
                                        std::uint64_t stride);

// Puts right the directories and the tables of an extent with uncompressed grains, by a vote of
// both copies and of where everything else lies.
[[nodiscard]] Status repair_tables(const DamagedTables& extent, RepairPlan& plan);

}  // namespace grainmill::vmdk
