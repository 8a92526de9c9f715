// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"
#include "engine/io/open_policy.h"

#include <memory>
#include <string>

namespace grainmill {

// Finds and opens the parent that the image at `child_path` names. Its hint may be a path of
// another machine: it is tried as written, then by its last component beside the child (a Windows
// path is cut at its backslashes). Every try goes through `policy`; whether it is the right file is
// for the content IDs to say. Where there are none, it is what was written or nothing.
[[nodiscard]] Result<std::unique_ptr<File>> open_parent_file(FileSystem& files,
                                                             const OpenPolicy& policy,
                                                             const std::string& child_path,
                                                             const ParentRef& parent,
                                                             OpenMode mode = OpenMode::read);

}  // namespace grainmill
