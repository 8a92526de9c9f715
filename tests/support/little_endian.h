// SPDX-License-Identifier: Apache-2.0
//
// Little-endian integers in byte buffers. The test support has its own copy, so that it shares no
// code with what it judges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace grainmill::testing {

inline constexpr std::uint64_t kSectorSize = 512;

inline std::uint64_t get_le(std::span<const std::byte> bytes, std::size_t offset,
                            std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;)
    value = (value << 8) | std::to_integer<std::uint64_t>(bytes[offset + i]);
  return value;
}

inline std::uint16_t get_le16(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(get_le(bytes, offset, 2));
}
inline std::uint32_t get_le32(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint32_t>(get_le(bytes, offset, 4));
}
inline std::uint64_t get_le64(std::span<const std::byte> bytes, std::size_t offset) {
  return get_le(bytes, offset, 8);
}

inline void put_le(std::span<std::byte> bytes, std::size_t offset, std::size_t width,
                   std::uint64_t value) {
  for (std::size_t i = 0; i < width; ++i, value >>= 8)
    bytes[offset + i] = static_cast<std::byte>(value & 0xff);
}

inline void put_le16(std::span<std::byte> bytes, std::size_t offset, std::uint16_t value) {
  put_le(bytes, offset, 2, value);
}
inline void put_le32(std::span<std::byte> bytes, std::size_t offset, std::uint32_t value) {
  put_le(bytes, offset, 4, value);
}
inline void put_le64(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value) {
  put_le(bytes, offset, 8, value);
}

}  // namespace grainmill::testing
