// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arith.h"
#include "engine/format/flat_map.h"
#include "engine/format/vmdk/extent_map.h"

#include <fmt/format.h>

namespace grainmill::vmdk {
namespace {

class ZeroMap final : public ExtentMap {
 public:
  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override {
    append_merged(
        out,
        {.guest_offset = range.guest_offset, .length = range.length, .kind = ExtentKind::zero});
    return {};
  }
};

class FlatMap final : public ExtentMap {
 public:
  FlatMap(std::unique_ptr<File> file, std::uint64_t offset, OpenMode mode)
      : file_(std::move(file)), offset_(offset), mode_(mode) {}

  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override {
    // Holes of a file that is being written come and go.
    if (mode_ == OpenMode::read_write) {
      append_merged(out, {.guest_offset = range.guest_offset,
                          .length = range.length,
                          .kind = ExtentKind::data,
                          .file = file_.get(),
                          .file_offset = offset_ + range.address});
      return {};
    }
    return map_flat(*file_, {range.guest_offset, offset_ + range.address, range.length}, out);
  }
  [[nodiscard]] const File* file() const override { return file_.get(); }
  [[nodiscard]] WriteTarget write_target() override { return {file_.get(), offset_, nullptr}; }
  // What can be read now must not go with the next power cut.
  [[nodiscard]] Status begin_writing() override { return file_->sync(); }
  [[nodiscard]] Status end_writing() override { return file_->sync(); }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t offset_;
  OpenMode mode_;
};

}  // namespace

std::unique_ptr<ExtentMap> make_zero_map() { return std::make_unique<ZeroMap>(); }

Result<std::unique_ptr<ExtentMap>> open_flat_map(std::unique_ptr<File> file, std::uint64_t offset,
                                                 const ExtentClaim& claim, OpenMode mode) {
  GM_TRY(const FileInfo info, file->info());
  if (!range_within(offset, claim.size_bytes, info.size_bytes))
    return fail(
        ErrorKind::corrupt, file->path(), info.size_bytes,
        fmt::format(
            "flat extent ends here; {} says {} bytes from offset {:#x} on: it is truncated, or the "
            "descriptor is of another disk",
            claim.descriptor_path, claim.size_bytes, offset));
  return std::make_unique<FlatMap>(std::move(file), offset, mode);
}

}  // namespace grainmill::vmdk
