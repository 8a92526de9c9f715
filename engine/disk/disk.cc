// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk.h"

#include "engine/base/arith.h"
#include "engine/disk/disk_reader.h"
#include "engine/disk/disk_writer.h"
#include "engine/disk/parent.h"
#include "engine/format/flat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace grainmill {
namespace {

std::string id_text(const std::optional<std::uint32_t>& id) {
  return id ? fmt::format("{:08x}", *id) : "none";
}

// Adds one ancestor at a time, from the top down.
class ChainOpener {
 public:
  ChainOpener(FileSystem& files, const DiskOptions& options, Findings& findings)
      : files_(files), options_(options), findings_(findings) {}

  Result<std::vector<std::unique_ptr<Link>>> open(const std::string& path) {
    GM_TRY(std::unique_ptr<Link> top, open_link(files_, path, options_));
    GM_CHECK(add(std::move(top)));
    while (options_.open_parents && links_.back()->description().parent) {
      const ParentRef parent = *links_.back()->description().parent;
      Result<std::unique_ptr<Link>> link = open_parent(parent);
      if (!link) {
        GM_CHECK(findings_.add({.severity = severity_of(link.error()),
                                .code = "parent",
                                .what = std::move(link).error()}));
        break;
      }
      if (Status same = compare_ids(parent, **link); !same)
        GM_CHECK(findings_.add({.code = "content-id",
                                .what = std::move(same).error(),
                                .repair = "`grainmill check --repair --accept-parent`, if this is "
                                          "the parent as it was"}));
      if (Status added = add(*std::move(link)); !added) {
        GM_CHECK(findings_.add({.code = "cycle", .what = std::move(added).error()}));
        break;
      }
    }
    return std::move(links_);
  }

 private:
  [[nodiscard]] const std::string& child_path() const {
    return links_.back()->files().front()->path();
  }

  Result<std::unique_ptr<Link>> open_parent(const ParentRef& parent) {
    if (links_.size() == Disk::kMaxDepth)
      return fail(ErrorKind::unsupported, child_path(),
                  fmt::format("chain of more than {} links", Disk::kMaxDepth));
    // Parents are only read, for other disks may build on them; and while this disk is written,
    // nobody else may write them.
    const OpenMode mode =
        options_.open.mode == OpenMode::read ? OpenMode::read : OpenMode::read_stable;
    GM_TRY(std::unique_ptr<File> file,
           open_parent_file(files_, options_.open.policy, child_path(), parent, mode));
    GM_TRY(const Format* format, format_of(parent, *file));
    OpenOptions options = options_.open;
    options.partly_hidden = true;
    options.mode = mode;
    return format->open(std::move(file), files_, options);
  }

  Result<const Format*> format_of(const ParentRef& parent, const File& file) {
    if (parent.format.empty()) {
      auto detected = detect_format(file, files_);
      // Only such links could have said that it is raw.
      if (!detected && !parent.content_id)
        detected.error().message += fmt::format(
            "; {} builds on it and does not say its format: `qemu-img rebase -u -F FORMAT -b FILE` "
            "writes that down",
            child_path());
      return detected;
    }
    if (const Format* format = format_by_name(parent.format)) return format;
    return fail(ErrorKind::unsupported, child_path(),
                fmt::format("says that its parent {} is of the format '{}', which is not read",
                            file.path(), parent.format));
  }

