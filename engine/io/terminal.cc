// SPDX-License-Identifier: Apache-2.0
#include "engine/io/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

namespace grainmill {

TerminalSize terminal_size() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

}  // namespace grainmill
