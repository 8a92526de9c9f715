// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <string>
#include <vector>

namespace grainmill {

struct FindOptions {
  std::vector<std::string> folders;  // with all below them; symbolic links are not followed
  std::vector<std::string> raw;      // names (shell patterns) of disks that nothing gives away
  OpenOptions open;
};

struct FoundImage {
  std::string path;    // absolute, without symbolic links in it
  std::string format;  // the registry's name
};

struct FoundImages {
  std::vector<std::string> folders;  // as they are called in paths of images
  std::vector<FoundImage> images;    // sorted by path
  // Folders and files below them that could not be looked at; whether they are images is not known.
  std::vector<Error> failures;
};

// The images in folders, by their content and never by their names (but raw ones). The files that a
// descriptor names are parts of its image; a base and its snapshots are an image each. Fails where
// one of the folders itself cannot be listed.
[[nodiscard]] Result<FoundImages> find_images(FileSystem& files, const FindOptions& options);

}  // namespace grainmill
