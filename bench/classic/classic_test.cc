// SPDX-License-Identifier: Apache-2.0
//
// What the map is compared with must itself be right: its answers are held against the function
// that the chain was written from.
#include "bench/classic/allocator.h"
#include "bench/classic/chain.h"
#include "bench/classic/table_cache.h"
#include "bench/workloads/access.h"
#include "bench/workloads/chain_files.h"
#include "bench/workloads/chain_layout.h"
#include "bench/workloads/harness.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/io/file_system.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace grainmill::bench::classic {
namespace {

// 64 tables: more than the caches hold.
constexpr std::uint64_t kDiskBytes = 2 * kGiB;

Geometry geometry_of(const ChainLayout& layout) {
  return {layout.shape(), layout.directory_offset(), layout.redundant_directory_offset()};
}

template <typename Cache>
Chain<Cache> open_chain(const ChainLayout& layout, const std::vector<std::string>& paths) {
  std::vector<Link<Cache>> links;
  links.reserve(paths.size());
  for (const std::string& path : paths)
    links.push_back(value_of(
        Link<Cache>::open(value_of(posix_file_system().open_write(path)), geometry_of(layout))));
  return Chain<Cache>(std::move(links));
}

template <typename Cache>
class ClassicChain : public ::testing::Test {
 protected:
  void expect_right_answers(const ChainSpec& spec) {
    const ChainLayout layout(spec);
    const ScratchFolder folder(folder_.path().string());
    Chain<Cache> chain = open_chain<Cache>(layout, write_chain(layout, folder.path()));
    for (const Access access : kAllAccesses)
      for (const std::uint32_t grain : access_sequence(access, layout.grains(), 20000)) {
        const Found found = value_of(chain.find(grain * layout.grain_bytes() + 512));
        const GrainPlace place = layout.place(grain);
        ASSERT_EQ(found.stored, place.stored) << spec.name() << " grain " << grain;
        if (!place.stored) continue;
        ASSERT_EQ(found.link, place.link) << spec.name() << " grain " << grain;
        ASSERT_EQ(found.file_offset, place.file_offset + 512) << spec.name() << " grain " << grain;
      }
  }

 private:
  testing::TempDir folder_;
};

using Caches = ::testing::Types<CountedCache, DirectCache>;
TYPED_TEST_SUITE(ClassicChain, Caches);

TYPED_TEST(ClassicChain, answers_as_the_layout_says) {
  for (const std::uint32_t depth : {1U, 3U})
    for (const std::uint32_t percent : {1U, 50U, 100U})
      for (const Layout layout : {Layout::contiguous, Layout::scattered})
        this->expect_right_answers({kDiskBytes, depth, percent, layout});
}

TEST(CountedCache, stays_right_when_counters_are_halved) {
  const ChainLayout layout({.disk_bytes = kDiskBytes});
  const testing::TempDir folder;
  const std::vector<std::string> paths = write_chain(layout, folder.path());
  const auto file = value_of(posix_file_system().open_read(paths.front()));
  CountedCache cache(5);
  for (const std::uint32_t grain : access_sequence(Access::zipf, layout.grains(), 20000)) {
    const std::uint64_t table = grain / kTableEntries;
    const EntryPlace place{
        grain, layout.tables_offset(layout.directory_offset()) + table * kTableEntries * 4,
        grain % kTableEntries};
    ASSERT_EQ(value_of(cache.entry(*file, place)) * kSectorBytes, layout.place(grain).file_offset);
  }
}

TEST(ClassicAllocator, keeps_both_tables_and_what_the_cache_says) {
  const ChainLayout layout(
      {.disk_bytes = kDiskBytes, .allocated_percent = 0, .redundant_tables = true});
  const testing::TempDir folder;
  const std::vector<std::string> paths = write_chain(layout, folder.path());
  Chain<CountedCache> chain = open_chain<CountedCache>(layout, paths);
  Allocator allocator = value_of(Allocator::open(chain.link(0)));
  std::vector<std::byte> data(layout.grain_bytes());
  std::uint64_t expected = layout.file_bytes();
  for (const std::uint64_t grain : {5U, 4U, 20000U, 700U, 0U}) {
    ASSERT_FALSE(value_of(chain.find(grain * layout.grain_bytes())).stored);
    fill_grain(grain, data);
    ASSERT_EQ(value_of(allocator.allocate(grain, data)), expected);
    ASSERT_EQ(value_of(chain.find(grain * layout.grain_bytes())).file_offset, expected);

    std::vector<std::byte> stored(layout.grain_bytes());
    require(chain.link(0).file().read_exact_at(expected, stored));
    ASSERT_EQ(stored, data);
    for (const std::uint64_t directory :
         {layout.directory_offset(), layout.redundant_directory_offset()}) {
      std::vector<std::byte> entry(4);
      require(
          chain.link(0).file().read_exact_at(layout.tables_offset(directory) + grain * 4, entry));
      EXPECT_EQ(load_le<std::uint32_t>(entry.data()) * kSectorBytes, expected);
    }
    expected += layout.grain_bytes();
  }
}

}  // namespace
}  // namespace grainmill::bench::classic
