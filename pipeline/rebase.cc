// SPDX-License-Identifier: Apache-2.0
#include "pipeline/rebase.h"

#include "engine/base/units.h"
#include "engine/io/open_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace grainmill {
namespace {

constexpr std::uint64_t kStepBytes = 64 * kKiB;

// The new parent, opened as the image will find it, with all its ancestors.
Result<Disk> open_parent_named(FileSystem& files, const RebaseOptions& options,
                               const std::string& name) {
  // Through the policy first, so that what is stored can be opened again.
  GM_TRY(const std::unique_ptr<File> file,
         open_named_file(files, options.disk.open.policy, options.image, name));
  DiskOptions reading = options.disk;
  reading.format.clear();
  return Disk::open(files, file->path(), reading);
}

Result<ParentRef> describe_parent(const Disk& parent, const std::string& name) {
  const LinkDescription& description = parent.link(0).description();
  if (description.content_id && description.format == "vmdk")
    return ParentRef{name, description.content_id};
  return fail(ErrorKind::unsupported, parent.link(0).files().front()->path(),
              "has no content ID (CID), so no VMDK can be a snapshot of it");
}

// Copies what an image reads from its old parents, where its new ones read differently, into it.
class Copier {
 public:
  Copier(Disk& image, const Disk* parent, const RebaseOptions& options)
      : image_(image), parent_(parent), options_(options), old_(kStepBytes), new_(kStepBytes) {}

  Status run(RebaseReport& report) {
    // The contents stay what they are, and so does their ID.
    if (const auto id = image_.link(0).description().content_id)
      GM_CHECK(image_.set_content_id(*id));
    const std::uint64_t window = image_.map().window_bytes();
    ExtentList own;
    for (std::uint64_t at = 0; at < image_.size_bytes(); at += window) {
      const std::uint64_t length = std::min(window, image_.size_bytes() - at);
      own.clear();
      GM_CHECK(image_.link(0).map(at, length, own));
      for (const Extent& extent : own)
        if (extent.kind == ExtentKind::hole) GM_CHECK(copy(extent, report));
      if (options_.progress) options_.progress(at + length, image_.size_bytes());
    }
    return {};
  }

 private:
  // Most holes are zeros in both, and need not be read.
  Status copy(const Extent& hole, RebaseReport& report) {
    ExtentList had;
    GM_CHECK(image_.status(hole.guest_offset, hole.length, had));
    for (const Extent& extent : had) {
      bool same = false;
      if (extent.reads_as_zero()) {
        GM_TRY(same, new_reads_as_zero(extent));
      }
      if (!same) GM_CHECK(copy_steps(extent, report));
    }
    return {};
  }

  Result<bool> new_reads_as_zero(const Extent& range) const {
    const std::uint64_t end =
        std::min(range.guest_end(), parent_ == nullptr ? 0 : parent_->size_bytes());
    if (range.guest_offset >= end) return true;
    ExtentList has;
    GM_CHECK(parent_->status(range.guest_offset, end - range.guest_offset, has));
    return std::ranges::all_of(has, [](const Extent& extent) { return extent.reads_as_zero(); });
  }

  Status copy_steps(const Extent& range, RebaseReport& report) {
    for (std::uint64_t at = range.guest_offset; at < range.guest_end();) {
      if (options_.cancelled != nullptr && options_.cancelled->load())
        return fail(ErrorKind::cancelled, options_.image,
                    "rebase stopped half-way; the image reads as before and still names its old "
                    "parent");
      const std::uint64_t length = std::min(kStepBytes - at % kStepBytes, range.guest_end() - at);
      const std::span<std::byte> had = std::span(old_).first(length);
      const std::span<std::byte> has = std::span(new_).first(length);
      GM_CHECK(image_.read_at(at, had));
      GM_CHECK(read_new(at, has));
      if (std::memcmp(had.data(), has.data(), length) != 0) {
        GM_CHECK(image_.write_at(at, had));
        report.copied_bytes += length;
      }
      at += length;
    }
    return {};
  }

  // What is behind the end of the new parent, or of none, reads as zeros.
  Status read_new(std::uint64_t at, std::span<std::byte> out) const {
    const std::uint64_t size = parent_ == nullptr ? 0 : parent_->size_bytes();
    const std::uint64_t inside = at < size ? std::min<std::uint64_t>(out.size(), size - at) : 0;
    std::ranges::fill(out.subspan(inside), std::byte{0});
    return inside == 0 ? Status{} : parent_->read_at(at, out.first(inside));
  }

  Disk& image_;
  const Disk* parent_;
  const RebaseOptions& options_;
  std::vector<std::byte> old_;
  std::vector<std::byte> new_;
};

Status copy_differences(FileSystem& files, const RebaseOptions& options, const Disk* parent,
                        RebaseReport& report) {
  DiskOptions writing = options.disk;
  writing.open.mode = OpenMode::read_write;
  GM_TRY(Disk image, Disk::open(files, options.image, writing));
  const Status copied = Copier(image, parent, options).run(report);
  const Status closed = image.close();
  GM_CHECK(copied);
  return closed;
}

Status store_parent(FileSystem& files, const RebaseOptions& options, const ParentRef& parent) {
  DiskOptions writing = options.disk;
  writing.open.mode = OpenMode::read_write;
  GM_TRY(const std::unique_ptr<Link> link, open_link(files, options.image, writing));
  if (link->writable() == nullptr)
    return fail(ErrorKind::unsupported, options.image, "images of this format name no parent");
  return link->writable()->store_parent(parent);
}

}  // namespace

Result<RebaseReport> rebase(FileSystem& files, const RebaseOptions& options) {
  GM_TRY(const std::unique_ptr<Link> link, open_link(files, options.image, options.disk));
  RebaseReport report{.before = link->description().parent, .after = {}};
  if (!options.parent && !report.before)
    return fail(ErrorKind::invalid_argument, options.image,
                "names no parent; say which one it should have with -b");
  const std::string name = options.parent ? *options.parent : report.before->hint;

  std::unique_ptr<Disk> parent;
  if (!name.empty()) {
    GM_TRY(Disk opened, open_parent_named(files, options, name));
    parent = std::make_unique<Disk>(std::move(opened));
    GM_TRY(report.after, describe_parent(*parent, name));
    GM_TRY(const FileInfo own, link->files().front()->info());
    for (std::size_t i = 0; i < parent->depth(); ++i) {
      GM_TRY(const FileInfo ancestor, parent->link(i).files().front()->info());
      if (is_same_file(own, ancestor))
        return fail(ErrorKind::invalid_argument, options.image,
                    fmt::format("cannot be a snapshot of {}, which builds on it", name));
    }
  }
  if (options.dry_run) return report;
  if (!options.header_only) GM_CHECK(copy_differences(files, options, parent.get(), report));
  GM_CHECK(store_parent(files, options, report.after.value_or(ParentRef{"", kNoContentId})));
  return report;
}

}  // namespace grainmill
