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

TEST(MemoryFile, ZeroesARangeAndGivesItsPagesBack) {
  MemoryFile file("f", std::make_shared<MemoryContent>(filled(200 * kPage, 7)));
  ASSERT_TRUE(IsOk(file.zero_range(10, 150 * kPage)));
  EXPECT_EQ(file.info()->size_bytes, 200 * kPage);
  EXPECT_EQ(file.info()->allocated_bytes, 51 * kPage);
  EXPECT_EQ(stored(file, kPage), std::pair(150 * kPage, 200 * kPage));
  const std::vector<std::byte> bytes = file.content().bytes();
  EXPECT_EQ(bytes[9], std::byte{7});
  EXPECT_EQ(bytes[10], std::byte{0});
  EXPECT_EQ(bytes[150 * kPage + 9], std::byte{0});
  EXPECT_EQ(bytes[150 * kPage + 10], std::byte{7});
  ASSERT_TRUE(IsOk(file.zero_range(0, 200 * kPage)));
  EXPECT_EQ(file.info()->allocated_bytes, 0U);
}

TEST(MemoryFile, KeepsCopiesApart) {
  MemoryContent content(filled(100 * kPage, 7));
  const auto copy = content.copy();
  content.put(5, filled(1, 1));
  copy->put(70 * kPage, filled(1, 2));
  copy->set_size(71 * kPage);
  EXPECT_EQ(content.size_bytes(), 100 * kPage);
  EXPECT_EQ(content.bytes()[70 * kPage], std::byte{7});
  EXPECT_EQ(content.bytes()[99 * kPage], std::byte{7});
  EXPECT_EQ(copy->bytes()[5], std::byte{7});
  EXPECT_EQ(copy->bytes()[70 * kPage], std::byte{2});
}

TEST(MemoryFile, TakesRangesOverAsTheyAre) {
  MemoryContent from(filled(3 * kPage, 7));
  from.zero(kPage, kPage);
  MemoryContent to(filled(3 * kPage, 1));
  to.put_pages(10, 2 * kPage, from.pages(10, 2 * kPage));
  const std::vector<std::byte> bytes = to.bytes();
  EXPECT_EQ(bytes[9], std::byte{1});
  EXPECT_EQ(bytes[10], std::byte{7});
  EXPECT_EQ(bytes[kPage], std::byte{0});
  EXPECT_EQ(bytes[2 * kPage + 9], std::byte{7});
  EXPECT_EQ(bytes[2 * kPage + 10], std::byte{1});
  MemoryContent grown;
  grown.put_pages(2 * kPage, 100, from.pages(2 * kPage, 100));
  EXPECT_EQ(grown.size_bytes(), 2 * kPage + 100);
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

TEST(MemoryFileSystem, LetsOneWriterInAtATime) {
  MemoryFileSystem files;
  files.add("/f", "text");
  const auto reader = files.open_read("/f").value();
  auto writer = files.open_write("/f").value();
  EXPECT_TRUE(HasError(files.open_write("/f"), ErrorKind::busy));
  EXPECT_TRUE(HasError(files.open_beneath("/", "f", OpenMode::read_write), ErrorKind::busy));
  EXPECT_TRUE(IsOk(files.open_read("/f")));
  EXPECT_TRUE(IsOk(writer->write_at(0, filled(1, 1))));
  writer.reset();
  EXPECT_TRUE(IsOk(files.open_write("/f")));
  EXPECT_TRUE(HasError(files.open_write("/absent"), ErrorKind::not_found));
}

TEST(MemoryFileSystem, RefusesToWriteWhatIsOpenForReading) {
  MemoryFileSystem files;
  files.add("/f", "text");
  const auto file = files.open_read("/f").value();
  EXPECT_TRUE(HasError(file->write_at(0, filled(1, 1)), ErrorKind::io));
  EXPECT_TRUE(HasError(file->zero_range(0, 1), ErrorKind::io));
  EXPECT_TRUE(HasError(file->resize(0), ErrorKind::io));
  EXPECT_EQ(files.content("/f").size_bytes(), 4U);
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
