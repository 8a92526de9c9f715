// SPDX-License-Identifier: Apache-2.0
#include "engine/io/file_system.h"

#include <algorithm>

namespace grainmill {

Result<std::unique_ptr<PendingFile>> FileSystem::create_partial(const std::string& path,
                                                                const std::string& /*until_then*/,
                                                                Durability /*durability*/) {
  return fail(ErrorKind::unsupported, path, "cannot be begun here and gone on with later");
}

Result<std::unique_ptr<File>> FileSystem::open_in_place(const std::string& path) {
  return open_write(path);
}

Result<std::unique_ptr<File>> FileSystem::open_standard_output() {
  return fail(ErrorKind::unsupported, kStandardOutput, "there is none here");
}

Result<std::vector<FolderEntry>> FileSystem::entries(const std::string& folder) {
  GM_TRY(const std::vector<std::string> names, list(folder));
  std::vector<FolderEntry> found;
  for (const std::string& name : names)
    if (name != "." && name != "..") found.push_back({name, EntryKind::file});
  std::ranges::sort(found, {}, &FolderEntry::name);
  return found;
}

std::string link_target(FileSystem& files, const std::string& path) {
  const Result<std::string> folder = files.canonical(folder_of(path));
  const Result<std::string> target = files.canonical(path);
  if (!folder || !target) return path;
  const bool is_link = *target != *folder + (folder->ends_with('/') ? "" : "/") + name_of(path);
  return is_link ? *target : path;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  if (slash == 0) return "/";
  return path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace grainmill
