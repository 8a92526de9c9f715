// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/repair.h"
#include "engine/format/vmdk/descriptor_repair.h"
#include "engine/io/file_system.h"
#include "engine/io/open_policy.h"

namespace grainmill::vmdk {

// Puts a descriptor right by the extent files that lie beside it: lines that are lost or damaged,
// sizes that the files, with what else tells (size_witness.h), contradict; and header lines that
// follow from others. All that is right stays as it is. A correction is added to `plan`, and
// `placed` becomes the text as it would be; where two things contradict each other and nothing
// decides, a doubt is.
// `file`: where the descriptor is.
[[nodiscard]] Status rebuild_descriptor(const File& file, FileSystem& files,
                                        const OpenPolicy& policy, PlacedText& placed,
                                        RepairPlan& plan);

}  // namespace grainmill::vmdk
