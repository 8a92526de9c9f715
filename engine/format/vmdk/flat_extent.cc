// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arith.h"
#include "engine/format/flat_map.h"
#include "engine/format/vmdk/extent_map.h"

#include <fmt/format.h>

#include <algorithm>

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

class LostMap final : public ExtentMap {
 public:
  explicit LostMap(Error why) : why_(std::move(why)) {}
  [[nodiscard]] Status map(const AddressRange& /*range*/, ExtentList& /*out*/) const override {
    return std::unexpected(why_);
  }

 private:
  Error why_;
};

class FlatMap final : public ExtentMap {
 public:
  // `stored`: as much of it as the file has, at least.
  FlatMap(std::unique_ptr<File> file, std::uint64_t offset, std::uint64_t stored, OpenMode mode)
      : file_(std::move(file)), offset_(offset), stored_(stored), mode_(mode) {}

  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override {
    // Holes of a file that is being written come and go.
    const std::uint64_t found = mode_ == OpenMode::read_write ? 0 : stored_;
    const std::uint64_t end = range.address + range.length;
    const std::uint64_t mapped = std::clamp(found, range.address, end) - range.address;
    if (mapped != 0)
      GM_CHECK(map_flat(*file_, {range.guest_offset, offset_ + range.address, mapped}, out));
    if (mapped != range.length)
      append_merged(out, {.guest_offset = range.guest_offset + mapped,
                          .length = range.length - mapped,
                          .kind = ExtentKind::data,
                          .file = file_.get(),
                          .file_offset = offset_ + range.address + mapped});
    return {};
  }
  [[nodiscard]] const File* file() const override { return file_.get(); }
  [[nodiscard]] WriteTarget write_target() override { return {file_.get(), offset_, nullptr}; }
  // What can be read now must not go with the next power cut.
  [[nodiscard]] Status begin_writing() override { return file_->sync(); }
  [[nodiscard]] Status end_writing() override { return file_->sync(); }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t offset_;
  std::uint64_t stored_;
  OpenMode mode_;
};

}  // namespace

std::unique_ptr<ExtentMap> make_zero_map() { return std::make_unique<ZeroMap>(); }

std::unique_ptr<ExtentMap> make_lost_map(Error why) {
  return std::make_unique<LostMap>(std::move(why));
}

Result<std::unique_ptr<ExtentMap>> open_flat_map(std::unique_ptr<File> file, std::uint64_t offset,
                                                 const ExtentClaim& claim,
                                                 const OpenOptions& options) {
  GM_TRY(const FileInfo info, file->info());
  std::uint64_t stored = claim.size_bytes;
  if (!range_within(offset, stored, info.size_bytes)) {
    Error error = fail(ErrorKind::corrupt, file->path(), info.size_bytes,
                       fmt::format("flat extent ends here; {} says {} bytes from offset {:#x} on: "
                                   "it is truncated, or the descriptor is of another disk",
                                   claim.descriptor_path, claim.size_bytes, offset))
                      .error();
    if (options.tolerate == nullptr) return std::unexpected(std::move(error));
    stored = info.size_bytes - std::min(offset, info.size_bytes);
    GM_CHECK(options.tolerate->add({.code = "truncated", .what = std::move(error)}));
  }
  return std::make_unique<FlatMap>(std::move(file), offset, stored, options.mode);
}

}  // namespace grainmill::vmdk
