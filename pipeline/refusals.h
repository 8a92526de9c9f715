// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <string>

namespace grainmill {

// An output that is also read from would be destroyed by its own making.
[[nodiscard]] Status refuse_source_as_output(FileSystem& files, const Disk& disk,
                                             const std::string& output);

// For an output that never replaces a file. What is no regular file is for its maker to judge.
[[nodiscard]] Status refuse_older_output(FileSystem& files, const std::string& output);

}  // namespace grainmill
