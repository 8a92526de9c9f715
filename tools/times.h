// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace grainmill {

// A part of each day by the local clock, in minutes since midnight. It may go past midnight; all
// day where both are the same.
struct DayHours {
  int from = 0;
  int to = 0;

  [[nodiscard]] bool contains(int minute) const {
    if (from == to) return true;
    return from < to ? minute >= from && minute < to : minute >= from || minute < to;
  }
};

// nullopt for all of them: it is not that.
[[nodiscard]] std::optional<std::int64_t> parse_duration(std::string_view text);  // "7d": seconds
[[nodiscard]] std::optional<std::uint64_t> parse_rate(std::string_view text);     // "200M/s", "1G"
[[nodiscard]] std::optional<DayHours> parse_hours(std::string_view text);         // "22:00-06:00"

// What the local clock shows at a time (seconds since the epoch): minutes since midnight.
[[nodiscard]] int minute_of_day(std::int64_t time);
// "2026-11-23 01:32", local.
[[nodiscard]] std::string date_text(std::int64_t time);
// ... for those elsewhere: "2026-11-22 23:04 UTC+01:00".
[[nodiscard]] std::string zoned_date_text(std::int64_t time);
// "3 days", "5 hours", "just now": how long ago, for people only.
[[nodiscard]] std::string age_text(std::int64_t seconds);
// "22:00".
[[nodiscard]] std::string clock_text(int minute);

}  // namespace grainmill
