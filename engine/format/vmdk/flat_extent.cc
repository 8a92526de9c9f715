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
  FlatMap(std::unique_ptr<File> file, std::uint64_t offset)
      : file_(std::move(file)), offset_(offset) {}

  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override {
    return map_flat(*file_, {range.guest_offset, offset_ + range.address, range.length}, out);
  }
  [[nodiscard]] const File* file() const override { return file_.get(); }

 private:
  std::unique_ptr<File> file_;
  std::uint64_t offset_;
};

}  // namespace

std::unique_ptr<ExtentMap> make_zero_map() { return std::make_unique<ZeroMap>(); }

Result<std::unique_ptr<ExtentMap>> open_flat_map(std::unique_ptr<File> file, std::uint64_t offset,
                                                 const ExtentClaim& claim) {
  GM_TRY(const FileInfo info, file->info());
  if (!range_within(offset, claim.size_bytes, info.size_bytes))
    return fail(
        ErrorKind::corrupt, file->path(), info.size_bytes,
        fmt::format(
            "flat extent ends here; {} says {} bytes from offset {:#x} on: it is truncated, or the "
            "descriptor is of another disk",
            claim.descriptor_path, claim.size_bytes, offset));
  return std::make_unique<FlatMap>(std::move(file), offset);
}

}  // namespace grainmill::vmdk
