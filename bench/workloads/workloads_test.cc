// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/access.h"
#include "bench/workloads/chain_files.h"
#include "bench/workloads/chain_layout.h"
#include "bench/workloads/harness.h"
#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "engine/map/extent.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace grainmill::bench {
namespace {

constexpr std::uint64_t kDiskBytes = 256 * kMiB;

void expect_extent(const Disk& disk, const Extent& extent, const GrainPlace& place) {
  ASSERT_EQ(extent.kind, place.stored ? ExtentKind::data : ExtentKind::hole);
  if (!place.stored) return;
  EXPECT_EQ(extent.link, place.link);
  EXPECT_EQ(extent.file, disk.link(place.link).files().front());
  EXPECT_EQ(extent.file_offset, place.file_offset);
}

void expect_disk_as_layout(const ChainSpec& spec) {
  SCOPED_TRACE(spec.name());
  const ChainLayout layout(spec);
  const testing::TempDir folder;
  const std::vector<std::string> paths = write_chain(layout, folder.path());
  const Disk disk = value_of(Disk::open(posix_file_system(), paths.front(), {}));
  ASSERT_EQ(disk.depth(), spec.depth);
  ASSERT_EQ(disk.size_bytes(), spec.disk_bytes);
  require(disk.check());
  for (std::uint64_t grain = 0; grain < layout.grains(); ++grain) {
    ExtentList list;
    require(disk.map().compose(grain * spec.grain_bytes, spec.grain_bytes, list));
    ASSERT_EQ(list.size(), 1U);
    expect_extent(disk, list.front(), layout.place(grain));
  }
}

TEST(WriteChain, is_a_disk_that_is_as_its_layout) {
  for (const std::uint32_t depth : {1U, 4U})
    for (const std::uint32_t percent : {1U, 50U, 100U})
      for (const Layout layout : {Layout::contiguous, Layout::scattered})
        expect_disk_as_layout({kDiskBytes, depth, percent, layout, depth == 4});
}

TEST(WriteChain, has_grains_of_the_size_it_is_told) {
  for (const std::uint64_t grain_bytes : {4 * kKiB, 128 * kKiB})
    expect_disk_as_layout({.disk_bytes = 4096 * grain_bytes,
                           .depth = 2,
                           .allocated_percent = 50,
                           .redundant_tables = true,
                           .grain_bytes = grain_bytes});
}

TEST(WriteChain, stores_data_where_it_is_asked_to) {
  const ChainLayout layout(
      {.disk_bytes = 32 * kMiB, .depth = 2, .stores_data = true, .grain_bytes = 4 * kKiB});
  const testing::TempDir folder;
  const std::vector<std::string> paths = write_chain(layout, folder.path());
  const GrainPlace place = layout.place(77);
  std::vector<std::byte> stored(layout.grain_bytes());
  std::vector<std::byte> expected(layout.grain_bytes());
  require(value_of(posix_file_system().open_read(paths[place.link]))
              ->read_exact_at(place.file_offset, stored));
  fill_grain(77, expected);
  EXPECT_EQ(stored, expected);
}

TEST(ChainSpec, names_the_size_of_a_grain_that_is_not_usual) {
  ChainSpec spec{.disk_bytes = 4 * kGiB, .allocated_percent = 50};
  EXPECT_EQ(spec.name(), "4GiB/depth:1/alloc:50/scattered");
  spec.grain_bytes = 4 * kKiB;
  EXPECT_EQ(spec.name(), "4GiB/depth:1/alloc:50/scattered/grain:4KiB");
}

TEST(ChainLayout, allocates_the_share_it_is_told) {
  for (const Layout kind : {Layout::contiguous, Layout::scattered})
    for (const std::uint32_t percent : {0U, 1U, 50U, 100U}) {
      const ChainLayout layout({kGiB, 3, percent, kind});
      double stored = 0;
      for (std::uint64_t grain = 0; grain < layout.grains(); ++grain)
        stored += layout.place(grain).stored ? 1 : 0;
      EXPECT_NEAR(stored / static_cast<double>(layout.grains()), percent / 100.0, 0.02);
    }
}

TEST(Scatter, is_a_permutation_that_tears_neighbours_apart) {
  for (const std::uint64_t size : {512U, 16384U, 1U << 20}) {
    std::vector<bool> seen(size);
    std::uint64_t neighbours = 0;
    for (std::uint64_t value = 0; value < size; ++value) {
      const std::uint64_t place = scatter(value, size);
      ASSERT_LT(place, size);
      ASSERT_FALSE(seen[place]);
      seen[place] = true;
      neighbours += value + 1 < size && scatter(value + 1, size) == place + 1 ? 1 : 0;
    }
    EXPECT_LE(neighbours, size / 100 + 1);
  }
}

TEST(AccessSequence, visits_grains_of_the_disk) {
  for (const Access access : kAllAccesses)
    for (const std::uint32_t grain : access_sequence(access, 16384, 10000)) ASSERT_LT(grain, 16384);
  EXPECT_EQ(access_sequence(Access::sequential, 512, 514)[513], 1);
  EXPECT_EQ(access_sequence(Access::strided, 16384, 2)[1], kTableEntries + 1);
}

// How often each of the most popular ranks is drawn, against the definition.
TEST(AccessSequence, follows_the_law_of_zipf) {
  constexpr std::uint64_t kGrains = 4096;
  constexpr std::size_t kDraws = 1000000;
  double sum = 0;
  for (std::uint64_t rank = 1; rank <= kGrains; ++rank)
    sum += std::pow(static_cast<double>(rank), -0.99);
  std::vector<std::uint32_t> counts(kGrains);
  for (const std::uint32_t grain : access_sequence(Access::zipf, kGrains, kDraws)) ++counts[grain];
  std::ranges::sort(counts, std::ranges::greater());
  for (const std::size_t rank : {1U, 2U, 5U, 100U}) {
    const double expected = kDraws * std::pow(static_cast<double>(rank), -0.99) / sum;
    EXPECT_NEAR(counts[rank - 1], expected, expected * 0.1) << rank;
  }
}

}  // namespace
}  // namespace grainmill::bench
