// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace grainmill {

struct TerminalSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

// Of the terminal that standard error is; the usual size where it is none, or does not tell.
[[nodiscard]] TerminalSize terminal_size();

}  // namespace grainmill
