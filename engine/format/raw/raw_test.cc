// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "engine/format/raw/open.h"
#include "engine/format/raw/sink.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

namespace grainmill::raw {
namespace {

using testing::Call;
using testing::HasError;
using testing::IsOk;
using testing::MemoryContent;

constexpr std::uint64_t kHole = 4096;

// A buffer described one letter a block of 4 KiB: '0' is zeros, anything else is data.
std::vector<std::byte> blocks(std::string_view letters) {
  std::vector<std::byte> bytes;
  for (const char letter : letters)
    bytes.resize(bytes.size() + kHole, letter == '0' ? std::byte{0} : std::byte(letter));
  return bytes;
}

class RawSinkTest : public ::testing::Test {
 protected:
  std::unique_ptr<Sink> make(std::uint64_t size_bytes = kMiB, std::uint64_t hole_bytes = kHole) {
    return make_sink(file_, size_bytes, hole_bytes).value();
  }
  // The writes that giving `bytes` to a new sink leads to.
  std::vector<Call> writes_of(std::uint64_t guest_offset, std::span<const std::byte> bytes,
                              std::uint64_t hole_bytes = kHole) {
    const auto sink = make(kMiB, hole_bytes);
    file_.content().forget_calls();
    EXPECT_TRUE(IsOk(sink->write(guest_offset, bytes)));
    EXPECT_TRUE(IsOk(sink->finish()));
    return file_.content().writes();
  }

  testing::MemoryFile file_{"out.raw"};
};

using Calls = std::vector<Call>;

TEST_F(RawSinkTest, MakesTheFileAsLongAsTheDisk) {
  make(5 * kTiB + 512);
  EXPECT_EQ(file_.content().size_bytes(), 5 * kTiB + 512);
  EXPECT_TRUE(file_.content().writes().empty());
}

TEST_F(RawSinkTest, WritesDataInOnePiece) {
  EXPECT_EQ(writes_of(0, blocks("AAAA")), (Calls{{0, 4 * kHole}}));
  EXPECT_EQ(writes_of(8 * kHole, blocks("A")), (Calls{{8 * kHole, kHole}}));
}

TEST_F(RawSinkTest, LeavesOutZeros) {
  EXPECT_EQ(writes_of(0, blocks("A0A")), (Calls{{0, kHole}, {2 * kHole, kHole}}));
  EXPECT_EQ(writes_of(0, blocks("00AA00")), (Calls{{2 * kHole, 2 * kHole}}));
  EXPECT_EQ(writes_of(0, blocks("0000")), Calls{});
  EXPECT_EQ(writes_of(kHole, blocks("A00B")), (Calls{{kHole, kHole}, {4 * kHole, kHole}}));
}

TEST_F(RawSinkTest, HolesAreAlignedOnTheDiskAndNotInTheBuffer) {
  // Two blocks of zeros that begin 512 bytes into a block of the disk: one whole block is a hole.
  EXPECT_EQ(writes_of(512, blocks("A00B")),
            (Calls{{512, 2 * kHole - 512}, {3 * kHole, kHole + 512}}));
}

TEST_F(RawSinkTest, KeepsZerosShorterThanAHole) {
  auto bytes = blocks("AAA");
  std::fill_n(bytes.begin() + 100, kHole, std::byte{0});
  EXPECT_EQ(writes_of(0, bytes), (Calls{{0, 3 * kHole}}));
}

TEST_F(RawSinkTest, TakesBuffersThatEndAnywhere) {
  auto bytes = blocks("A0");
  bytes.resize(kHole + 512);
  EXPECT_EQ(writes_of(0, bytes), (Calls{{0, kHole}}));
  bytes[kHole] = std::byte{1};
  EXPECT_EQ(writes_of(0, bytes), (Calls{{0, kHole + 512}}));
}

TEST_F(RawSinkTest, WritesEverythingWhenHolesAreOff) {
  EXPECT_EQ(writes_of(0, blocks("0A00"), 0), (Calls{{0, 4 * kHole}}));
}

TEST_F(RawSinkTest, LargerHolesCostFewerWrites) {
  EXPECT_EQ(writes_of(0, blocks("A0A0"), 2 * kHole), (Calls{{0, 4 * kHole}}));
  EXPECT_EQ(writes_of(0, blocks("A000"), 2 * kHole), (Calls{{0, 2 * kHole}}));
}

TEST_F(RawSinkTest, ZeroRunsCostNothing) {
  const auto sink = make();
  EXPECT_TRUE(IsOk(sink->write_zero(0, kMiB)));
  EXPECT_TRUE(IsOk(sink->finish()));
  EXPECT_TRUE(file_.content().writes().empty());
  EXPECT_EQ(file_.info()->allocated_bytes, 0U);
}

TEST_F(RawSinkTest, HoldsWhatWasWrittenInAnyOrder) {
  const auto sink = make(8 * kHole);
  EXPECT_EQ(sink->ordering(), SinkOrder::any);
  EXPECT_TRUE(IsOk(sink->write(4 * kHole, blocks("C0D0"))));
  EXPECT_TRUE(IsOk(sink->write(0, blocks("00AB"))));
  EXPECT_EQ(file_.content().bytes(), blocks("00ABC0D0"));
}

TEST_F(RawSinkTest, ReportsFailedWrites) {
  const auto sink = make();
  file_.content().fail_writes(kHole, 1);
  EXPECT_TRUE(IsOk(sink->write(0, blocks("A0"))));
  EXPECT_TRUE(HasError(sink->write(0, blocks("AA")), ErrorKind::io, "made to fail"));
}

class RawLinkTest : public ::testing::Test {
 protected:
  std::unique_ptr<Link> open(std::uint64_t size_bytes) {
    files_.add("/d.raw", "").set_size(size_bytes);
    return raw::open(files_.open_read("/d.raw").value(), files_, {}).value();
  }
  static std::string kinds(const ExtentList& list) {
    std::string text;
    for (const Extent& extent : list) text += extent.kind == ExtentKind::data ? 'd' : '0';
    return text;
  }

