// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace grainmill {
namespace {

// The shift of a unit suffix; nullopt for a suffix that is none.
std::optional<unsigned> unit_shift(std::string_view suffix) {
  if (suffix.empty()) return 0U;
  const std::string_view units = "BKMGTPE";
  const char first = static_cast<char>(suffix.front() & ~0x20);
  const std::size_t index = units.find(first);
  if (index == std::string_view::npos) return std::nullopt;
  const std::string_view rest = suffix.substr(1);
  if (!rest.empty() && rest != "iB" && rest != "B") return std::nullopt;
  if (index == 0 && !rest.empty()) return std::nullopt;
  return static_cast<unsigned>(index * 10);
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (status != std::errc{} || number < 0) return std::nullopt;
  const std::optional<unsigned> shift =
      unit_shift(text.substr(static_cast<std::size_t>(rest - text.data())));
  if (!shift) return std::nullopt;
  const double bytes = std::ldexp(number, static_cast<int>(*shift));
  constexpr double kLimit = 9.2e18;
  if (bytes >= kLimit || bytes != std::floor(bytes)) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  // Three digits, but four between 1000 and 1024.
  if (value == std::floor(value) || value >= 1000)
    return fmt::format("{:.0f} {}", value, kUnits.at(unit));
  return fmt::format("{:.3g} {}", value, kUnits.at(unit));
}

}  // namespace grainmill
