// SPDX-License-Identifier: Apache-2.0
#include "engine/map/grain_tables.h"

#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace grainmill {
namespace {

using testing::Call;
using testing::HasError;

constexpr std::uint64_t kEntries = 512;
constexpr std::uint64_t kTableBytes = 4 * kEntries;
constexpr std::uint64_t kDirectory = 1024;
constexpr std::uint64_t kFirstByte = 1024;

// Tables of 512 entries for grains of 64 KiB; table t holds 1000 * t + 1, 1000 * t + 2, ...
class GrainTablesTest : public ::testing::Test {
 protected:
  void directory(const std::vector<std::uint32_t>& sectors) {
    tables_ = sectors.size();
    shape_.capacity_bytes = tables_ * kEntries * shape_.grain_bytes;
    file_.content().put_words(kDirectory, sectors);
    for (std::size_t table = 0; table < tables_; ++table)
      if (sectors[table] != 0) put_table(table, sectors[table] * kSectorBytes);
  }

  void put_table(std::size_t table, std::uint64_t offset) {
    std::vector<std::uint32_t> entries(kEntries);
    std::iota(entries.begin(), entries.end(), first_entry(table));
    file_.content().put_words(offset, entries);
  }

  static std::uint32_t first_entry(std::size_t table) {
    return static_cast<std::uint32_t>(1000 * table + 1);
  }

  Result<GrainTables> open() { return GrainTables::open(file_, shape_, kDirectory, kFirstByte); }

  // Loads into a buffer of rubbish; rubbish stays where nothing was loaded.
  static std::vector<std::uint32_t> load(const GrainTables& tables, std::uint64_t first,
                                         std::size_t count, bool stored = true) {
    std::vector<std::uint32_t> out(count, 0xdeadbeefU);
    EXPECT_EQ(tables.load(first, out), stored);
    return out;
  }

  static std::uint32_t expected(const std::vector<std::uint32_t>& sectors, std::uint64_t grain) {
    const std::uint64_t table = grain / kEntries;
    if (sectors[table] == 0) return 0;
    return first_entry(table) + static_cast<std::uint32_t>(grain % kEntries);
  }

