// SPDX-License-Identifier: Apache-2.0
#include "engine/format/raw/sink.h"

#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"

#include <algorithm>

namespace grainmill::raw {
namespace {

class RawSink final : public Sink {
 public:
  RawSink(File& file, std::uint64_t hole_bytes) : file_(file), hole_bytes_(hole_bytes) {}

  [[nodiscard]] SinkOrder ordering() const override { return SinkOrder::any; }

  // Each run of blocks that hold something is one write.
  [[nodiscard]] Status write(std::uint64_t guest_offset,
                             std::span<const std::byte> bytes) override {
    if (hole_bytes_ == 0) return file_.write_at(guest_offset, bytes);
    std::size_t run = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::uint64_t block_end = align_down(guest_offset + at, hole_bytes_) + hole_bytes_;
      const std::size_t end = std::min<std::size_t>(bytes.size(), block_end - guest_offset);
      if (is_zero(bytes.subspan(at, end - at))) {
        GM_CHECK(write_run(guest_offset, bytes, run, at));
        run = end;
      }
      at = end;
    }
    return write_run(guest_offset, bytes, run, bytes.size());
  }

  // The file was made empty and at its full length: what is not written reads as zeros.
  [[nodiscard]] Status write_zero(std::uint64_t /*guest_offset*/,
                                  std::uint64_t /*length*/) override {
    return {};
  }

  [[nodiscard]] Status finish() override { return {}; }

 private:
  [[nodiscard]] Status write_run(std::uint64_t guest_offset, std::span<const std::byte> bytes,
                                 std::size_t begin, std::size_t end) {
    if (begin == end) return {};
    return file_.write_at(guest_offset + begin, bytes.subspan(begin, end - begin));
  }

  File& file_;
  std::uint64_t hole_bytes_;
};

}  // namespace

Result<std::unique_ptr<Sink>> make_sink(File& file, std::uint64_t size_bytes,
                                        std::uint64_t hole_bytes) {
  GM_CHECK(file.resize(size_bytes));
  return std::make_unique<RawSink>(file, hole_bytes);
}

}  // namespace grainmill::raw
