// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {

// One NAME=VALUE of the options of a format, as qemu-img spells them after -o. What is wrong is
// `invalid_argument`, with the name, the value and what was expected.
struct Setting {
  std::string name;
  std::string value;

  [[nodiscard]] std::unexpected<Error> bad(std::string_view expected) const;
  [[nodiscard]] Result<std::uint32_t> number() const;
  [[nodiscard]] Result<bool> on() const;             // on or off
  [[nodiscard]] Result<std::uint64_t> size() const;  // bytes, such as 64k
};

// Whether one of them is "help" or "?".
[[nodiscard]] bool asks_for_help(const std::vector<Setting>& settings);

// Each text is NAME=VALUE,NAME=VALUE,...; a name alone is "on".
[[nodiscard]] std::vector<Setting> split_settings(const std::vector<std::string>& texts);

}  // namespace grainmill
