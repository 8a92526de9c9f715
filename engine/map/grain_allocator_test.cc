// SPDX-License-Identifier: Apache-2.0
#include "engine/map/grain_allocator.h"

#include "engine/base/units.h"
#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <thread>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;

constexpr std::uint64_t kGrain = 64 * kKiB;
constexpr std::uint32_t kEntries = 512;
constexpr std::uint64_t kDirectory = 21 * kSectorBytes;
constexpr std::uint64_t kRedundant = 22 * kSectorBytes;
constexpr std::uint64_t kTables = 32 * kSectorBytes;  // of the primary copy
constexpr std::uint64_t kTableBytes = std::uint64_t{kEntries} * 4;

// An extent of 64 MiB, two tables in each copy.
class GrainAllocatorTest : public ::testing::Test {
 protected:
  GrainAllocatorTest() {
    file_.content().set_size(kGrain);
    put_directory(kDirectory, {kTables / 512, (kTables + kTableBytes) / 512});
    put_directory(kRedundant,
                  {(kTables + 2 * kTableBytes) / 512, (kTables + 3 * kTableBytes) / 512});
  }
  void put_directory(std::uint64_t at, const std::vector<std::uint32_t>& tables) {
    file_.content().put_words(at, tables);
  }
  std::unique_ptr<GrainAllocator> open(bool two_copies = true) {
    AllocatorLayout layout{.shape = {64 * kMiB, kGrain, kEntries},
                           .directory_offset = kDirectory,
                           .redundant_directory_offset = {},
                           .data_begin = kGrain,
                           .zeroed_entries = true};
    if (two_copies) layout.redundant_directory_offset = kRedundant;
    return GrainAllocator::open(file_, layout).value();
  }
  // The entry in the copy whose directory is there.
  std::uint32_t entry(std::uint64_t directory, std::uint64_t grain) const {
    const std::uint64_t table = word_at(directory + grain / kEntries * 4) * std::uint64_t{512};
    return table == 0 ? 0 : word_at(table + grain % kEntries * 4);
  }
  std::uint32_t word_at(std::uint64_t at) const {
    std::uint32_t word = 0;
    EXPECT_TRUE(IsOk(file_.read_exact_at(at, std::as_writable_bytes(std::span(&word, 1)))));
    return word;
  }
  void expect_entry(std::uint64_t grain, std::uint32_t want) const {
    EXPECT_EQ(entry(kDirectory, grain), want) << "grain " << grain;
    EXPECT_EQ(entry(kRedundant, grain), want) << "grain " << grain;
  }

  testing::MemoryFile file_{"disk.vmdk"};
};

TEST_F(GrainAllocatorTest, TakesGrainsAtTheEnd) {
  const auto allocator = open();
  EXPECT_EQ(allocator->take(1), kGrain);
  EXPECT_EQ(allocator->take(3), 2 * kGrain);
  EXPECT_EQ(allocator->take(1), 5 * kGrain);
  EXPECT_GE(file_.content().size_bytes(), 6 * kGrain);
  EXPECT_TRUE(IsOk(allocator->close()));
  EXPECT_EQ(file_.content().size_bytes(), 6 * kGrain);
}

TEST_F(GrainAllocatorTest, TakesGrainsBehindATailThatIsNotAligned) {
  file_.content().set_size(3 * kGrain + 512);
  EXPECT_EQ(open()->take(1), 4 * kGrain);
}

TEST_F(GrainAllocatorTest, NeverTakesOneTwice) {
  const auto allocator = open();
  std::vector<std::vector<std::uint64_t>> taken(4);
  std::vector<std::thread> threads;
  threads.reserve(taken.size());
  for (auto& mine : taken)
    threads.emplace_back([&allocator, &mine] {
      for (unsigned i = 0; i < 1000; ++i) mine.push_back(allocator->take(1 + i % 2).value());
    });
  for (std::thread& thread : threads) thread.join();
  std::vector<std::uint64_t> all;
  for (const auto& mine : taken)
    for (std::size_t i = 0; i < mine.size(); ++i)
      for (std::uint64_t k = 0; k <= i % 2; ++k) all.push_back(mine[i] + k * kGrain);
  std::ranges::sort(all);
  EXPECT_TRUE(std::ranges::adjacent_find(all) == all.end());
  EXPECT_EQ(all.back(), 6000 * kGrain);
}

