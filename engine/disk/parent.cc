// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/parent.h"

#include <fmt/format.h>

#include <vector>

namespace grainmill {
namespace {

// A name that holds backslashes and no slash was written on Windows.
std::string last_component(const std::string& hint) {
  const bool windows = hint.find('/') == std::string::npos;
  const std::size_t cut = hint.find_last_of(windows ? "\\:" : "/");
  return cut == std::string::npos ? hint : hint.substr(cut + 1);
}

std::string with_slashes(std::string hint) {
  if (hint.find('/') != std::string::npos) return hint;
  for (char& c : hint)
    if (c == '\\') c = '/';
  return hint;
}

}  // namespace

Result<std::unique_ptr<File>> open_parent_file(FileSystem& files, const OpenPolicy& policy,
                                               const std::string& child_path,
                                               const ParentRef& parent, OpenMode mode) {
  std::vector<std::string> candidates = {parent.hint};
  if (parent.content_id)
    for (const std::string& other : {with_slashes(parent.hint), last_component(parent.hint)})
      if (!other.empty() && other != candidates.back()) candidates.push_back(other);

  std::string denial;
  std::string tried;
  for (const std::string& name : candidates) {
    auto opened = open_named_file(files, policy, child_path, name, mode);
    if (opened) return opened;
    const ErrorKind kind = opened.error().kind;
    if (kind != ErrorKind::not_found && kind != ErrorKind::denied) return opened;
    if (kind == ErrorKind::denied && denial.empty()) denial = opened.error().message;
    tried += (tried.empty() ? "'" : ", '") + name + "'";
  }
  return fail(denial.empty() ? ErrorKind::not_found : ErrorKind::denied, child_path,
              fmt::format("its parent '{}' was not found (tried {}, relative to this image's "
                          "folder); put the parent beside it{}",
                          parent.hint, tried, denial.empty() ? "" : ". As written, it " + denial));
}

}  // namespace grainmill
