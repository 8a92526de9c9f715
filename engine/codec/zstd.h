// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/inflate.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace grainmill {

inline constexpr int kZstdDefaultLevel = 3;  // the library's own, and what qemu writes with
inline constexpr int kZstdHighestLevel = 22;

// The word of an option: "fast" (level 1), "default", or "1" to "22".
[[nodiscard]] std::optional<int> zstd_level_by_name(std::string_view name);

// Makes Zstandard frames (RFC 8878) of blocks: one frame a block, which says the block's size and
// has no checksum, like qemu's. Threads: one at a time; make one a thread, the object is reused for
// any number of blocks.
class ZstdCompressor {
 public:
  // REQUIRES: 1 <= level <= kZstdHighestLevel.
  explicit ZstdCompressor(int level = kZstdDefaultLevel);
  ~ZstdCompressor();
  ZstdCompressor(ZstdCompressor&&) noexcept;
  ZstdCompressor& operator=(ZstdCompressor&&) noexcept;

  // How many bytes of `out` the frame takes, or 0 when it does not fit; what `out` holds is then
  // undefined.
  [[nodiscard]] std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads the frames back. Threads as above.
class ZstdDecompressor {
 public:
  ZstdDecompressor();
  ~ZstdDecompressor();
  ZstdDecompressor(ZstdDecompressor&&) noexcept;
  ZstdDecompressor& operator=(ZstdDecompressor&&) noexcept;

  // Fills `out` exactly from the first frame of `in`, or says why not; bytes behind that frame are
  // ignored. `produced` is how much of `out` was filled when the frame was sound.
  [[nodiscard]] InflateResult decompress(std::span<const std::byte> in, std::span<std::byte> out,
                                         std::size_t& produced);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace grainmill
