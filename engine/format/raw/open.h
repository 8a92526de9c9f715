// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <memory>

namespace grainmill::raw {

// A raw disk: the file is the guest disk. Its file system's holes are reported as zeros.
[[nodiscard]] Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& files,
                                                 const OpenOptions& options);

}  // namespace grainmill::raw
