// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace grainmill {

// A level written in digits, from 1 to `highest`; nullopt for anything else.
[[nodiscard]] inline std::optional<int> level_from_digits(std::string_view word, int highest) {
  int level = 0;
  const char* const end = word.data() + word.size();
  const std::from_chars_result result = std::from_chars(word.data(), end, level);
  if (result.ec != std::errc{} || result.ptr != end || level < 1 || level > highest)
    return std::nullopt;
  return level;
}

}  // namespace grainmill
