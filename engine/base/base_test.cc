// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace grainmill {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Text, ControlCharactersAreShownAndNotSent) {
  EXPECT_EQ(printable("a\x1b[31m\r\n\x7f"
                      "b"),
            "a\\u001b[31m\\u000d\\u000a\\u007fb");
  EXPECT_EQ(printable("\xc2\x9b"
                      "1m\xc2\xa0\xc3\xa9"),
            "\\u009b1m\xc2\xa0\xc3\xa9");
  EXPECT_EQ(printable("a\tb\n\r", "\n\t"), "a\tb\n\\u000d");
  EXPECT_EQ(printable("\xc2"), "\xc2");
  const Error error{ErrorKind::corrupt, "na\x07me", 16,
                    "mess\x1b"
                    "age"};
  EXPECT_EQ(error.to_string(), "na\\u0007me: offset 0x10: mess\\u001bage");
}

TEST(Arith, CheckedFormsRefuseToWrap) {
  EXPECT_EQ(checked_add(1, 2), 3U);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul(kMax / 2, 2), kMax - 1);
  EXPECT_EQ(checked_mul(kMax / 2 + 1, 2), std::nullopt);
}

TEST(Arith, RangeWithinHoldsAtTheEdges) {
  EXPECT_TRUE(range_within(0, 0, 0));
  EXPECT_TRUE(range_within(10, 0, 10));
  EXPECT_TRUE(range_within(5, 5, 10));
  EXPECT_FALSE(range_within(5, 6, 10));
  EXPECT_FALSE(range_within(11, 0, 10));
  EXPECT_FALSE(range_within(kMax, 2, kMax));
  EXPECT_FALSE(range_within(2, kMax, kMax));
}

TEST(Arith, CeilDivDoesNotOverflowNearTheTop) {
  EXPECT_EQ(ceil_div(kMax, 2), kMax / 2 + 1);
  EXPECT_EQ(ceil_div(0, 7), 0U);
  EXPECT_EQ(align_up(1, 512), 512U);
  EXPECT_EQ(align_down(1023, 512), 512U);
}

TEST(ByteOrder, EveryPowerOfTwoAndItsNeighboursSurvive) {
  std::array<std::byte, 8> bytes{};
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t value : {(1ULL << shift) - 1, 1ULL << shift, (1ULL << shift) + 1}) {
      store_le(bytes.data(), value);
      EXPECT_EQ(load_le<std::uint64_t>(bytes.data()), value);
      EXPECT_EQ(std::to_integer<std::uint64_t>(bytes[0]), value & 0xff);
      store_be(bytes.data(), value);
      EXPECT_EQ(load_be<std::uint64_t>(bytes.data()), value);
      EXPECT_EQ(std::to_integer<std::uint64_t>(bytes[7]), value & 0xff);
    }
  }
}

TEST(Error, TextBeginsWithFileThenOffset) {
  EXPECT_EQ((Error{ErrorKind::corrupt, "a.vmdk", 0x1000, "bad"}.to_string()),
            "a.vmdk: offset 0x1000: bad");
  EXPECT_EQ((Error{ErrorKind::io, "a.vmdk", std::nullopt, "bad"}.to_string()), "a.vmdk: bad");
  EXPECT_EQ((Error{ErrorKind::cancelled, "", std::nullopt, "stopped"}.to_string()), "stopped");
}

TEST(Units, SizesAreReadAsPeopleWriteThem) {
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("64M"), 64 * kMiB);
  EXPECT_EQ(parse_size("1.5G"), 3 * kGiB / 2);
  EXPECT_EQ(parse_size("2TiB"), 2 * kTiB);
  EXPECT_EQ(parse_size("64k"), 64 * kKiB);
  for (const char* bad : {"", "M", "-1", "10X", "0.3", "99999999999E", "1MM"})
    EXPECT_EQ(parse_size(bad), std::nullopt);
}

TEST(Units, SizesAreShownShort) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(10 * kMiB), "10 MiB");
  EXPECT_EQ(format_size(3 * kGiB / 2), "1.5 GiB");
  EXPECT_EQ(format_size(1010 * kMiB + 300 * kKiB), "1010 MiB");
  EXPECT_EQ(format_size(1234567), "1.18 MiB");
}

}  // namespace
}  // namespace grainmill