  testing::MemoryFileSystem files_;
};

TEST_F(RawLinkTest, IsTheFileByteByByte) {
  const auto link = open(kMiB + 7);
  EXPECT_EQ(link->size_bytes(), kMiB + 7);
  EXPECT_EQ(link->description().format, "raw");
  EXPECT_FALSE(link->description().parent.has_value());
  EXPECT_EQ(link->files().front()->path(), "/d.raw");
  EXPECT_TRUE(IsOk(link->check()));
}

TEST_F(RawLinkTest, HolesOfTheFileReadAsZeros) {
  const auto link = open(5 * kTiB);
  files_.content("/d.raw").put(3 * kTiB, blocks("AB"));
  ExtentList list;
  ASSERT_TRUE(IsOk(link->map(0, 5 * kTiB, list)));
  ASSERT_EQ(kinds(list), "0d0");
  EXPECT_EQ(list[1].guest_offset, 3 * kTiB);
  EXPECT_EQ(list[1].file_offset, 3 * kTiB);
  EXPECT_EQ(list[1].length, 2 * kHole);
  EXPECT_EQ(list[2].guest_end(), 5 * kTiB);
}

TEST_F(RawLinkTest, MapsExactlyTheRange) {
  const auto link = open(16 * kHole);
  files_.content("/d.raw").put(4 * kHole, blocks("ABCD"));
  ExtentList list;
  ASSERT_TRUE(IsOk(link->map(5 * kHole + 512, kHole, list)));
  ASSERT_EQ(kinds(list), "d");
  EXPECT_EQ(list[0].guest_offset, 5 * kHole + 512);
  EXPECT_EQ(list[0].length, kHole);
  list.clear();
  ASSERT_TRUE(IsOk(link->map(3 * kHole, 2 * kHole, list)));
  EXPECT_EQ(kinds(list), "0d");
}

TEST_F(RawLinkTest, SeesThatTheFileShrank) {
  const auto link = open(kMiB);
  files_.content("/d.raw").set_size(kMiB / 2);
  ExtentList list;
  EXPECT_TRUE(HasError(link->map(0, kMiB, list), ErrorKind::corrupt, "file ends at"));
}

TEST_F(RawLinkTest, TakesAnEmptyFile) { EXPECT_EQ(open(0)->size_bytes(), 0U); }

}  // namespace
}  // namespace grainmill::raw
