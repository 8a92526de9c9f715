// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/find_sources.h"

#include "engine/format/format.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <span>
#include <utility>

namespace grainmill {
namespace {

constexpr std::uint64_t kMaxListBytes = std::uint64_t{64} << 20;

// Who is called like this should be a disk.
const std::vector<std::string> kDiskNames = {"*.[vV][mM][dD][kK]", "*.[qQ][cC][oO][wW]2",
                                             "*.[oO][vV][aA]"};

bool has_wildcard(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

std::string join(const std::string& folder, const std::string& name) {
  return folder.ends_with('/') ? folder + name : folder + '/' + name;
}

// A pattern as the folder where it begins, and what names must be like from there on.
struct Pattern {
  std::string folder;
  std::vector<std::string> parts;
};

Pattern split_pattern(const std::string& text) {
  Pattern pattern{.folder = text.starts_with('/') ? "/" : ".", .parts = {}};
  const std::size_t cut = text.find_last_of('/', text.find_first_of("*?["));
  if (cut != std::string::npos && cut != 0) pattern.folder = text.substr(0, cut);
  std::size_t begin = cut == std::string::npos ? 0 : cut + 1;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('/', begin), text.size());
    if (const std::string part = text.substr(begin, end - begin); !part.empty() && part != ".")
      pattern.parts.push_back(part);
    begin = end + 1;
  }
  return pattern;
}

class SourceFinder {
 public:
  SourceFinder(FileSystem& files, const SourceOptions& options, bool looks_into = true)
      : files_(files), options_(options), looks_into_(looks_into) {}

  Result<FoundSources> run() {
    for (const std::string& source : options_.sources)
      GM_CHECK(source.starts_with('@') ? add_list(source.substr(1)) : add(source));
    return std::move(found_);
  }

 private:
  Status add_list(const std::string& path) {
    GM_TRY(const std::unique_ptr<File> file, files_.open_read(path));
    GM_TRY(const FileInfo info, file->info());
    if (info.size_bytes > kMaxListBytes)
      return fail(ErrorKind::invalid_argument, path,
                  fmt::format("has {} bytes: that is no list of disks", info.size_bytes));
    std::string text(info.size_bytes, '\0');
    GM_CHECK(file->read_exact_at(0, std::as_writable_bytes(std::span(text))));
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string line = text.substr(begin, end - begin);
      begin = end;
      ++number;
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty() || line.starts_with('#')) continue;
      if (Status added = add(line); !added) {
        Error error = std::move(added).error();
        error.message += fmt::format(" (line {} of {})", number, path);
        return std::unexpected(std::move(error));
      }
    }
    return {};
  }

  Status add(const std::string& source) {
    const Result<std::unique_ptr<File>> file = files_.open_read(source);
    if (file) return add_single(source);
    const Result<std::vector<FolderEntry>> entries = files_.entries(source);
    if (entries) return add_folder(source);
    if (entries.error().kind != ErrorKind::not_found) {
      found_.failures.push_back(entries.error());
      return {};
    }
    if (file.error().kind != ErrorKind::not_found) return add_single(source);
    if (has_wildcard(source)) return add_pattern(source);
    return fail(ErrorKind::not_found, source, "there is no such folder or image");
  }

  Status add_folder(const std::string& source) {
    GM_TRY(const std::string root, files_.canonical(source));
    return add_found({.folders = {root}, .raw = {}, .exclude = {}, .open = {}}, root);
  }

  // Symbolic links in its own name stay: what the image names is beside it under that name.
  Status add_single(const std::string& source) {
    if (!looks_into_) return {};
    const std::string name = name_of(source);
    std::string folder =
        files_.canonical(folder_of(source))
            .value_or(std::filesystem::absolute(folder_of(source)).lexically_normal().string());
    SourceImage image{.path = join(folder, name), .relative = name, .is_named = true};
    if (matches(name, options_.raw) && !is_recognised(image.path)) image.format = "raw";
    add_image(std::move(image));
    return {};
  }

  [[nodiscard]] bool is_recognised(const std::string& path) const {
    const Result<std::unique_ptr<File>> file = files_.open_read(path);
    return file && detect_format(**file, files_).has_value();
  }

  Status add_pattern(const std::string& source) {
    const Pattern pattern = split_pattern(source);
    GM_TRY(const std::string root, files_.canonical(pattern.folder));
    FindOptions find{.folders = {}, .raw = {}, .exclude = {}, .open = {}};
    expand(root, pattern.parts, find);
    if (find.files.empty() && find.folders.empty())
      return fail(ErrorKind::not_found, source, "no folder or file is called like this pattern");
    return add_found(std::move(find), root);
  }

  // As a shell does: names that begin with a dot only where the pattern says so.
  void expand(const std::string& folder, std::span<const std::string> parts, FindOptions& find) {
    if (parts.empty()) return;
    const Result<std::vector<FolderEntry>> entries = files_.entries(folder);
    if (!entries) {
      found_.failures.push_back(entries.error());
      return;
    }
    const bool is_last = parts.size() == 1;
    for (const FolderEntry& entry : *entries) {
      if (::fnmatch(parts[0].c_str(), entry.name.c_str(), FNM_PERIOD) != 0) continue;
      if (matches(entry.name, options_.exclude)) continue;
      const std::string path = join(folder, entry.name);
      if (entry.kind == EntryKind::folder && !is_last)
        expand(path, parts.subspan(1), find);
      else if (entry.kind == EntryKind::folder)
        find.folders.push_back(path);
      else if (entry.kind == EntryKind::file && is_last)
        find.files.push_back(path);
    }
  }

  Status add_found(FindOptions find, const std::string& root) {
    if (!looks_into_) return {};
    find.raw = options_.raw;
    find.exclude = options_.exclude;
    find.disk_names = kDiskNames;
    find.open.policy = options_.policy;
    Result<FoundImages> images = find_images(files_, find);
    if (!images && images.error().kind == ErrorKind::not_found)
      return std::unexpected(std::move(images).error());
    if (!images) {
      found_.failures.push_back(std::move(images).error());
      return {};
    }
    std::ranges::move(images->failures, std::back_inserter(found_.failures));
    for (const FoundImage& image : images->images)
      add_below(root, image.path, image.format == "raw" ? "raw" : "");
    for (const std::string& path : images->strangers) add_below(root, path, "");
    return {};
  }

  void add_below(const std::string& root, const std::string& path, const std::string& format) {
    if (is_below(options_.target_folder, root) && is_below(path, options_.target_folder)) return;
    const std::size_t begin = root.size() + (root.ends_with('/') ? 0 : 1);
    // The base of a snapshot may be elsewhere.
    const std::string relative = is_below(path, root) ? path.substr(begin) : name_of(path);
    add_image({.path = path, .relative = relative, .format = format});
  }

  void add_image(SourceImage image) {
    const auto [known, is_new] = places_.emplace(image.path, found_.images.size());
    if (is_new)
      found_.images.push_back(std::move(image));
    else if (image.is_named)
      found_.images[known->second].is_named = true;
  }

  FileSystem& files_;
  const SourceOptions& options_;
  bool looks_into_;
  FoundSources found_;
  std::map<std::string, std::size_t> places_;  // by path
};

}  // namespace

Result<FoundSources> find_sources(FileSystem& files, const SourceOptions& options) {
  return SourceFinder(files, options).run();
}

Status check_sources(FileSystem& files, const SourceOptions& options) {
  GM_TRY([[maybe_unused]] const FoundSources found, SourceFinder(files, options, false).run());
  return {};
}

}  // namespace grainmill
