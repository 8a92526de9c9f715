// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace grainmill {

// A sector is 512 bytes in every VMware format, whatever the device says (Virtual Disk Format 5.0,
// "Terminology").
inline constexpr std::uint64_t kSectorBytes = 512;
inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

// "64M", "1.5G", "4096", "2TiB" in powers of 1024; nullopt for anything else, overflow included.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

// "10 MiB", "1.5 GiB": as many units as read well, for people only.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace grainmill
