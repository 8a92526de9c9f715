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
  void make(std::uint64_t size_bytes = kMiB, std::uint64_t hole_bytes = kHole,
            bool in_place = false) {
    sink_ = make_sink(files_, {.path = "/out.raw",
                               .size_bytes = size_bytes,
                               .hole_bytes = hole_bytes,
                               .in_place = in_place})
                .value();
    encoder_ = sink_->make_encoder();
  }
  // Stores bytes as the pipeline does, a block a write.
  Status store(std::uint64_t guest_offset, std::span<const std::byte> bytes) {
    return store({.guest_offset = guest_offset, .length = bytes.size(), .bytes = bytes});
  }
  Status store(Piece piece) {
    GM_CHECK(encoder_->encode(piece));
    for (const OutputBlock& block : piece.blocks) {
      writes_.push_back({block.file_offset, block.bytes.size()});
      GM_CHECK(block.bytes.empty() ? block.file->zero_range(block.file_offset, block.zero_bytes)
                                   : block.file->write_at(block.file_offset, block.bytes));
    }
    return {};
  }
  MemoryContent& publish() {
    EXPECT_TRUE(IsOk(sink_->finish()));
    EXPECT_TRUE(IsOk(sink_->outputs().publish(Durability::synced)));
    return files_.content("/out.raw");
  }
  // The writes that giving `bytes` to a new sink leads to.
  std::vector<Call> writes_of(std::uint64_t guest_offset, std::span<const std::byte> bytes,
                              std::uint64_t hole_bytes = kHole) {
    make(kMiB, hole_bytes);
    writes_.clear();
    EXPECT_TRUE(IsOk(store(guest_offset, bytes)));
    return writes_;
  }

  testing::MemoryFileSystem files_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<Encoder> encoder_;
  std::vector<Call> writes_;  // a length of 0: zeros
};

using Calls = std::vector<Call>;

TEST_F(RawSinkTest, MakesTheFileAsLongAsTheDisk) {
  make(5 * kTiB + 512);
  EXPECT_EQ(publish().size_bytes(), 5 * kTiB + 512);
  EXPECT_TRUE(publish().writes().empty());
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
  make();
  EXPECT_TRUE(IsOk(store({.length = kMiB, .zero = true})));
  EXPECT_TRUE(writes_.empty());
}

TEST_F(RawSinkTest, HoldsWhatWasWrittenInAnyOrder) {
  make(8 * kHole);
  EXPECT_EQ(sink_->shape().order, SinkOrder::any);
  EXPECT_TRUE(IsOk(store(4 * kHole, blocks("C0D0"))));
  EXPECT_TRUE(IsOk(store(0, blocks("00AB"))));
  EXPECT_EQ(publish().bytes(), blocks("00ABC0D0"));
}

TEST_F(RawSinkTest, WritesZerosOverWhatIsThere) {
  files_.add("/out.raw", blocks("XXXXXXXXY"));
  make(8 * kHole, kHole, true);
  EXPECT_TRUE(IsOk(store(0, blocks("A00B"))));
  EXPECT_TRUE(IsOk(store({.guest_offset = 4 * kHole, .length = 4 * kHole, .zero = true})));
  EXPECT_EQ(writes_, (Calls{{0, kHole}, {kHole, 0}, {3 * kHole, kHole}, {4 * kHole, 0}}));
  EXPECT_EQ(files_.content("/out.raw").bytes(), blocks("A00B0000Y"));
}

TEST_F(RawSinkTest, WhatIsThereMustBeLargeEnough) {
  files_.add("/out.raw", blocks("XX"));
  const auto sink =
      make_sink(files_, {.path = "/out.raw", .size_bytes = 2 * kHole + 512, .in_place = true});
  EXPECT_TRUE(HasError(sink, ErrorKind::invalid_argument,
                       "/out.raw: has 8192 bytes, and the disk has 8704"));
}

TEST_F(RawSinkTest, RefusesWhatRawDisksDoNotHave) {
  SinkOptions options{.path = "/out.raw", .size_bytes = kMiB};
  options.compress = true;
  EXPECT_TRUE(HasError(make_sink(files_, options), ErrorKind::invalid_argument, "leave out -c"));
  options.compress = false;
  options.settings = {{"subformat", "x"}};
  EXPECT_TRUE(HasError(make_sink(files_, options), ErrorKind::invalid_argument, "no options"));
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