  std::size_t tables_ = 0;
  GrainTableShape shape_{.capacity_bytes = 0, .grain_bytes = 65536, .entries_per_table = 512};
  testing::MemoryFile file_{"f.vmdk"};
};

TEST_F(GrainTablesTest, CountsTablesForAnyCapacity) {
  shape_.capacity_bytes = 1;
  EXPECT_EQ(shape_.grains(), 1U);
  EXPECT_EQ(shape_.tables(), 1U);
  shape_.capacity_bytes = kEntries * 65536;
  EXPECT_EQ(shape_.tables(), 1U);
  EXPECT_EQ(shape_.directory_bytes(), 4U);
  ++shape_.capacity_bytes;
  EXPECT_EQ(shape_.tables(), 2U);
}

TEST_F(GrainTablesTest, ReadsTablesThatLieTogetherAtOnce) {
  directory({16, 20, 24, 28});
  const GrainTables tables = open().value();
  file_.content().forget_calls();
  const auto entries = load(tables, 0, 4 * kEntries);
  EXPECT_EQ(entries.front(), 1U);
  EXPECT_EQ(entries.back(), 3000U + kEntries);
  EXPECT_EQ(file_.content().reads(), (std::vector<Call>{{16 * kSectorBytes, 4 * kTableBytes}}));
}

TEST_F(GrainTablesTest, ReadsScatteredTablesOneByOne) {
  directory({28, 16, 24, 20});
  const GrainTables tables = open().value();
  file_.content().forget_calls();
  const auto entries = load(tables, kEntries - 1, 2 * kEntries);
  EXPECT_EQ(entries[0], kEntries);
  EXPECT_EQ(entries[1], 1001U);
  EXPECT_EQ(entries[kEntries + 1], 2001U);
  EXPECT_EQ(file_.content().reads().size(), 3U);
}

TEST_F(GrainTablesTest, ReadsNoMoreThanItIsAskedFor) {
  directory({16, 20});
  const GrainTables tables = open().value();
  file_.content().forget_calls();
  EXPECT_EQ(load(tables, 510, 3), (std::vector<std::uint32_t>{511, 512, 1001}));
  EXPECT_EQ(file_.content().reads(), (std::vector<Call>{{(16 * kSectorBytes) + 2040, 12}}));
}

TEST_F(GrainTablesTest, MissingTablesGiveZeros) {
  directory({16, 0, 0, 20});
  const GrainTables tables = open().value();
  const auto entries = load(tables, 0, 4 * kEntries);
  EXPECT_EQ(entries[kEntries - 1], kEntries);
  EXPECT_EQ(entries[kEntries], 0U);
  EXPECT_EQ(entries[3 * kEntries - 1], 0U);
  EXPECT_EQ(entries[3 * kEntries], 3001U);
}

TEST_F(GrainTablesTest, AnEmptyDiskCostsNoReading) {
  directory({0, 0, 0, 0});
  const GrainTables tables = open().value();
  file_.content().forget_calls();
  EXPECT_EQ(load(tables, 100, 3 * kEntries, false)[0], 0xdeadbeefU);
  EXPECT_TRUE(file_.content().reads().empty());
}

// Tables that were made in advance and never written are holes of the file system.
TEST_F(GrainTablesTest, TablesInHolesOfTheFileSystemAreNotRead) {
  directory({0, 64, 0});
  file_.content().set_size(kMiB);
  file_.content().put_words(kDirectory, std::vector<std::uint32_t>{256, 64, 512});
  const GrainTables tables = open().value();
  file_.content().forget_calls();
  EXPECT_EQ(load(tables, 0, kEntries, false).size(), kEntries);
  EXPECT_EQ(load(tables, 2 * kEntries, kEntries, false).size(), kEntries);
  EXPECT_TRUE(file_.content().reads().empty());
  const auto entries = load(tables, 0, 3 * kEntries);
  EXPECT_EQ(entries[0], 0U);
  EXPECT_EQ(entries[kEntries], 1001U);
  EXPECT_EQ(entries[2 * kEntries], 0U);
}

TEST_F(GrainTablesTest, AgreesWithANaiveModel) {
  std::mt19937_64 random(1);
  std::vector<std::uint32_t> sectors(32);
  std::uint32_t next = 64;
  for (std::uint32_t& sector : sectors) {
    if (random() % 3 == 0) continue;
    sector = next;
    next += random() % 2 == 0 ? 4 : 40;
  }
  directory(sectors);
  const GrainTables tables = open().value();
  for (int i = 0; i < 500; ++i) {
    const std::uint64_t first = random() % (32 * kEntries);
    std::vector<std::uint32_t> out(1 + random() % (32 * kEntries - first), 0xdeadbeefU);
    if (!tables.load(first, out).value()) out.assign(out.size(), 0U);
    for (std::size_t j = 0; j < out.size(); ++j)
      ASSERT_EQ(out[j], expected(sectors, first + j)) << "grain " << first + j;
  }
}

TEST_F(GrainTablesTest, SaysWhereTablesAndEntriesAre) {
  directory({16, 0, 24});
  const GrainTables tables = open().value();
  EXPECT_EQ(tables.table_offset(0), 16 * kSectorBytes);
  EXPECT_EQ(tables.table_offset(1), 0U);
  EXPECT_EQ(tables.entry_offset(2 * kEntries + 3), 24 * kSectorBytes + 12);
}

TEST_F(GrainTablesTest, TablesMayLieBeyondFourGiB) {
  const std::uint32_t far = 0xfffffff0U;  // sectors: just under 2 TiB
  directory({far});
  const GrainTables tables = open().value();
  EXPECT_EQ(tables.table_offset(0), far * kSectorBytes);
  EXPECT_EQ(load(tables, 5, 1)[0], 6U);
}

TEST_F(GrainTablesTest, RefusesADirectoryPastTheEnd) {
  directory({16, 20});
  file_.content().set_size(kDirectory + 7);
  EXPECT_TRUE(HasError(open(), ErrorKind::corrupt, "does not fit in the file"));
}

TEST_F(GrainTablesTest, RefusesEntriesThatPointNowhere) {
  directory({16, 20});
  const auto with = [&](std::uint32_t sector) {
    file_.content().put_words(kDirectory + 4, std::vector{sector});
    return open();
  };
  const std::uint64_t end = file_.content().size_bytes();
  EXPECT_TRUE(HasError(with(1), ErrorKind::corrupt, "inside the header"));
  const auto past = with(static_cast<std::uint32_t>(end / kSectorBytes) - 3);
  EXPECT_TRUE(HasError(past, ErrorKind::corrupt, "past the end of the file"));
  EXPECT_EQ(past.error().offset, kDirectory + 4);
  EXPECT_TRUE(HasError(with(0xffffffffU), ErrorKind::corrupt, "past the end of the file"));
  EXPECT_TRUE(testing::IsOk(with(static_cast<std::uint32_t>(end / kSectorBytes) - 4)));
}

// A capacity that no disk has must not cost memory, nor overflow.
TEST_F(GrainTablesTest, RefusesAnOversizeDirectory) {
  directory({16});
  file_.content().set_size(kGiB);
  shape_.capacity_bytes = std::uint64_t{1} << 59;
  EXPECT_TRUE(HasError(open(), ErrorKind::corrupt, "more than any real image has"));
}

TEST_F(GrainTablesTest, ReportsFailedReads) {
  directory({16, 20});
  const GrainTables tables = open().value();
  file_.content().fail_reads(20 * kSectorBytes, 4);
  std::vector<std::uint32_t> out(kEntries);
  EXPECT_TRUE(testing::IsOk(tables.load(0, out)));
  EXPECT_TRUE(HasError(tables.load(1, out), ErrorKind::io, "made to fail"));
  file_.content().set_size(20 * kSectorBytes);
  EXPECT_TRUE(HasError(tables.load(kEntries, out), ErrorKind::corrupt, "file ends at"));
}

TEST(RunLength, EndsWhereTheFileDoesNotGoOn) {
  const std::vector<std::uint32_t> entries = {0, 0, 128, 256, 384, 640, 1, 1, 129, 0};
  const std::vector<std::size_t> expected = {2, 1, 3, 2, 1, 1, 2, 1, 1, 1};
  for (std::size_t i = 0; i < entries.size(); ++i)
    EXPECT_EQ(run_length(entries, i, 128), expected[i]) << i;
}

}  // namespace
}  // namespace grainmill
