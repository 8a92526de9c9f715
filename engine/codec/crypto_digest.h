// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace grainmill {

// The digests that hold against people, not only against accidents.
enum class CryptoAlgorithm : std::uint8_t { none = 0, blake2b512 = 1, sha256 = 2 };

[[nodiscard]] std::string_view crypto_name(CryptoAlgorithm algorithm);
[[nodiscard]] std::optional<CryptoAlgorithm> crypto_by_name(std::string_view name);
// Bytes of one digest; 0 for none.
[[nodiscard]] std::size_t crypto_digest_bytes(CryptoAlgorithm algorithm);

// A digest computed over pieces (OpenSSL's EVP). Threads: one at a time. REQUIRES: algorithm !=
// none.
class CryptoDigest {
 public:
  explicit CryptoDigest(CryptoAlgorithm algorithm);
  ~CryptoDigest();
  CryptoDigest(CryptoDigest&&) noexcept;
  CryptoDigest& operator=(CryptoDigest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // Writes crypto_digest_bytes() bytes and starts again from nothing.
  void finish(std::byte* out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace grainmill
