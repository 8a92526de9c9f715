// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace grainmill {

// ASCII letters in lower case, all else as it is, whatever the locale: for key words, not for
// people's texts.
[[nodiscard]] inline std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// The text with control characters as \u00NN: names and texts out of images go to terminals, and a
// stranger's must not move the cursor there. JSON stays JSON. `but`: control characters that stay.
[[nodiscard]] std::string printable(std::string_view text, std::string_view but = {});

// A name as a shell takes it for one word, in quotes only where it needs them.
[[nodiscard]] std::string shell_word(std::string_view name);

}  // namespace grainmill
