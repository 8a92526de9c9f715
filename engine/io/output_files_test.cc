// SPDX-License-Identifier: Apache-2.0
#include "engine/io/output_files.h"

#include "engine/io/stream_file.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <string>
#include <string_view>

#include <unistd.h>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class OutputFilesTest : public ::testing::Test {
 protected:
  void add(const std::string& path, std::string_view text) {
    File* file = outputs_.add(path).value();
    ASSERT_TRUE(IsOk(file->write_at(0, as_bytes(text))));
  }
  std::string content(const std::string& path) {
    const std::vector<std::byte> bytes = files_.content(path).bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  testing::MemoryFileSystem files_;
  OutputFiles outputs_{files_};
};

TEST_F(OutputFilesTest, HaveNoNamesBeforeTheyArePublished) {
  add("/disk-s001.vmdk", "one");
  add("/disk.vmdk", "text");
  EXPECT_TRUE(files_.paths().empty());
  EXPECT_EQ(outputs_.paths(), (std::vector<std::string>{"/disk-s001.vmdk", "/disk.vmdk"}));
  EXPECT_TRUE(IsOk(outputs_.sync()));
  EXPECT_TRUE(IsOk(outputs_.publish(Durability::synced)));
  EXPECT_EQ(content("/disk-s001.vmdk"), "one");
  EXPECT_EQ(content("/disk.vmdk"), "text");
}

TEST_F(OutputFilesTest, ReplaceOlderOnesAndCanBeWithdrawn) {
  files_.add("/disk-s001.vmdk", "older");
  files_.add("/disk.vmdk", "older");
  add("/disk-s001.vmdk", "one");
  add("/disk.vmdk", "text");
  EXPECT_EQ(content("/disk.vmdk"), "older");
  EXPECT_TRUE(IsOk(outputs_.publish(Durability::unsynced)));
  EXPECT_EQ(content("/disk.vmdk"), "text");
  outputs_.withdraw();
  EXPECT_TRUE(files_.paths().empty());
}

TEST_F(OutputFilesTest, WhatIsWrittenInPlaceKeepsItsName) {
  files_.add("/device", "older");
  File* file = outputs_.add_in_place(files_.open_in_place("/device").value());
  ASSERT_TRUE(IsOk(file->write_at(0, as_bytes("new"))));
  EXPECT_EQ(content("/device"), "newer");
  EXPECT_TRUE(IsOk(outputs_.publish(Durability::synced)));
  outputs_.withdraw();
  EXPECT_EQ(content("/device"), "newer");
}

class StreamFileTest : public ::testing::Test {
 protected:
  StreamFileTest() { EXPECT_EQ(::pipe(ends_.data()), 0); }
  ~StreamFileTest() override {
    for (const int end : ends_) ::close(end);
  }
  std::string received() {
    std::array<char, 64> buffer{};
    const ssize_t got = ::read(ends_[0], buffer.data(), buffer.size());
    return {buffer.data(), static_cast<std::size_t>(got)};
  }

  std::array<int, 2> ends_{};
};

TEST_F(StreamFileTest, TakesWritesInOrder) {
  StreamFile stream("out", ends_[1]);
  EXPECT_TRUE(IsOk(stream.write_at(0, as_bytes("abc"))));
  EXPECT_TRUE(IsOk(stream.zero_range(3, 2)));
  EXPECT_TRUE(IsOk(stream.write_at(5, as_bytes("d"))));
  EXPECT_TRUE(IsOk(stream.sync()));
  EXPECT_EQ(received(), std::string("abc\0\0d", 6));
  EXPECT_EQ(stream.info()->size_bytes, 6U);
}

TEST_F(StreamFileTest, RefusesWhatAStreamCannot) {
  StreamFile stream("out", ends_[1]);
  EXPECT_TRUE(IsOk(stream.write_at(0, as_bytes("abc"))));
  EXPECT_TRUE(HasError(stream.write_at(2, as_bytes("x")), ErrorKind::unsupported, "is at 3 now"));
  EXPECT_TRUE(HasError(stream.resize(10), ErrorKind::unsupported));
  std::array<std::byte, 1> buffer{};
  EXPECT_TRUE(HasError(stream.read_at(0, buffer), ErrorKind::unsupported));
  EXPECT_TRUE(HasError(stream.next_data(0), ErrorKind::unsupported));
}

}  // namespace
}  // namespace grainmill
