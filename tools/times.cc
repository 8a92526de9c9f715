// SPDX-License-Identifier: Apache-2.0
#include "tools/times.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <limits>

namespace grainmill {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || stop != end || value < 0) return std::nullopt;
  return value;
}

std::optional<int> parse_clock(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<int> hour = parse_number<int>(text.substr(0, colon));
  const std::optional<int> minute = parse_number<int>(text.substr(colon + 1));
  if (!hour || !minute || *hour > 24 || *minute > 59 || (*hour == 24 && *minute != 0))
    return std::nullopt;
  return (*hour * 60 + *minute) % (24 * 60);
}

std::tm local(std::int64_t time) {
  const std::time_t seconds = time;
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return parts;
}

}  // namespace

std::optional<std::int64_t> parse_duration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::int64_t unit = 0;
  switch (text.back()) {
    case 's':
      unit = 1;
      break;
    case 'm':
      unit = kMinute;
      break;
    case 'h':
      unit = kHour;
      break;
    case 'd':
      unit = kDay;
      break;
    case 'w':
      unit = 7 * kDay;
      break;
    default:
      return std::nullopt;
  }
  const auto number = parse_number<std::int64_t>(text.substr(0, text.size() - 1));
  constexpr std::int64_t kLongest = std::numeric_limits<std::int32_t>::max();
  if (!number || *number == 0 || *number > kLongest / unit) return std::nullopt;
  return *number * unit;
}

std::optional<std::uint64_t> parse_rate(std::string_view text) {
  if (text.ends_with("/s")) text.remove_suffix(2);
  const std::optional<std::uint64_t> bytes = parse_size(text);
  return bytes && *bytes != 0 ? bytes : std::nullopt;
}

std::optional<DayHours> parse_hours(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::optional<int> from = parse_clock(text.substr(0, dash));
  const std::optional<int> to = parse_clock(text.substr(dash + 1));
  if (!from || !to) return std::nullopt;
  return DayHours{*from, *to};
}

int minute_of_day(std::int64_t time) {
  const std::tm parts = local(time);
  return parts.tm_hour * 60 + parts.tm_min;
}

std::string date_text(std::int64_t time) {
  const std::tm parts = local(time);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min);
}

std::string zoned_date_text(std::int64_t time) {
  const std::int64_t east = local(time).tm_gmtoff / kMinute;
  const std::int64_t minutes = std::abs(east);
  const std::string zone =
      east == 0 ? ""
                : fmt::format("{}{:02}:{:02}", east < 0 ? '-' : '+', minutes / 60, minutes % 60);
  return fmt::format("{} UTC{}", date_text(time), zone);
}

std::string age_text(std::int64_t seconds) {
  struct Unit {
    std::int64_t seconds;
    const char* name;
  };
  static constexpr std::array<Unit, 3> kUnits = {
      {{kDay, "day"}, {kHour, "hour"}, {kMinute, "minute"}}};
  for (const Unit& unit : kUnits)
    if (const std::int64_t count = seconds / unit.seconds; count > 0)
      return fmt::format("{} {}{}", count, unit.name, count == 1 ? "" : "s");
  return "a moment";
}

std::string clock_text(int minute) { return fmt::format("{:02}:{:02}", minute / 60, minute % 60); }

}  // namespace grainmill
