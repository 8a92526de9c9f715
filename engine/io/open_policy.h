// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// Which files an *image* may name. An image is not trusted: a descriptor can say "/etc/shadow" as
// easily as "disk-flat.vmdk". A file it names must lie in or below the folder of the image that
// names it, or of one listed here. Files that the user names are not subject to it.
struct OpenPolicy {
  std::vector<std::string> allowed_folders;  // more folders, with all below them
  bool allow_any_path = false;               // images are trusted: open whatever they name
};

// Opens `name` as written in the image at `image_path` (relative names are relative to that image's
// folder). Fails with `denied` when the policy forbids it, saying which option would allow it.
[[nodiscard]] Result<std::unique_ptr<File>> open_named_file(FileSystem& files,
                                                            const OpenPolicy& policy,
                                                            const std::string& image_path,
                                                            const std::string& name,
                                                            OpenMode mode = OpenMode::read);

}  // namespace grainmill
