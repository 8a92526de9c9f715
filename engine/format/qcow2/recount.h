// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/findings.h"
#include "engine/format/qcow2/tables.h"

#include <cstdint>
#include <span>

namespace grainmill::qcow2 {

// Counts all that refers to each cluster of the file (the mapping, that of each internal snapshot,
// bitmaps, the tables themselves) and holds the refcounts against it, and the flags that say that a
// cluster has one user only. What differs does no harm to a reader; the next writer it misleads.
// Memory: two bytes a cluster that is referred to. `refcount_table`: where each block is, 0 for
// none, all inside the file. REQUIRES: the mapping and the tables are sound; refcounts of 0 and
// clusters that nothing refers to are looked for elsewhere, where there are no snapshots and no
// bitmaps.
[[nodiscard]] Status recount(const MappingTables& tables,
                             std::span<const std::uint64_t> refcount_table,
                             std::uint64_t file_bytes, Findings& findings);

}  // namespace grainmill::qcow2
