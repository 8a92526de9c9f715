// SPDX-License-Identifier: Apache-2.0
#include "engine/format/settings.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace grainmill {

std::unexpected<Error> Setting::bad(std::string_view expected) const {
  return fail(ErrorKind::invalid_argument, "",
              fmt::format("-o {}={}: expected {}", name, value, expected));
}

Result<std::uint32_t> Setting::number() const {
  std::uint32_t number = 0;
  const char* end = value.data() + value.size();
  const auto [rest, status] = std::from_chars(value.data(), end, number);
  if (status != std::errc{} || rest != end) return bad("a whole number below 2^32");
  return number;
}

Result<bool> Setting::on() const {
  if (value != "on" && value != "off") return bad("on or off");
  return value == "on";
}

Result<std::uint64_t> Setting::size() const {
  const std::optional<std::uint64_t> size = parse_size(value);
  if (!size) return bad("a size such as 64k");
  return *size;
}

bool asks_for_help(const std::vector<Setting>& settings) {
  return std::ranges::any_of(settings, [](const Setting& setting) {
    return setting.name == "help" || setting.name == "?";
  });
}

std::vector<Setting> split_settings(const std::vector<std::string>& texts) {
  std::vector<Setting> settings;
  for (const std::string& text : texts) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find(',', at), text.size());
      const std::string item = text.substr(at, end - at);
      const std::size_t equals = std::min(item.find('='), item.size());
      settings.push_back(
          {item.substr(0, equals), equals == item.size() ? "on" : item.substr(equals + 1)});
      at = end + 1;
    }
  }
  return settings;
}

}  // namespace grainmill
