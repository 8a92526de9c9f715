// SPDX-License-Identifier: Apache-2.0
#include "tools/times.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace grainmill {
namespace {

TEST(Times, DurationsHaveAUnit) {
  EXPECT_EQ(parse_duration("7d"), 7 * 86400);
  EXPECT_EQ(parse_duration("12h"), 12 * 3600);
  EXPECT_EQ(parse_duration("90m"), 90 * 60);
  EXPECT_EQ(parse_duration("2w"), 14 * 86400);
  EXPECT_EQ(parse_duration("1s"), 1);
  for (const char* wrong : {"", "7", "d", "0d", "-1d", "7 d", "1.5d", "7dd", "99999999999w"})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(Times, RatesAreSizesASecond) {
  EXPECT_EQ(parse_rate("200M/s"), 200U << 20);
  EXPECT_EQ(parse_rate("1G"), 1U << 30);
  for (const char* wrong : {"", "/s", "0/s", "fast"}) EXPECT_FALSE(parse_rate(wrong)) << wrong;
}

TEST(Times, HoursMayGoPastMidnight) {
  const auto night = parse_hours("22:00-06:30");
  ASSERT_TRUE(night);
  for (const int minute : {22 * 60, 23 * 60 + 59, 0, 6 * 60 + 29})
    EXPECT_TRUE(night->contains(minute)) << minute;
  for (const int minute : {21 * 60 + 59, 6 * 60 + 30, 12 * 60})
    EXPECT_FALSE(night->contains(minute)) << minute;
  const auto day = parse_hours("9:00-17:00");
  ASSERT_TRUE(day);
  EXPECT_TRUE(day->contains(9 * 60));
  EXPECT_FALSE(day->contains(17 * 60));
  const auto always = parse_hours("00:00-24:00");
  ASSERT_TRUE(always);
  EXPECT_TRUE(always->contains(0) && always->contains(1439));
  for (const char* wrong : {"", "22:00", "22-06", "22:00-06:60", "24:01-06:00", "-1:00-06:00"})
    EXPECT_FALSE(parse_hours(wrong)) << wrong;
}

TEST(Times, TextsAreForPeople) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(date_text(1'700'000'000), "2023-11-14 22:13");
  EXPECT_EQ(zoned_date_text(1'700'000'000), "2023-11-14 22:13 UTC");
  EXPECT_EQ(minute_of_day(1'700'000'000), 22 * 60 + 13);
  EXPECT_EQ(age_text(0), "a moment");
  EXPECT_EQ(age_text(60), "1 minute");
  EXPECT_EQ(age_text(7200), "2 hours");
  EXPECT_EQ(age_text(604800), "7 days");
  EXPECT_EQ(clock_text(6 * 60 + 5), "06:05");
  ::setenv("TZ", "XYZ3:30", 1);  // west of UTC
  ::tzset();
  EXPECT_EQ(zoned_date_text(1'700'000'000), "2023-11-14 18:43 UTC-03:30");
}

}  // namespace
}  // namespace grainmill