TEST_F(GrainAllocatorTest, TablesSayNothingBeforeAFlush) {
  const auto allocator = open();
  EXPECT_TRUE(IsOk(allocator->put(3, 5 * kGrain)));
  expect_entry(3, 0);
  EXPECT_TRUE(IsOk(allocator->flush()));
  expect_entry(3, 5 * kGrain / 512);
}

TEST_F(GrainAllocatorTest, WritesBothCopiesInFewPieces) {
  const auto allocator = open();
  for (std::uint64_t grain = 0; grain < 100; ++grain)
    EXPECT_TRUE(IsOk(allocator->put(grain, (grain + 1) * kGrain)));
  file_.content().forget_calls();
  EXPECT_TRUE(IsOk(allocator->flush()));
  EXPECT_EQ(file_.content().writes().size(), 2U);
  for (std::uint64_t grain = 0; grain < 100; ++grain)
    expect_entry(grain, static_cast<std::uint32_t>((grain + 1) * kGrain / 512));
  expect_entry(100, 0);
}

TEST_F(GrainAllocatorTest, KeepsEntriesBetweenThoseThatChange) {
  const auto allocator = open();
  for (std::uint64_t grain = 1; grain < 20; grain += 2)
    EXPECT_TRUE(IsOk(allocator->put(grain, grain * kGrain)));
  EXPECT_TRUE(IsOk(allocator->flush()));
  for (std::uint64_t grain = 0; grain < 20; grain += 4)
    EXPECT_TRUE(IsOk(allocator->put(grain, (grain + 100) * kGrain)));
  EXPECT_TRUE(IsOk(allocator->put(600, 700 * kGrain)));
  EXPECT_TRUE(IsOk(allocator->flush()));
  for (std::uint64_t grain = 0; grain < 20; ++grain) {
    const std::uint64_t place = grain % 2 == 1 ? grain : grain % 4 == 0 ? grain + 100 : 0;
    expect_entry(grain, static_cast<std::uint32_t>(place * kGrain / 512));
  }
  expect_entry(600, 700 * kGrain / 512);
}

TEST_F(GrainAllocatorTest, OfTwoChangesTheLastOneCounts) {
  const auto allocator = open();
  EXPECT_TRUE(IsOk(allocator->put_zeros(7)));
  EXPECT_TRUE(IsOk(allocator->put_zeros(8)));
  EXPECT_TRUE(IsOk(allocator->put(7, 9 * kGrain)));
  EXPECT_TRUE(IsOk(allocator->flush()));
  expect_entry(7, 9 * kGrain / 512);
  expect_entry(8, 1);
}

TEST_F(GrainAllocatorTest, MakesMissingTables) {
  put_directory(kDirectory, {0, 0});
  put_directory(kRedundant, {0, (kTables + 3 * kTableBytes) / 512});
  file_.content().put_words(kTables + 3 * kTableBytes, std::vector<std::uint32_t>{77});
  const auto allocator = open();
  EXPECT_TRUE(IsOk(allocator->put(0, 2 * kGrain)));
  EXPECT_TRUE(IsOk(allocator->put(513, 3 * kGrain)));
  EXPECT_TRUE(IsOk(allocator->flush()));
  expect_entry(0, 2 * kGrain / 512);
  expect_entry(513, 3 * kGrain / 512);
  expect_entry(512, 77);  // taken over from the copy that had the table
  EXPECT_NE(word_at(kDirectory), word_at(kRedundant));
}

TEST_F(GrainAllocatorTest, DoesWithOneCopy) {
  const auto allocator = open(false);
  EXPECT_TRUE(IsOk(allocator->put(3, 5 * kGrain)));
  EXPECT_TRUE(IsOk(allocator->flush()));
  EXPECT_EQ(entry(kDirectory, 3), 5 * kGrain / 512);
  EXPECT_EQ(entry(kRedundant, 3), 0U);
}

