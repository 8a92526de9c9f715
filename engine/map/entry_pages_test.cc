// SPDX-License-Identifier: Apache-2.0
#include "engine/map/entry_pages.h"

#include "engine/base/units.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace grainmill {
namespace {

constexpr std::uint64_t kHomesOfHugePage = HugeMemory::kHugePageBytes / EntryPages::kBytes;

EntryPages make(std::uint64_t pages) { return EntryPages::make(pages).value(); }

TEST(EntryPages, AHomeIsHadOnce) {
  EntryPages pages = make(3);
  EXPECT_TRUE(pages.take_home(2));
  EXPECT_FALSE(pages.take_home(2));
  EXPECT_TRUE(pages.take_home(0));
  EXPECT_FALSE(pages.take_home(0));
}

TEST(EntryPages, AllPagesMayGoAwayAndSomeTwice) {
  EntryPages pages = make(1000);
  for (std::uint32_t i = 0; i < 1250 + 512; ++i) ASSERT_EQ(pages.take_away(), i);
  EXPECT_EQ(pages.take_away(), std::nullopt);
  // The last one is memory.
  pages.away()[(1250 + 512) * kPageClusters - 1] = 5;
}

TEST(EntryPages, FarApartTheyTakeSmallPages) {
  EntryPages pages = make(64 * kHomesOfHugePage);
  const std::uint64_t before = pages.memory_bytes();
  for (std::uint64_t i = 0; i < 64; ++i) ASSERT_TRUE(pages.take_home(i * kHomesOfHugePage));
  EXPECT_EQ(pages.memory_bytes(), before + 64 * 4 * kKiB);
  ASSERT_TRUE(pages.take_home(1));
  EXPECT_EQ(pages.memory_bytes(), before + 64 * 4 * kKiB);
}

TEST(EntryPages, KeepsWhatIsInThemAndUsesNoMoreThanTwice) {
  EntryPages pages = make(2 * kHomesOfHugePage);
  const std::uint64_t before = pages.memory_bytes();
  std::uint64_t most = 0;
  for (std::uint64_t page = 0; page < kHomesOfHugePage; ++page) {
    ASSERT_TRUE(pages.take_home(page));
    for (std::uint64_t i = 0; i < kPageClusters; ++i)
      pages.home()[page * kPageClusters + i] = static_cast<std::uint32_t>(page * kPageClusters + i);
    most = std::max(most, pages.memory_bytes() - before);
    ASSERT_LE(pages.memory_bytes() - before,
              std::max<std::uint64_t>(4 * kKiB, 2 * (page + 2) * EntryPages::kBytes));
  }
  EXPECT_EQ(most, HugeMemory::kHugePageBytes);
  for (std::uint64_t i = 0; i < kHomesOfHugePage * kPageClusters; ++i)
    ASSERT_EQ(pages.home()[i], i);
}

}  // namespace
}  // namespace grainmill
