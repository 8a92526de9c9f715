// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/findings.h"
#include "engine/format/format.h"
#include "engine/format/qcow2/tables.h"

namespace grainmill::qcow2 {

// Link::examine() for a qcow2 image: all L2 tables are held against the file, the refcounts and
// each other. A table choice other than `agreeing` means that the mapping is believed whatever the
// refcounts say, and although it goes on behind the end of the disk. Returns whether any cluster is
// compressed.
[[nodiscard]] Result<bool> check_image(const MappingTables& tables, TableChoice choice,
                                       Findings& findings);

}  // namespace grainmill::qcow2