TEST_F(GrainAllocatorTest, ReusesWhatIsGivenBackAsZeros) {
  const auto allocator = open();
  const std::uint64_t place = allocator->take(2).value();
  EXPECT_TRUE(IsOk(file_.write_at(place, std::vector<std::byte>(2 * kGrain, std::byte{9}))));
  allocator->give_back(place, 2);
  std::vector<std::uint64_t> again = {allocator->take(1).value(), allocator->take(1).value()};
  std::ranges::sort(again);
  EXPECT_EQ(again, (std::vector{place, place + kGrain}));
  std::vector<std::byte> bytes(2 * kGrain);
  EXPECT_TRUE(IsOk(file_.read_exact_at(place, bytes)));
  EXPECT_EQ(bytes, std::vector<std::byte>(2 * kGrain));
  EXPECT_EQ(allocator->take(1), place + 2 * kGrain);
}

TEST_F(GrainAllocatorTest, RefusesWhatEntriesCannotPointTo) {
  file_.content().set_size(2 * kTiB - kGrain);
  const auto allocator = open();
  EXPECT_TRUE(HasError(allocator->take(2), ErrorKind::unsupported, "twoGbMaxExtentSparse"));
  EXPECT_EQ(allocator->take(1), 2 * kTiB - kGrain);
  EXPECT_TRUE(HasError(allocator->take(1), ErrorKind::unsupported));
}

TEST_F(GrainAllocatorTest, NeverTakesOneTwiceAtTheEndOfWhatEntriesCanPointTo) {
  constexpr std::uint64_t kMany = 4000;  // fails most of the time
  for (int round = 0; round < 50; ++round) {
    file_.content().set_size(2 * kTiB - 4096 * kGrain);
    const auto allocator = open();
    std::vector<std::vector<std::uint64_t>> taken(4);
    std::vector<std::thread> threads;
    threads.reserve(taken.size());
    std::latch start(static_cast<std::ptrdiff_t>(taken.size()));
    for (std::uint64_t i = 0; i < taken.size(); ++i)
      threads.emplace_back([&allocator, &start, &mine = taken[i], count = i == 0 ? kMany : 1] {
        start.arrive_and_wait();
        for (int k = 0; k < 4096; ++k)
          if (const auto offset = allocator->take(count))
            for (std::uint64_t n = 0; n < count; ++n) mine.push_back(*offset + n * kGrain);
      });
    for (std::thread& thread : threads) thread.join();
    std::vector<std::uint64_t> all;
    for (const auto& mine : taken) all.insert(all.end(), mine.begin(), mine.end());
    std::ranges::sort(all);
    ASSERT_TRUE(std::ranges::adjacent_find(all) == all.end());
    ASSERT_EQ(all.size(), 4096U);
  }
}

TEST_F(GrainAllocatorTest, FailsForGoodAfterAFailedFlush) {
  const auto allocator = open();
  EXPECT_TRUE(IsOk(allocator->put(3, 5 * kGrain)));
  file_.content().fail_writes(kTables, kTableBytes);
  EXPECT_TRUE(HasError(allocator->flush(), ErrorKind::io));
  file_.content().fail_writes(0, 0);
  EXPECT_TRUE(HasError(allocator->flush(), ErrorKind::io));
}

TEST(FurtherEntry, GoesFromMissingToZeroedToStored) {
  EXPECT_EQ(further_entry(0, 0), 0U);
  EXPECT_EQ(further_entry(0, 1), 1U);
  EXPECT_EQ(further_entry(1, 0), 1U);
  EXPECT_EQ(further_entry(0, 128), 128U);
  EXPECT_EQ(further_entry(128, 0), 128U);
  EXPECT_EQ(further_entry(1, 128), 128U);
  EXPECT_EQ(further_entry(128, 1), 128U);
  EXPECT_EQ(further_entry(128, 128), 128U);
  EXPECT_EQ(further_entry(128, 256), std::nullopt);
}

}  // namespace
}  // namespace grainmill
