// SPDX-License-Identifier: Apache-2.0
#include "tests/support/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace grainmill::testing {
namespace {

using Bytes = std::vector<std::byte>;

Bytes pattern(char kind, std::uint64_t offset, std::size_t size) {
  Bytes bytes(size);
  fill_pattern(kind, offset, bytes);
  return bytes;
}

TEST(ParseLayout, ReadsSegmentsAndLinks) {
  const Layout layout = parse_layout("64k:A 3s:- | 1m:^");
  ASSERT_EQ(layout.links.size(), 2U);
  EXPECT_EQ(layout.links[0].segments, (std::vector<Segment>{{0, 65536, 'A'}, {65536, 1536, '-'}}));
  EXPECT_EQ(layout.links[0].size_bytes(), 67072U);
  EXPECT_EQ(layout.size_bytes(), 1U << 20);
}

TEST(ParseLayout, KnowsAllSuffixes) {
  EXPECT_EQ(parse_layout("1s:- 1k:- 1m:- 1g:- 1t:-").size_bytes(),
            512 + (1ULL << 10) + (1ULL << 20) + (1ULL << 30) + (1ULL << 40));
}

TEST(ParseLayout, RefusesWhatIsNoLayout) {
  for (const char* text :
       {"", "|", "64k:A |", "| 64k:A", "64k", "64:A", "k:A", "0k:A", "64k:", "64k:a", "64k:AB",
        "64kk:A", "-1k:A", "64x:A", "64k:^", "99999999999t:A"}) {
    EXPECT_THROW(parse_layout(text), std::invalid_argument) << text;
  }
}

TEST(ToString, IsTheInverseOfParsing) {
  for (const char* text : {"64k:A", "64k:A 3s:- 1g:z | 1t:^ 2m:0 1025k:r"}) {
    EXPECT_EQ(to_string(parse_layout(text)), text);
  }
  EXPECT_EQ(to_string(parse_layout("1024k:A 2s:-")), "1m:A 1k:-");
}

TEST(FillPattern, DependsOnLetterAndPlace) {
  std::set<Bytes> seen;
  for (const char kind : {'A', 'B', 'Z', 'r'}) {
    for (const std::uint64_t offset : {0ULL, 512ULL, 65536ULL, 1ULL << 32, 1ULL << 41}) {
      EXPECT_TRUE(seen.insert(pattern(kind, offset, 512)).second) << kind << " at " << offset;
    }
  }
}

TEST(FillPattern, IsTheSameInPieces) {
  for (const char kind : {'A', 'r', 'z'}) {
    const Bytes whole = pattern(kind, 0, 4096);
    for (const std::size_t at : {1U, 7U, 63U, 64U, 100U}) {
      const Bytes tail = pattern(kind, at, whole.size() - at);
      EXPECT_TRUE(std::equal(tail.begin(), tail.end(), whole.begin() + static_cast<long>(at)));
    }
  }
}

TEST(FillPattern, HasNoZeroSectorButInZ) {
  const Bytes zeros(512);
  EXPECT_NE(pattern('A', 0, 512), zeros);
  EXPECT_NE(pattern('r', 0, 512), zeros);
  EXPECT_EQ(pattern('z', 0, 512), zeros);
}

TEST(ExpectedBytes, ComposesTheChain) {
  const Layout layout =
      parse_layout("4k:A 4k:B 4k:C 4k:- | 4k:^ 4k:0 4k:D 4k:^ | 4k:z 4k:- 4k:^ 4k:E");
  EXPECT_EQ(expected_bytes(layout, 0, 4096), Bytes(4096));
  EXPECT_EQ(expected_bytes(layout, 4096, 4096), Bytes(4096));
  EXPECT_EQ(expected_bytes(layout, 8192, 4096), pattern('D', 8192, 4096));
  EXPECT_EQ(expected_bytes(layout, 12288, 4096), pattern('E', 12288, 4096));

  Bytes lower(16384);
  expected_bytes(layout, 0, 0, lower);
  EXPECT_EQ(Bytes(lower.begin(), lower.begin() + 4096), pattern('A', 0, 4096));
}

TEST(ExpectedBytes, CrossesSegments) {
  const Layout layout = parse_layout("1k:A 1k:-");
  Bytes want = pattern('A', 1000, 24);
  want.resize(40);
  EXPECT_EQ(expected_bytes(layout, 1000, 40), want);
}

TEST(ExpectedBytes, SmallerParentReadsAsZerosBeyondItsEnd) {
  Bytes want = pattern('A', 0, 4096);
  want.resize(8192);
  EXPECT_EQ(expected_bytes(parse_layout("4k:A | 8k:^"), 0, 8192), want);
}

TEST(ExpectedBytes, LargerParentIsClipped) {
  const Layout layout = parse_layout("8k:A | 4k:^");
  EXPECT_EQ(layout.size_bytes(), 4096U);
  EXPECT_EQ(expected_bytes(layout, 0, 4096), pattern('A', 0, 4096));
  EXPECT_THROW(expected_bytes(layout, 4096, 1), std::out_of_range);
  EXPECT_THROW(expected_bytes(layout, ~0ULL, 2), std::out_of_range);
}

TEST(RandomLayout, DependsOnTheSeedAlone) {
  EXPECT_EQ(random_layout(7, 1 << 20, 65536, 3), random_layout(7, 1 << 20, 65536, 3));
  EXPECT_NE(random_layout(7, 1 << 20, 65536, 3), random_layout(8, 1 << 20, 65536, 3));
  // Pinned, so that a failing seed means the same disk on another machine and in another year.
  EXPECT_EQ(to_string(random_layout(1, 256 << 10, 65536, 2)),
            "64k:0 128k:B 64k:r | 128k:I 64k:0 64k:^");
}

TEST(RandomLayout, IsAlwaysALayout) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::uint64_t size = (1 + seed * 37 % 5000) * 512;
    const Layout layout = random_layout(seed, size, 4096U << (seed % 5), 1 + seed % 4);
    ASSERT_EQ(layout.links.size(), 1 + seed % 4);
    for (const LinkLayout& link : layout.links) ASSERT_EQ(link.size_bytes(), size);
    ASSERT_EQ(parse_layout(to_string(layout)), layout);
  }
}

}  // namespace
}  // namespace grainmill::testing
