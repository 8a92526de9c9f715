// SPDX-License-Identifier: Apache-2.0
#include "engine/format/raw/open.h"

#include "engine/base/units.h"
#include "engine/format/flat_map.h"

namespace grainmill::raw {
namespace {

class RawLink final : public Link {
 public:
  RawLink(std::unique_ptr<File> file, std::uint64_t size_bytes)
      : file_(std::move(file)), size_bytes_(size_bytes) {
    description_.format = "raw";
    description_.extents.push_back(
        {.path = file_->path(), .type = "raw", .size_bytes = size_bytes});
  }

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  // Raw disks have no grains: any size will do.
  [[nodiscard]] std::uint64_t grain_bytes() const override { return 64 * kKiB; }
  [[nodiscard]] const LinkDescription& description() const override { return description_; }
  [[nodiscard]] std::vector<const File*> files() const override { return {file_.get()}; }
  [[nodiscard]] Status check() const override { return {}; }

  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override {
    return map_flat(*file_, {.guest_offset = offset, .file_offset = offset, .length = length}, out);
  }

  [[nodiscard]] Status inflate(const Extent& /*extent*/, std::span<const std::byte> /*stored*/,
                               Inflater& /*inflater*/,
                               std::span<std::byte> /*out*/) const override {
    return fail(ErrorKind::unsupported, file_->path(), "a raw disk holds no deflated grains");
  }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t size_bytes_;
  LinkDescription description_;
};

}  // namespace

Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& /*files*/,
                                   const OpenOptions& /*options*/) {
  GM_TRY(const FileInfo info, file->info());
  return std::make_unique<RawLink>(std::move(file), info.size_bytes);
}

}  // namespace grainmill::raw
