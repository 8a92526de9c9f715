// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kPage = MemoryContent::kPageBytes;

std::vector<std::byte> filled(std::size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

std::pair<std::uint64_t, std::uint64_t> stored(const File& file, std::uint64_t offset) {
  const DataRange range = file.next_data(offset).value();
  return {range.begin, range.end};
}

TEST(MemoryFile, KeepsHolesApartFromData) {
  MemoryFile file("f");
  ASSERT_TRUE(IsOk(file.resize(10 * kPage)));
  ASSERT_TRUE(IsOk(file.write_at(2 * kPage + 10, filled(kPage, 1))));
  EXPECT_EQ(stored(file, 0), std::pair(2 * kPage, 4 * kPage));
  EXPECT_EQ(stored(file, 3 * kPage + 5), std::pair(3 * kPage + 5, 4 * kPage));
  EXPECT_EQ(stored(file, 4 * kPage), std::pair(4 * kPage, 4 * kPage));
  std::vector<std::byte> bytes(20);
  EXPECT_EQ(file.read_at(2 * kPage, bytes), 20U);
  EXPECT_EQ(bytes[9], std::byte{0});
  EXPECT_EQ(bytes[10], std::byte{1});
}

TEST(MemoryFile, ShrinksAndGrowsWithZeros) {
  MemoryFile file("f", std::make_shared<MemoryContent>(filled(kPage, 7)));
  ASSERT_TRUE(IsOk(file.resize(10)));
  ASSERT_TRUE(IsOk(file.resize(20)));
  std::vector<std::byte> bytes(30);
  EXPECT_EQ(file.read_at(0, bytes), 20U);
  EXPECT_EQ(bytes[9], std::byte{7});
  EXPECT_EQ(bytes[10], std::byte{0});
  EXPECT_EQ(file.read_at(20, bytes), 0U);
}

TEST(MemoryFile, RecordsCallsAndFailsWhereItIsTold) {
  MemoryFile file("f");
  ASSERT_TRUE(IsOk(file.write_at(0, filled(100, 1))));
  file.content().fail_reads(50, 1);
  std::vector<std::byte> bytes(50);
  EXPECT_TRUE(IsOk(file.read_at(0, bytes)));
  EXPECT_TRUE(HasError(file.read_at(1, bytes), ErrorKind::io, "made to fail"));
  EXPECT_EQ(file.content().reads(), (std::vector<Call>{{0, 50}, {1, 50}}));
  EXPECT_EQ(file.content().writes(), (std::vector<Call>{{0, 100}}));
}

TEST(MemoryFileSystem, KeepsNamesBeneathTheirFolder) {
  MemoryFileSystem files;
  files.add("/a/b/c", "text");
  EXPECT_TRUE(IsOk(files.open_beneath("/a", "b/c", OpenMode::read)));
  EXPECT_TRUE(IsOk(files.open_beneath("/a/b", "../b/c", OpenMode::read)));
  EXPECT_TRUE(HasError(files.open_beneath("/a/b", "../../x", OpenMode::read), ErrorKind::denied));
  EXPECT_TRUE(HasError(files.open_beneath("/a/b", "/a/b/c", OpenMode::read), ErrorKind::denied));
  EXPECT_TRUE(HasError(files.open_beneath("/a", "b/d", OpenMode::read), ErrorKind::not_found));
  EXPECT_EQ(files.list("/a/b").value(), std::vector<std::string>{"c"});
}

TEST(MemoryFileSystem, ShowsPendingFilesOnlyWhenPublished) {
  MemoryFileSystem files;
  auto pending = files.create_pending("/out").value();
  ASSERT_TRUE(IsOk(pending->file().write_at(0, filled(5, 1))));
  EXPECT_FALSE(files.has("/out"));
  ASSERT_TRUE(IsOk(pending->publish(Durability::unsynced)));
  EXPECT_EQ(files.content("/out").size_bytes(), 5U);
}

}  // namespace
}  // namespace grainmill::testing
