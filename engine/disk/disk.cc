// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk.h"

#include "engine/disk/parent.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace grainmill {
namespace {

std::string id_text(const std::optional<std::uint32_t>& id) {
  return id ? fmt::format("{:08x}", *id) : "none";
}

Result<std::unique_ptr<Link>> open_top(FileSystem& files, const std::string& path,
                                       const DiskOptions& options) {
  GM_TRY(std::unique_ptr<File> file, files.open_read(path));
  const Format* format = nullptr;
  if (options.format.empty()) {
    GM_TRY(format, detect_format(*file, files));
  } else {
    format = format_by_name(options.format);
    if (format == nullptr)
      return fail(ErrorKind::invalid_argument, path,
                  fmt::format("format '{}' is not known", options.format));
  }
  return format->open(std::move(file), files, options.open);
}

// Adds one ancestor at a time, from the top down.
class ChainOpener {
 public:
  ChainOpener(FileSystem& files, const DiskOptions& options) : files_(files), options_(options) {}

  Result<std::vector<std::unique_ptr<Link>>> open(const std::string& path) {
    GM_TRY(std::unique_ptr<Link> top, open_top(files_, path, options_));
    GM_CHECK(add(std::move(top)));
    while (options_.open_parents && links_.back()->description().parent) {
      const ParentRef parent = *links_.back()->description().parent;
      if (links_.size() == Disk::kMaxDepth)
        return fail(ErrorKind::unsupported, child_path(),
                    fmt::format("chain of more than {} links", Disk::kMaxDepth));
      GM_TRY(std::unique_ptr<Link> link, open_parent(parent));
      GM_CHECK(compare_ids(parent, *link));
      GM_CHECK(add(std::move(link)));
    }
    return std::move(links_);
  }

 private:
  [[nodiscard]] const std::string& child_path() const {
    return links_.back()->files().front()->path();
  }

  Result<std::unique_ptr<Link>> open_parent(const ParentRef& parent) {
    GM_TRY(std::unique_ptr<File> file,
           open_parent_file(files_, options_.open.policy, child_path(), parent));
    GM_TRY(const Format* format, detect_format(*file, files_));
    OpenOptions options = options_.open;
    options.partly_hidden = true;
    return format->open(std::move(file), files_, options);
  }

  Status compare_ids(const ParentRef& parent, const Link& link) const {
    if (options_.ignore_content_ids || link.description().content_id == parent.content_id)
      return {};
    const std::string& parent_path = link.files().front()->path();
    return fail(
        ErrorKind::mismatch, child_path(),
        fmt::format("expects content ID {:08x} (parentCID) of its parent, but {} has {} (CID): the "
                    "parent was changed after "
                    "this snapshot was made, or is another disk; --ignore-cid reads the chain all "
                    "the same, with contents "
                    "that may be inconsistent",
                    parent.content_id, parent_path, id_text(link.description().content_id)));
  }

  Status add(std::unique_ptr<Link> link) {
    const File& file = *link->files().front();
    GM_TRY(const FileInfo info, file.info());
    const std::pair identity(info.device, info.inode);
    if (std::ranges::find(seen_, identity) != seen_.end())
      return fail(
          ErrorKind::corrupt, child_path(),
          fmt::format(
              "names {} as its parent, which is already part of this chain: the chain is a cycle",
              file.path()));
    seen_.push_back(identity);
    links_.push_back(std::move(link));
    return {};
  }

  FileSystem& files_;
  const DiskOptions& options_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen_;
};

}  // namespace

Disk::Disk(std::vector<std::unique_ptr<Link>> links) : links_(std::move(links)) {
  std::vector<const LinkMap*> maps;
  maps.reserve(links_.size());
  for (const std::unique_ptr<Link>& link : links_) maps.push_back(link.get());
  map_ = std::make_unique<ChainMap>(std::move(maps));
}

Result<Disk> Disk::open(FileSystem& files, const std::string& path, const DiskOptions& options) {
  GM_TRY(std::vector<std::unique_ptr<Link>> links, ChainOpener(files, options).open(path));
  return Disk(std::move(links));
}

Status Disk::check() const {
  for (const std::unique_ptr<Link>& link : links_) GM_CHECK(link->check());
  return {};
}

}  // namespace grainmill
