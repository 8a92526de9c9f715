// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/digest.h"

#include "engine/base/byte_order.h"

#include <fmt/format.h>

#if defined(__x86_64__)
// Chooses SSE2, AVX2 or AVX-512 at run time: the plain entry points are compiled for the baseline
// only, and slower by more than ten times from cache (`bazel run //bench:codec_bench`).
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace grainmill {

struct StreamDigest::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh{XXH3_createState()};
};

Digest128 xxh3_128(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = hash.high64, .low = hash.low64};
}

void store_digest(std::byte* out, const Digest128& digest) {
  store_be(out, digest.high);
  store_be(out + sizeof digest.high, digest.low);
}

Digest128 load_digest(const std::byte* in) {
  return {.high = load_be<std::uint64_t>(in),
          .low = load_be<std::uint64_t>(in + sizeof(std::uint64_t))};
}

std::string to_hex(const Digest128& digest) {
  return fmt::format("{:016x}{:016x}", digest.high, digest.low);
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

StreamDigest::StreamDigest() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->xxh.get());
}
StreamDigest::~StreamDigest() = default;
StreamDigest::StreamDigest(StreamDigest&&) noexcept = default;
StreamDigest& StreamDigest::operator=(StreamDigest&&) noexcept = default;

void StreamDigest::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh.get(), bytes.data(), bytes.size());
}

Digest128 StreamDigest::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh.get());
  return {.high = hash.high64, .low = hash.low64};
}

}  // namespace grainmill
