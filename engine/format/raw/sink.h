// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <memory>

namespace grainmill::raw {

// A raw disk: a new file, one that is there or a block device (options.in_place), or a stream. A
// block device is always written in place. What is there must be large enough; bytes past the end
// of the disk stay as they are.
[[nodiscard]] Result<std::unique_ptr<Sink>> make_sink(FileSystem& files,
                                                      const SinkOptions& options);

}  // namespace grainmill::raw
