// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace grainmill {

// What stands around a deflate stream (RFC 1951): nothing, or zlib's header and Adler-32
// (RFC 1950).
enum class DeflateWrapper : std::uint8_t { raw, zlib };

// How much time a smaller stream is worth: `fast` (ISA-L), or any value from 1 to 12 (libdeflate's
// levels). All readers take the streams of all levels. `standard` is the lowest level whose streams
// are no larger than those of zlib at its default: grains of a Debian system shrink to 41.7 % of
// their size (zlib 41.8 %), at 110 MB/s (45); at `fast` to 45.0 %, at 625 MB/s (one core of an EPYC
// of family 26).
enum class DeflateLevel : std::uint8_t { fast = 0, lowest = 1, standard = 6, highest = 12 };

// The word of an option: "fast", "default", or "1" to "12".
[[nodiscard]] std::optional<DeflateLevel> deflate_level_by_name(std::string_view name);

// Deflates blocks, each for itself. The same block gives the same stream whatever came before it
// (`fast`: on the same kind of CPU). Threads: one at a time; make one a thread, the object is
// reused for any number of blocks.
class Deflater {
 public:
  explicit Deflater(DeflateWrapper wrapper, DeflateLevel level = DeflateLevel::standard);
  ~Deflater();
  Deflater(Deflater&&) noexcept;
  Deflater& operator=(Deflater&&) noexcept;

  // How many bytes of `out` the stream takes, or 0 when it does not fit; what `out` holds is then
  // undefined. Near the end of `out` a stream that would just fit may be said not to.
  // REQUIRES: in.size() < 4 GiB.
  [[nodiscard]] std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What store_zlib() takes for so many bytes. A zlib stream of any bytes can be had in this size:
// where Deflater finds none, store_zlib() writes one.
[[nodiscard]] constexpr std::size_t deflate_bound(std::size_t size) {
  constexpr std::size_t kWrapper = 2 + 4;      // header and Adler-32
  constexpr std::size_t kBlockHeader = 1 + 4;  // type; length, twice
  constexpr std::size_t kBlock = 65535;
  const std::size_t blocks = size == 0 ? 1 : (size + kBlock - 1) / kBlock;
  return kWrapper + blocks * kBlockHeader + size;
}

// Writes the bytes as a zlib stream of stored blocks, for bytes that do not shrink. Returns
// deflate_bound(in.size()), or 0 when `out` is smaller than that.
[[nodiscard]] std::size_t store_zlib(std::span<const std::byte> in, std::span<std::byte> out);

}  // namespace grainmill
