// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace grainmill {

// XXH3-128 (xxHash 0.8 specification, unseeded). Finds accidents, not forgeries.
struct Digest128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend bool operator==(const Digest128&, const Digest128&) = default;
};

inline constexpr std::size_t kDigest128Bytes = 16;

[[nodiscard]] Digest128 xxh3_128(std::span<const std::byte> bytes);

// The canonical form: big-endian, high half first.
void store_digest(std::byte* out, const Digest128& digest);
[[nodiscard]] Digest128 load_digest(const std::byte* in);
[[nodiscard]] std::string to_hex(const Digest128& digest);
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);

// XXH3-128 of a stream of pieces: any cutting of the same bytes gives the same digest.
// Threads: one at a time.
class StreamDigest {
 public:
  StreamDigest();
  ~StreamDigest();
  StreamDigest(StreamDigest&&) noexcept;
  StreamDigest& operator=(StreamDigest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  [[nodiscard]] Digest128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace grainmill
