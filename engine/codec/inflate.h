// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace grainmill {

enum class InflateResult : std::uint8_t {
  ok,
  damaged,    // not a valid stream, or its checksum is wrong
  too_long,   // would give more than the room
  cut_short,  // gives less than the room
};

// Inflates streams whose size is known: zlib's (RFC 1950), whose Adler-32 is checked, bare deflate
// (RFC 1951), which has no checksum, and Zstandard's frames (RFC 8878), which may have one.
// Threads: one at a time; make one a thread, the object is reused for any number of streams.
class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(Inflater&&) noexcept;
  Inflater& operator=(Inflater&&) noexcept;

  // Fills `out` exactly, or says why not; `produced` is how much of `out` was filled when the
  // stream was sound.
  [[nodiscard]] InflateResult inflate_zlib(std::span<const std::byte> in, std::span<std::byte> out,
                                           std::size_t& produced);
  // The same for bare deflate. Bytes behind the stream's end are ignored.
  [[nodiscard]] InflateResult inflate_raw(std::span<const std::byte> in, std::span<std::byte> out,
                                          std::size_t& produced);
  // The same for the first frame of `in`: see ZstdDecompressor.
  [[nodiscard]] InflateResult inflate_zstd(std::span<const std::byte> in, std::span<std::byte> out,
                                           std::size_t& produced);

  // How long the sound zlib stream is that `in` begins with and that gives at most out.size()
  // bytes; 0 where there is none.
  [[nodiscard]] std::size_t zlib_length(std::span<const std::byte> in, std::span<std::byte> out,
                                        std::size_t& produced);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace grainmill
