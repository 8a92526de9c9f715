// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace grainmill {

// Text that is not UTF-8, such as a file's name may be, with U+FFFD for what is wrong in it.
[[nodiscard]] std::string to_utf8(const std::string& text);

}  // namespace grainmill
