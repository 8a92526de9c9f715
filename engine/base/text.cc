// SPDX-License-Identifier: Apache-2.0
#include "engine/base/text.h"

#include <fmt/format.h>

#include <iterator>

namespace grainmill {
namespace {

struct Control {
  std::size_t bytes = 0;  // 0: it is none
  unsigned code = 0;
};

// Those of ASCII; and U+0080 to U+009F, which are two bytes in UTF-8.
Control control_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  if (byte(at) < 0x20 || byte(at) == 0x7f) return {1, byte(at)};
  if (byte(at) == 0xc2 && byte(at + 1) >= 0x80 && byte(at + 1) < 0xa0) return {2, byte(at + 1)};
  return {};
}

}  // namespace

std::string printable(std::string_view text, std::string_view but) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Control control = but.contains(text[i]) ? Control() : control_at(text, i);
    if (control.bytes == 0) {
      result += text[i++];
      continue;
    }
    fmt::format_to(std::back_inserter(result), "\\u{:04x}", control.code);
    i += control.bytes;
  }
  return result;
}

std::string shell_word(std::string_view name) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%";
  if (!name.empty() && name.find_first_not_of(kPlain) == std::string::npos)
    return std::string(name);
  std::string text = "'";
  for (const char c : name) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace grainmill
