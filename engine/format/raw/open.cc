// SPDX-License-Identifier: Apache-2.0
#include "engine/format/raw/open.h"

#include "engine/base/units.h"
#include "engine/format/flat_map.h"

namespace grainmill::raw {
namespace {

class RawLink final : public Link, private WritableLink {
 public:
  RawLink(std::unique_ptr<File> file, std::uint64_t size_bytes, OpenMode mode)
      : file_(std::move(file)), size_bytes_(size_bytes), mode_(mode) {
    description_.format = "raw";
    description_.extents.push_back(
        {.path = file_->path(), .type = "raw", .size_bytes = size_bytes});
  }

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  // Raw disks have no grains: any size will do.
  [[nodiscard]] std::uint64_t grain_bytes() const override { return 64 * kKiB; }
  [[nodiscard]] const LinkDescription& description() const override { return description_; }
  [[nodiscard]] std::vector<const File*> files() const override { return {file_.get()}; }
  [[nodiscard]] Status examine(Findings& /*findings*/) const override { return {}; }

  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override {
    // Holes of a file that is being written come and go.
    if (mode_ == OpenMode::read_write) {
      append_merged(out, {.guest_offset = offset,
                          .length = length,
                          .kind = ExtentKind::data,
                          .file = file_.get(),
                          .file_offset = offset});
      return {};
    }
    return map_flat(*file_, {.guest_offset = offset, .file_offset = offset, .length = length}, out);
  }

  [[nodiscard]] Status inflate(const Extent& /*extent*/, std::span<const std::byte> /*stored*/,
                               Inflater& /*inflater*/,
                               std::span<std::byte> /*out*/) const override {
    return fail(ErrorKind::unsupported, file_->path(), "a raw disk holds no deflated grains");
  }

  [[nodiscard]] WritableLink* writable() override {
    return mode_ == OpenMode::read_write ? this : nullptr;
  }

 private:
  [[nodiscard]] Status begin() override {
    parts_ = {{0, size_bytes_, file_.get(), 0, nullptr}};
    return file_->sync();
  }
  [[nodiscard]] std::span<const WritablePart> parts() const override { return parts_; }
  [[nodiscard]] Status store_content_id(std::optional<std::uint32_t> /*id*/) override { return {}; }
  [[nodiscard]] Status store_parent(const ParentRef& /*parent*/) override {
    return fail(ErrorKind::unsupported, file_->path(), "a raw disk has no parent");
  }
  [[nodiscard]] Status end() override { return file_->sync(); }

  std::unique_ptr<File> file_;
  std::uint64_t size_bytes_;
  OpenMode mode_;
  std::vector<WritablePart> parts_;
  LinkDescription description_;
};

}  // namespace

Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& /*files*/,
                                   const OpenOptions& options) {
  GM_TRY(const FileInfo info, file->info());
  return std::make_unique<RawLink>(std::move(file), info.size_bytes, options.mode);
}

}  // namespace grainmill::raw
