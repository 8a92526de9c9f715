// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace grainmill {

struct FindOptions {
  std::vector<std::string> folders;  // with all below them; symbolic links are not followed
  std::vector<std::string> files{};  // single ones, by absolute paths
  std::vector<std::string> raw;      // names (shell patterns) of disks that nothing gives away
  // Names (shell patterns) that say that a file is a disk: for FoundImages::strangers.
  std::vector<std::string> disk_names{};
  // Paths that somebody knows to be images. They are found, whatever has become of their contents.
  std::set<std::string> known{};
  std::vector<std::string> exclude;  // names (shell patterns) of files and folders to leave alone
  OpenOptions open;
};

struct FoundImage {
  std::string path;    // absolute, without symbolic links in it
  std::string format;  // the registry's name; empty where the header is damaged
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
};

struct FoundImages {
  std::vector<std::string> folders;  // as they are called in paths of images
  std::vector<FoundImage> images;    // sorted by path
  // Files that are called like disks, but are neither images nor parts of any, by their contents;
  // sorted.
  std::vector<std::string> strangers{};
  // Folders and files below them that could not be looked at; whether they are images is not known.
  std::vector<Error> failures;
};

// Whether a path is that of something in the folder, or anywhere below it.
[[nodiscard]] bool is_below(const std::string& path, const std::string& folder);

// Whether a path is below one of the folders (FoundImages::folders) and not excluded.
[[nodiscard]] bool is_in_scope(const std::string& path, const std::vector<std::string>& folders,
                               const std::vector<std::string>& exclude);

// The images in folders, by their content and never by their names (but raw ones). The files that a
// descriptor names are parts of its image; a base and its snapshots are an image each, a raw base
// too if its snapshot says that it is raw. Fails where one of the folders itself cannot be listed.
[[nodiscard]] Result<FoundImages> find_images(FileSystem& files, const FindOptions& options);

}  // namespace grainmill
