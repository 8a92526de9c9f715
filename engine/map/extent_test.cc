// SPDX-License-Identifier: Apache-2.0
#include "engine/map/extent.h"

#include "engine/map/chain_map.h"
#include "engine/map/slot_set.h"
#include "tests/fakes/memory_file.h"

#include <gtest/gtest.h>

namespace grainmill {
namespace {

const testing::MemoryFile kFile("f");
const testing::MemoryFile kOther("g");

Extent data(std::uint64_t guest_offset, std::uint64_t length, std::uint64_t file_offset,
            const File& file = kFile) {
  return {.guest_offset = guest_offset,
          .length = length,
          .kind = ExtentKind::data,
          .file = &file,
          .file_offset = file_offset};
}

Extent empty(std::uint64_t guest_offset, std::uint64_t length, ExtentKind kind,
             std::uint32_t link = 0) {
  return {.guest_offset = guest_offset, .length = length, .kind = kind, .link = link};
}

ExtentList merged(std::initializer_list<Extent> extents) {
  ExtentList list;
  for (const Extent& extent : extents) append_merged(list, extent);
  return list;
}

TEST(Clip, MovesTheFileOffsetOfDataAlong) {
  const Extent part = clip(data(1000, 500, 7000), 1100, 1200);
  EXPECT_EQ(part.guest_offset, 1100U);
  EXPECT_EQ(part.length, 100U);
  EXPECT_EQ(part.file_offset, 7100U);
}

TEST(Clip, NeverMakesLarger) {
  const Extent part = clip(data(1000, 500, 7000), 0, 9999);
  EXPECT_EQ(part.guest_offset, 1000U);
  EXPECT_EQ(part.length, 500U);
  EXPECT_EQ(part.file_offset, 7000U);
}

TEST(Clip, KeepsWhereADeflatedGrainIsStored) {
  Extent grain{
      .guest_offset = 65536, .length = 65536, .kind = ExtentKind::deflated, .file = &kFile};
  grain.file_offset = 512;
  grain.grain_bytes = 65536;
  grain.stored_bytes = 1024;
  const Extent part = clip(clip(grain, 70000, 131072), 80000, 90000);
  EXPECT_EQ(part.guest_offset, 80000U);
  EXPECT_EQ(part.length, 10000U);
  EXPECT_EQ(part.file_offset, 512U);
  EXPECT_EQ(part.stored_bytes, 1024U);
  EXPECT_EQ(part.grain_skip, 80000U - 65536U);
}

TEST(AppendMerged, JoinsDataThatGoesOnInTheFile) {
  const ExtentList list = merged({data(0, 100, 7000), data(100, 50, 7100), data(150, 1, 7150)});
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].length, 151U);
}

TEST(AppendMerged, KeepsApartWhatDoesNotGoOn) {
  EXPECT_EQ(merged({data(0, 100, 7000), data(100, 50, 7101)}).size(), 2U);
  EXPECT_EQ(merged({data(0, 100, 7000), data(100, 50, 7100, kOther)}).size(), 2U);
  EXPECT_EQ(merged({data(0, 100, 7000), empty(100, 50, ExtentKind::zero)}).size(), 2U);
}

TEST(AppendMerged, JoinsZerosOfAKindAndALink) {
  const auto zero = ExtentKind::zero;
  const auto hole = ExtentKind::hole;
  EXPECT_EQ(merged({empty(0, 100, zero), empty(100, 50, zero)}).size(), 1U);
  EXPECT_EQ(merged({empty(0, 100, hole), empty(100, 50, hole)}).size(), 1U);
  EXPECT_EQ(merged({empty(0, 100, zero), empty(100, 50, hole)}).size(), 2U);
  EXPECT_EQ(merged({empty(0, 100, zero), empty(100, 50, zero, 1)}).size(), 2U);
}

TEST(AppendMerged, NeverJoinsDeflatedGrains) {
  Extent grain{.guest_offset = 0, .length = 100, .kind = ExtentKind::deflated, .file = &kFile};
  ExtentList list;
  append_merged(list, grain);
  grain.guest_offset = 100;
  grain.file_offset = 100;
  append_merged(list, grain);
  EXPECT_EQ(list.size(), 2U);
}

TEST(FindExtent, FindsTheOneThatHoldsAnOffset) {
  const ExtentList list =
      merged({data(100, 100, 0), empty(200, 100, ExtentKind::zero), data(300, 1, 500)});
  EXPECT_EQ(find_extent(list, 100).guest_offset, 100U);
  EXPECT_EQ(find_extent(list, 199).guest_offset, 100U);
  EXPECT_EQ(find_extent(list, 200).guest_offset, 200U);
  EXPECT_EQ(find_extent(list, 300).guest_offset, 300U);
}

TEST(SlotSet, RemembersWhatIsTaken) {
  SlotSet slots;
  EXPECT_FALSE(slots.contains(5));
  EXPECT_TRUE(slots.add(5, 1));
  EXPECT_TRUE(slots.contains(5));
  EXPECT_FALSE(slots.contains(4));
  EXPECT_FALSE(slots.contains(6));
  EXPECT_FALSE(slots.add(5, 1));
}

TEST(SlotSet, TakesAllOfARangeEvenWhenSomeIsTaken) {
  SlotSet slots;
  EXPECT_TRUE(slots.add(10, 1));
  EXPECT_FALSE(slots.add(8, 5));
  for (std::uint64_t slot = 8; slot < 13; ++slot) EXPECT_TRUE(slots.contains(slot));
  EXPECT_FALSE(slots.contains(13));
}

TEST(SlotSet, KnowsNeighboursAcrossPagesAndFarAway) {
  SlotSet slots;
  EXPECT_TRUE(slots.add(65535, 2));
  EXPECT_TRUE(slots.add(1ULL << 40, 1));
  EXPECT_TRUE(slots.contains(65535));
  EXPECT_TRUE(slots.contains(65536));
  EXPECT_FALSE(slots.contains(65537));
  EXPECT_FALSE(slots.add(65536, 1));
  EXPECT_FALSE(slots.add(1ULL << 40, 1));
  EXPECT_FALSE(slots.contains((1ULL << 40) + 65536));
}

}  // namespace
}  // namespace grainmill
