// SPDX-License-Identifier: Apache-2.0
#include "pipeline/find_images.h"

#include "engine/disk/parent.h"
#include "engine/format/format.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/open.h"

#include <fnmatch.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

namespace grainmill {
namespace {

using Identity = std::pair<std::uint64_t, std::uint64_t>;  // device and inode

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

class Finder {
 public:
  Finder(FileSystem& files, const FindOptions& options) : files_(files), options_(options) {}

  Result<FoundImages> run() {
    for (const std::string& folder : options_.folders) {
      GM_TRY(std::string root, files_.canonical(folder));
      GM_TRY(const std::vector<FolderEntry> entries, files_.entries(root));
      found_.folders.push_back(root);
      walk(root, entries);
    }
    for (const std::string& file : options_.files) add_file(file, name_of(file));
    // A folder and one below it may both be named.
    std::ranges::sort(candidates_, {}, &Candidate::path);
    const auto same = std::ranges::unique(candidates_, {}, &Candidate::path);
    candidates_.erase(same.begin(), same.end());
    for (Candidate& each : candidates_) look_into(each);
    std::ranges::move(raw_parents_, std::back_inserter(candidates_));
    for (Candidate& each : candidates_)
      if (!each.is_part && !parts_.contains(each.identity))
        found_.images.push_back({std::move(each.path), std::move(each.format), each.identity.first,
                                 each.identity.second});
    std::ranges::sort(found_.images, {}, &FoundImage::path);
    const auto twice = std::ranges::unique(found_.images, {}, &FoundImage::path);
    found_.images.erase(twice.begin(), twice.end());
    add_strangers();
    return std::move(found_);
  }

 private:
  struct Candidate {
    std::string path;
    std::string format;
    Identity identity;
    bool is_part = false;
  };

  void walk(const std::string& root, const std::vector<FolderEntry>& entries) {
    std::vector<std::string> waiting;
    add_all(root, entries, waiting);
    while (!waiting.empty()) {
      const std::string folder = std::move(waiting.back());
      waiting.pop_back();
      Result<std::vector<FolderEntry>> below = files_.entries(folder);
      if (below)
        add_all(folder, *below, waiting);
      else
        found_.failures.push_back(std::move(below).error());
    }
  }

  void add_all(const std::string& folder, const std::vector<FolderEntry>& entries,
               std::vector<std::string>& waiting) {
    for (const FolderEntry& entry : entries) {
      if (matches(entry.name, options_.exclude)) continue;
      std::string path = folder.ends_with('/') ? folder + entry.name : folder + '/' + entry.name;
      if (entry.kind == EntryKind::folder)
        waiting.push_back(std::move(path));
      else if (entry.kind == EntryKind::file)
        add_file(std::move(path), entry.name);
    }
  }

  void add_file(std::string path, const std::string& name) {
    Result<std::string> format = format_of(path, name);
    if (!format) {
      // Removed since the folder was listed.
      if (format.error().kind != ErrorKind::not_found)
        found_.failures.push_back(std::move(format).error());
      return;
    }
    if (!format->empty() || vmdk::has_lost_header(head_) || options_.known.contains(path))
      candidates_.push_back({std::move(path), *std::move(format), identity_, false});
    else if (matches(name, options_.disk_names))
      strangers_.push_back({std::move(path), "", identity_, false});
  }

  void add_strangers() {
    for (Candidate& each : strangers_)
      if (!parts_.contains(each.identity) && !raw_bases_.contains(each.identity) &&
          !vmdk::find_owner(files_, each.path))
        found_.strangers.push_back(std::move(each.path));
    std::ranges::sort(found_.strangers);
    const auto twice = std::ranges::unique(found_.strangers);
    found_.strangers.erase(twice.begin(), twice.end());
  }

  // Empty for what is no image. detect_format() would also look for what it is instead.
  Result<std::string> format_of(const std::string& path, const std::string& name) {
    GM_TRY(const std::unique_ptr<File> file, files_.open_read(path));
    GM_TRY(const FileInfo info, file->info());
    identity_ = {info.device, info.inode};
    head_.resize(kProbeBytes);
    GM_TRY(const std::size_t size, file->read_at(0, head_));
    head_.resize(size);
    for (const Format& format : formats())
      if (format.probe != nullptr && format.probe(head_)) return std::string(format.name);
    const bool is_raw = matches(name, options_.raw);
    return is_raw ? "raw" : "";
  }

  // Which files are parts of this one. One that cannot be opened is an image all the same, and for
  // who checks it to speak of.
  void look_into(Candidate& candidate) {
    if (candidate.format == "raw") return;
    DiskOptions disk;
    disk.format = candidate.format;
    disk.open = options_.open;
    const Result<std::unique_ptr<Link>> link = open_link(files_, candidate.path, disk);
    if (!link) {
      candidate.is_part = link.error().kind == ErrorKind::unsupported &&
                          vmdk::find_owner(files_, candidate.path).has_value();
      return;
    }
    for (const File* file : (*link)->files()) {
      const Result<FileInfo> info = file->info();
      if (info && Identity(info->device, info->inode) != candidate.identity)
        parts_.emplace(info->device, info->inode);
    }
    if (const std::optional<ParentRef>& parent = (*link)->description().parent;
        parent && parent->format == "raw")
      add_raw_parent(candidate.path, *parent);
  }

  // Its own contents do not tell that it is one. Where it cannot be opened, its child is damaged.
  void add_raw_parent(const std::string& child, const ParentRef& parent) {
    const Result<std::unique_ptr<File>> file =
        open_parent_file(files_, options_.open.policy, child, parent);
    if (!file) return;
    const Result<FileInfo> info = (*file)->info();
    if (info) raw_bases_.emplace(info->device, info->inode);
    Result<std::string> path = files_.canonical((*file)->path());
    if (info && path && is_in_scope(*path, found_.folders, options_.exclude))
      raw_parents_.push_back({*std::move(path), "raw", {info->device, info->inode}, false});
  }

  FileSystem& files_;
  const FindOptions& options_;
  FoundImages found_;
  std::vector<Candidate> candidates_;
  std::vector<Candidate> raw_parents_;
  std::vector<Candidate> strangers_;
  std::set<Identity> parts_;
  std::set<Identity> raw_bases_;
  std::vector<std::byte> head_;
  Identity identity_;  // of the file that format_of() opened last
};

}  // namespace

bool is_below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.starts_with(folder) &&
         (folder.ends_with('/') || path[folder.size()] == '/');
}

bool is_in_scope(const std::string& path, const std::vector<std::string>& folders,
                 const std::vector<std::string>& exclude) {
  return std::ranges::any_of(folders, [&](const std::string& folder) {
    if (!is_below(path, folder)) return false;
    // Each name behind the folder, as the walk meets them.
    std::size_t begin = folder.size() + (folder.ends_with('/') ? 0 : 1);
    while (true) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      if (matches(path.substr(begin, end - begin), exclude)) return false;
      if (end == path.size()) return true;
      begin = end + 1;
    }
  });
}

Result<FoundImages> find_images(FileSystem& files, const FindOptions& options) {
  return Finder(files, options).run();
}

}  // namespace grainmill
