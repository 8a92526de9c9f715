// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace grainmill {

// Unaligned loads and stores of integers in a stated byte order. REQUIRES: sizeof(T) bytes at `p`.

template <std::unsigned_integral T>
[[nodiscard]] T swap_if(T value, std::endian order) {
  if (order == std::endian::native) return value;
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <std::unsigned_integral T>
[[nodiscard]] T load_le(const std::byte* p) {
  T value{};
  std::memcpy(&value, p, sizeof value);
  return swap_if(value, std::endian::little);
}

template <std::unsigned_integral T>
void store_le(std::byte* p, T value) {
  value = swap_if(value, std::endian::little);
  std::memcpy(p, &value, sizeof value);
}

template <std::unsigned_integral T>
[[nodiscard]] T load_be(const std::byte* p) {
  T value{};
  std::memcpy(&value, p, sizeof value);
  return swap_if(value, std::endian::big);
}

template <std::unsigned_integral T>
void store_be(std::byte* p, T value) {
  value = swap_if(value, std::endian::big);
  std::memcpy(p, &value, sizeof value);
}

}  // namespace grainmill
