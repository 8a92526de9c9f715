// SPDX-License-Identifier: Apache-2.0
#include "tools/utf8.h"

#include <nlohmann/json.hpp>

namespace grainmill {

std::string to_utf8(const std::string& text) {
  // The JSON library has the only decoder here.
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

}  // namespace grainmill
