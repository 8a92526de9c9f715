// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/deflate.h"
#include "engine/format/sink.h"
#include "engine/format/vmdk/new_disk.h"

#include <memory>

namespace grainmill::vmdk {

// Writes a streamOptimized disk from its first byte to its last, as VMware's tools do: header,
// descriptor, compressed grains in guest order, each grain table after its last grain, then the
// directory, the footer and the end-of-stream marker ("Stream-Optimized Compressed Sparse Extents"
// in Virtual Disk Format 5.0). Until the footer is there, no reader takes it for a disk.
// Memory: one grain table, and 4 bytes for each 32 MiB of disk.
// REQUIRES: disk.plan.subformat.compressed.
[[nodiscard]] Result<std::unique_ptr<Sink>> make_stream_sink(NewDisk disk, DeflateLevel level,
                                                             SinkOrder order = SinkOrder::placed);

}  // namespace grainmill::vmdk
