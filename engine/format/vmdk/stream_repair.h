// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/vmdk/table_repair.h"

namespace grainmill::vmdk {

// Puts right what the grains of a stream-optimised extent can tell: each has its address before it,
// so tables, directory, footer and markers can be made again by walking from one to the next; and
// what the tables can tell of a grain whose address or size is damaged.
[[nodiscard]] Status repair_stream(const DamagedTables& extent, RepairPlan& plan);

}  // namespace grainmill::vmdk
