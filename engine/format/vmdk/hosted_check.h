// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/findings.h"
#include "engine/format/vmdk/layout.h"
#include "engine/io/file.h"
#include "engine/map/grain_tables.h"

#include <cstdint>
#include <span>

namespace grainmill::vmdk {

// A hosted sparse extent and its tables, as far as checks need it.
struct HostedTables {
  const File& file;
  const HostedHeader& header;
  const GrainTables& tables;           // the copy that is read
  const GrainTables* other = nullptr;  // the other copy; null: none, or it cannot be read
  bool chosen = false;  // the user chose the copy to read: it need not agree with the other one
  bool partly_hidden = false;       // see OpenOptions
  std::uint64_t claimed_bytes = 0;  // the extent's size by its descriptor, at most the capacity
};

// The first byte that a table may take: behind the header and the embedded descriptor.
[[nodiscard]] std::uint64_t first_table_byte(const HostedHeader& header);

// Whether one entry can be right by itself: inside the file, outside the metadata.
[[nodiscard]] Status check_hosted_entry(const HostedTables& extent, std::uint64_t grain,
                                        std::uint32_t entry, std::uint64_t file_bytes);

// Whether the copies may differ as a crash leaves them (see GrainAllocator): the last writer did
// not close the file.
[[nodiscard]] inline bool copies_may_differ(const HostedTables& extent) {
  return extent.header.unclean_shutdown && extent.other != nullptr && !extent.chosen;
}

// GrainTables::load of the copy that is read; where copies_may_differ(), of what both together say.
[[nodiscard]] Result<bool> load_entries(const HostedTables& extent, std::uint64_t first_grain,
                                        std::span<std::uint32_t> out);

// Everything that two copies of tables and a file can say against each other without reading
// grains; see Link::examine. Guest ranges are addresses in the extent.
[[nodiscard]] Status check_hosted_tables(const HostedTables& extent, Findings& findings);

}  // namespace grainmill::vmdk