  Status compare_ids(const ParentRef& parent, const Link& link) const {
    if (!parent.content_id) return {};
    if (link.description().content_id == parent.content_id) return {};
    const bool writing = options_.open.mode == OpenMode::read_write;
    if (options_.ignore_content_ids && !writing) return {};
    const std::string& parent_path = link.files().front()->path();
    const LinkDescription& child = links_.back()->description();
    if (child.content_id && child.content_id == link.description().content_id)
      return fail(ErrorKind::mismatch, child_path(),
                  fmt::format("a commit into its parent {} was not finished (the parent has this "
                              "snapshot's content ID {:08x} already): run `grainmill commit` "
                              "again; nothing is lost",
                              parent_path, *child.content_id));
    return fail(
        ErrorKind::mismatch, child_path(),
        fmt::format("expects content ID {:08x} (parentCID) of its parent, but {} has {} (CID): the "
                    "parent was changed after "
                    "this snapshot was made, or is another disk; {}",
                    *parent.content_id, parent_path, id_text(link.description().content_id),
                    writing ? "a chain like this is not written; `grainmill rebase -u` mends it if "
                              "you are sure that this is the parent"
                            : "--ignore-cid reads the chain all the same, with contents that may "
                              "be inconsistent"));
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
  Findings& findings_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen_;
};

}  // namespace

Result<std::vector<std::unique_ptr<Link>>> open_chain(FileSystem& files, const std::string& path,
                                                      const DiskOptions& options,
                                                      Findings& findings) {
  return ChainOpener(files, options, findings).open(path);
}

Result<std::unique_ptr<Link>> open_link(FileSystem& files, const std::string& path,
                                        const DiskOptions& options) {
  GM_TRY(std::unique_ptr<File> file, files.open(path, options.open.mode));
  const Format* format = nullptr;
  if (options.format.empty()) {
    GM_TRY(format, detect_format(*file, files));
  } else {
    format = format_by_name(options.format);
    if (format == nullptr)
      return fail(ErrorKind::invalid_argument, path,
                  fmt::format("format '{}' is not known", options.format));
    GM_CHECK(check_format(*file, *format));
  }
  return format->open(std::move(file), files, options.open);
}

Disk::Disk(std::vector<std::unique_ptr<Link>> links, bool whole_sectors)
    : links_(std::move(links)) {
  std::vector<const LinkMap*> maps;
  std::vector<const Link*> readable;
  for (const std::unique_ptr<Link>& link : links_) {
    maps.push_back(link.get());
    readable.push_back(link.get());
  }
  const std::uint64_t size_bytes = links_.front()->size_bytes();
  map_ = std::make_unique<ChainMap>(
      std::move(maps), whole_sectors ? align_up(size_bytes, kSectorBytes) : size_bytes);
  reader_ = std::make_unique<DiskReader>(*map_, std::move(readable));
}

Disk::~Disk() = default;
Disk::Disk(Disk&&) noexcept = default;
Disk& Disk::operator=(Disk&& other) noexcept = default;

Result<Disk> Disk::open(FileSystem& files, const std::string& path, const DiskOptions& options) {
  FirstDamage first;
  GM_TRY(std::vector<std::unique_ptr<Link>> links, open_chain(files, path, options, first));
  Disk disk(std::move(links), options.whole_sectors);
  if (options.open.mode == OpenMode::read_write) {
    WritableLink* link = disk.links_.front()->writable();
    if (link == nullptr)
      return fail(ErrorKind::unsupported, path, "disks of this format cannot be written");
    GM_TRY(disk.writer_, DiskWriter::open(*link, *disk.reader_));
  }
  return disk;
}

Disk Disk::of_links(std::vector<std::unique_ptr<Link>> links) {
  return Disk(std::move(links), false);
}

Disk Disk::of_link(std::unique_ptr<Link> link) {
  std::vector<std::unique_ptr<Link>> links;
  links.push_back(std::move(link));
  return of_links(std::move(links));
}

Status Disk::check() const {
  for (const std::unique_ptr<Link>& link : links_) GM_CHECK(link->check());
  return {};
}

Status Disk::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  return reader_->read_at(offset, out);
}

Status Disk::status(std::uint64_t offset, std::uint64_t length, ExtentList& out) const {
  out.clear();
  GM_CHECK(reader_->check_range(offset, length));
  GM_TRY(const ClusterMap* map, reader_->clusters());
  for (const std::uint64_t end = offset + length; offset < end;) {
    GM_TRY(const Extent run, map->find_run(offset, end - offset));
    offset += run.length;
    const bool own = writer_ && run.kind == ExtentKind::data && run.link == 0;
    if (own && writer_->is_flat(run.guest_offset)) {
      GM_CHECK(map_flat(*run.file, {run.guest_offset, run.file_offset, run.length}, out));
    } else {
      append_merged(out, run);
    }
  }
  return {};
}

Status Disk::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  GM_CHECK(reader_->check_range(offset, bytes.size()));
  return writer_->write_at(offset, bytes);
}

Status Disk::write_zeroes(std::uint64_t offset, std::uint64_t length) {
  GM_CHECK(reader_->check_range(offset, length));
  return writer_->write_zeroes(offset, length);
}

Status Disk::discard(std::uint64_t offset, std::uint64_t length) {
  GM_CHECK(reader_->check_range(offset, length));
  return writer_->discard(offset, length);
}

Status Disk::flush() { return writer_->flush(); }
Status Disk::close() { return writer_->close(); }
Status Disk::set_content_id(std::uint32_t id) { return writer_->set_content_id(id); }

}  // namespace grainmill
