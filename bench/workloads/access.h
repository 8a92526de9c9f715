// SPDX-License-Identifier: Apache-2.0
//
// The orders in which benchmarks visit the grains of a disk.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace grainmill::bench {

enum class Access : std::uint8_t {
  sequential,
  strided,  // one table and one grain on, each time: no two in a row are of the same table
  random,   // uniform
  zipf,     // the k-th most popular grain with a probability of about k^-0.99; popular grains lie
            // anywhere
};

inline constexpr std::array kAllAccesses = {Access::sequential, Access::strided, Access::random,
                                            Access::zipf};

[[nodiscard]] std::string_view name_of(Access access);

// `count` grain numbers below `grains`; the same on every call. REQUIRES: grains is a power of two.
[[nodiscard]] std::vector<std::uint32_t> access_sequence(Access access, std::uint64_t grains,
                                                         std::size_t count);

}  // namespace grainmill::bench
