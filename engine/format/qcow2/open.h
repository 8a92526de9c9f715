// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <cstddef>
#include <memory>
#include <span>

namespace grainmill::qcow2 {

// Version 1 of the format is another one.
[[nodiscard]] bool probe(std::span<const std::byte> head);

// Opens one link of a qcow2 chain, to be read. What it says of its backing file is in its
// description; a name that is not a plain path is refused here.
[[nodiscard]] Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& files,
                                                 const OpenOptions& options);

}  // namespace grainmill::qcow2
