// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"
#include "engine/format/repair.h"

#include <string>

namespace grainmill::vmdk {

// See Format::plan_repair.
[[nodiscard]] Result<RepairPlan> plan_repair(FileSystem& files, const std::string& path,
                                             const OpenOptions& options);

}  // namespace grainmill::vmdk
