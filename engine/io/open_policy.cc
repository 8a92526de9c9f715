// SPDX-License-Identifier: Apache-2.0
#include "engine/io/open_policy.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

namespace grainmill {
namespace {

std::string absolute_path(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

// `path` as seen from `folder`, both absolute, if it is written as lying below it.
std::optional<std::string> below(const std::string& folder, const std::string& path) {
  const std::string prefix = folder.ends_with('/') ? folder : folder + "/";
  if (!path.starts_with(prefix) || path.size() == prefix.size()) return std::nullopt;
  return path.substr(prefix.size());
}

// Tries `path` (absolute) through each allowed folder, as written and with the folder's links
// resolved. The texts only choose where to start: that the file is truly below is for
// open_beneath() to say.
std::optional<Result<std::unique_ptr<File>>> open_in_folders(
    FileSystem& files, const std::vector<std::string>& folders, const std::string& path,
    OpenMode mode) {
  for (const std::string& folder : folders) {
    const std::string written = absolute_path(folder);
    const std::string resolved = files.canonical(folder).value_or(written);
    for (const std::string& root : {written, resolved}) {
      const std::optional<std::string> relative = below(root, path);
      if (!relative) continue;
      auto opened = files.open_beneath(root, *relative, mode);
      if (opened || opened.error().kind != ErrorKind::denied) return opened;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<File>> open_named_file(FileSystem& files, const OpenPolicy& policy,
                                              const std::string& image_path,
                                              const std::string& name, OpenMode mode) {
  const std::string folder = folder_of(image_path);
  const bool is_absolute = name.starts_with('/');
  if (!is_absolute) {
    auto opened = files.open_beneath(folder, name, mode);
    if (opened || opened.error().kind != ErrorKind::denied) return opened;
  }
  const std::string path = is_absolute ? name : folder + "/" + name;
  if (policy.allow_any_path) return files.open(path, mode);

  std::vector<std::string> folders = policy.allowed_folders;
  folders.push_back(folder);
  // As written, then where its symbolic links lead: that may be an allowed folder too.
  const std::string normal = absolute_path(path);
  const std::string resolved = files.canonical(path).value_or(normal);
  for (const std::string& candidate : {normal, resolved})
    if (auto opened = open_in_folders(files, folders, candidate, mode)) return *std::move(opened);
  return fail(ErrorKind::denied, image_path,
              fmt::format("names the file '{}', which lies outside the image's folder; if you "
                          "trust this image, allow it "
                          "with --allow-dir {}",
                          name, folder_of(resolved)));
}

}  // namespace grainmill
