// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/sink.h"
#include "engine/format/vmdk/new_disk.h"

#include <memory>

namespace grainmill::vmdk {

// Fills a new disk of hosted sparse extents: each grain that is not zero is appended to its extent,
// in guest order, and noted in both copies of the tables. Memory: one grain table.
// REQUIRES: disk.plan.subformat.sparse(), and not compressed.
[[nodiscard]] std::unique_ptr<Sink> make_sparse_sink(NewDisk disk);

}  // namespace grainmill::vmdk
