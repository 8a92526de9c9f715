// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <memory>

namespace grainmill::vmdk {

// A new VMDK disk of any createType that apply_settings() takes; of those, only streamOptimized can
// go to a stream. Files that are there are replaced when it is whole.
[[nodiscard]] Result<std::unique_ptr<Sink>> make_sink(FileSystem& files,
                                                      const SinkOptions& options);

}  // namespace grainmill::vmdk
