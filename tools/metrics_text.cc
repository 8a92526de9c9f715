// SPDX-License-Identifier: Apache-2.0
#include "tools/metrics_text.h"

#include "tools/utf8.h"

namespace grainmill {

std::string metrics_begin(std::string_view prefix) { return fmt::format("# HELP {}", prefix); }

std::string metrics_label(const std::string& value) {
  std::string escaped;
  for (const char c : to_utf8(value)) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n')
      escaped += "\\n";
    else
      escaped += c;
  }
  return escaped;
}

}  // namespace grainmill
