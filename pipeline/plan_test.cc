// SPDX-License-Identifier: Apache-2.0
#include "pipeline/plan.h"

#include "engine/base/arith.h"
#include "engine/io/file_system.h"
#include "tests/fakes/fake_link.h"
#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace grainmill {
namespace {

using testing::FakeLink;
using testing::HasError;

using Random = std::mt19937_64;

constexpr std::uint64_t kGrain = kDigestGrain;

UnitShape shape_of(std::uint64_t deflated_grain) {
  UnitShape shape{.guest_bytes = std::max<std::uint64_t>(256 * kKiB, deflated_grain)};
  shape.grain_bytes = deflated_grain;
  shape.stored_bytes = shape.guest_bytes + 34 * std::max(deflated_grain, kGrain);
  return shape;
}

class PlanTest : public ::testing::Test {
 protected:
  void add(ExtentKind kind, std::uint64_t length) {
    Extent extent{.guest_offset = size_, .length = length, .kind = kind};
    size_ += length;
    if (!extent.reads_as_zero()) {
      extent.file = &file_;
      extent.file_offset = place_ += kMiB;
    }
    extents_.push_back(extent);
  }
  void add_deflated(std::uint64_t grain, std::uint32_t stored) {
    add(ExtentKind::deflated, grain);
    extents_.back().grain_bytes = static_cast<std::uint32_t>(grain);
    extents_.back().grain_address = size_ - grain;
    extents_.back().stored_bytes = stored;
  }
  // Random kinds in whole `grain`s.
  void add_random(Random& random, std::uint64_t grain, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t kind = random() % 8;
      if (kind < 3)
        add_deflated(grain, static_cast<std::uint32_t>(512 * (1 + random() % (grain / 256))));
      else
        add(kind == 3 ? ExtentKind::zero : kind < 6 ? ExtentKind::hole : ExtentKind::data, grain);
    }
  }

  struct Piece {
    std::uint64_t offset;
    std::uint64_t length;
    bool zero;
    ExtentList extents;
    Status status;
  };
  std::vector<Piece> plan(const UnitShape& shape, std::uint64_t grain_bytes = kGrain,
                          const GuestRange& range = {}) {
    FakeLink link(extents_, grain_bytes);
    link.fail_in(fault_begin_, fault_end_);
    const ChainMap map({&link});
    Planner planner(map, shape, range);
    Unit unit(shape);
    std::vector<Piece> pieces;
    while (planner.next(unit)) {
      EXPECT_EQ(unit.sequence, pieces.size());
      pieces.push_back({unit.guest_offset, unit.length, unit.zero, unit.extents, unit.status});
    }
    return pieces;
  }

  // What holds of every plan.
  void expect_sound(const std::vector<Piece>& pieces, const UnitShape& shape) const {
    std::uint64_t at = 0;
    bool zero_before = false;
    for (const Piece& piece : pieces) {
      ASSERT_EQ(piece.offset, at);
      ASSERT_GT(piece.length, 0U);
      at += piece.length;
      ASSERT_EQ(piece.offset % kGrain, 0U);
      ASSERT_TRUE(at % kGrain == 0 || at == size_);
      ASSERT_FALSE(piece.zero && zero_before) << "two zero runs side by side at " << piece.offset;
      zero_before = piece.zero;
      ASSERT_NO_FATAL_FAILURE(expect_unit(piece, shape));
    }
    ASSERT_EQ(at, size_);
  }
  static void expect_unit(const Piece& piece, const UnitShape& shape) {
    ASSERT_TRUE(!piece.zero || piece.extents.empty());
    if (piece.zero) return;
    ASSERT_LE(piece.length, shape.guest_bytes);
    std::uint64_t at = piece.offset;
    std::uint64_t stored = 0;
    std::set<std::uint64_t> blocks;
    for (const Extent& extent : piece.extents) {
      ASSERT_EQ(extent.guest_offset, at);
      at = extent.guest_end();
      if (extent.kind != ExtentKind::deflated) continue;
      if (blocks.insert(extent.file_offset).second) stored += extent.stored_bytes;
      ASSERT_EQ(extent.length, extent.grain_bytes) << "a grain is cut";
    }
    ASSERT_EQ(at, piece.offset + piece.length);
    ASSERT_LE(stored, shape.stored_bytes);
  }

  testing::MemoryFile file_{"f"};
  ExtentList extents_;
  std::uint64_t size_ = 0;
  std::uint64_t place_ = 0;
  std::uint64_t fault_begin_ = 0;
  std::uint64_t fault_end_ = 0;
};

TEST_F(PlanTest, UnitsAreSoundForRandomDisks) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const std::uint64_t grain = std::uint64_t{4096} << 2 * (random() % 5);  // 4 KiB to 1 MiB
    extents_.clear();
    size_ = 0;
    add_random(random, grain, 300);
    add(ExtentKind::data, 512 * (random() % 200) + 512);
    const UnitShape shape = shape_of(grain);
    ASSERT_NO_FATAL_FAILURE(expect_sound(plan(shape, grain), shape));
  }
}

TEST_F(PlanTest, AnEmptyDiskIsOneUnit) {
  add(ExtentKind::hole, 20 * kTiB + 512);
  const auto pieces = plan(shape_of(0));
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_TRUE(pieces[0].zero);
  EXPECT_EQ(pieces[0].length, 20 * kTiB + 512);
}

// Ranges side by side hold what the whole does, wherever runs of zeros are cut.
TEST_F(PlanTest, RangesAddUpToTheDisk) {
  const UnitShape shape = shape_of(0);
  Random random(5);
  for (int i = 0; i < 64; ++i) add(random() % 2 == 0 ? ExtentKind::hole : ExtentKind::data, kGrain);
  add(ExtentKind::data, 512);
  std::vector<Piece> pieces;
  for (std::uint64_t begin = 0; begin < size_; begin += 3 * shape.guest_bytes) {
    const GuestRange range{.begin = begin, .end = begin + 3 * shape.guest_bytes};
    std::uint64_t at = begin;
    for (Piece& piece : plan(shape, kGrain, range)) {
      EXPECT_EQ(piece.offset, at);
      at += piece.length;
      pieces.push_back(std::move(piece));
    }
    EXPECT_EQ(at, std::min(range.end, size_));
  }
  std::uint64_t data = 0;
  for (const Piece& piece : pieces) {
    if (piece.zero) continue;
    ASSERT_NO_FATAL_FAILURE(expect_unit(piece, shape));
    data += piece.length;
  }
  std::uint64_t expected = 0;
  for (const Piece& piece : plan(shape)) expected += piece.zero ? 0 : piece.length;
  EXPECT_EQ(data, expected);
  EXPECT_TRUE(plan(shape, kGrain, {.begin = align_up(size_, shape.guest_bytes)}).empty());
}

TEST_F(PlanTest, NothingIsPlannedOfNothing) { EXPECT_TRUE(plan(shape_of(0)).empty()); }

TEST_F(PlanTest, ZeroRunsGoOnAcrossWindows) {
  add(ExtentKind::data, kGrain);
  add(ExtentKind::hole, 3 * kGiB);
  add(ExtentKind::zero, 3 * kGiB);
  add(ExtentKind::data, kGrain);
  const auto pieces = plan(shape_of(0));
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_TRUE(pieces[1].zero);
  EXPECT_EQ(pieces[1].length, 6 * kGiB);
}

TEST_F(PlanTest, ZerosSmallerThanADigestGrainStayInTheirUnit) {
  add(ExtentKind::data, 4096);
  add(ExtentKind::hole, kGrain - 8192);
  add(ExtentKind::data, 4096);
  const auto pieces = plan(shape_of(0), 4096);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_FALSE(pieces[0].zero);
  EXPECT_EQ(pieces[0].extents.size(), 3U);
}

TEST_F(PlanTest, DataEndsAtMultiplesOfTheUnit) {
  add(ExtentKind::hole, kGrain);
  add(ExtentKind::data, kMiB);
  const auto pieces = plan(shape_of(0));
  ASSERT_EQ(pieces.size(), 6U);
  EXPECT_EQ(pieces[1].length, 256 * kKiB - kGrain);
  EXPECT_EQ(pieces[2].offset, 256 * kKiB);
  EXPECT_EQ(pieces[2].length, 256 * kKiB);
}

TEST_F(PlanTest, LargeBlocksMakeSmallerUnits) {
  UnitShape shape = shape_of(kGrain);
  shape.stored_bytes = 3 * kGrain;
  for (int i = 0; i < 8; ++i) add_deflated(kGrain, 2 * kGrain);
  EXPECT_EQ(plan(shape).size(), 8U);
  for (Extent& extent : extents_) extent.stored_bytes = kGrain;
  EXPECT_EQ(plan(shape).size(), 4U);
}

TEST_F(PlanTest, APieceThatCannotBeMappedIsAUnitWithTheError) {
  add(ExtentKind::data, 3 * kGiB);
  fault_begin_ = kGiB + 5;
  fault_end_ = kGiB + 6;
  std::uint64_t lost = 0;
  std::uint64_t at = 0;
  for (const Piece& piece : plan(shape_of(0))) {
    EXPECT_EQ(piece.offset, at);
    at += piece.length;
    if (piece.status) continue;
    EXPECT_TRUE(HasError(piece.status, ErrorKind::corrupt, "map made to fail"));
    EXPECT_TRUE(piece.extents.empty());
    lost += piece.length;
  }
  EXPECT_EQ(at, 3 * kGiB);
  EXPECT_EQ(lost, shape_of(0).guest_bytes);  // and not the whole window
}

// Blocks of different files at the same offset are different blocks.
TEST_F(PlanTest, BlocksOfDifferentFilesAreCountedApart) {
  const testing::MemoryFile other("other");
  UnitShape shape = shape_of(kGrain);
  shape.stored_bytes = 3 * kGrain;
  for (int i = 0; i < 4; ++i) {
    add_deflated(kGrain, 2 * kGrain);
    extents_.back().file_offset = kMiB;
    if (i % 2 == 1) extents_.back().file = &other;
  }
  EXPECT_EQ(plan(shape).size(), 4U);
}

class ShapeTest : public ::testing::Test {
 protected:
  UnitShape shape(const std::string& layout, const std::vector<testing::LinkOptions>& options) {
    const auto built =
        testing::build_disk(dir_.path(), "disk", testing::parse_layout(layout), options);
    const auto disk = Disk::open(posix_file_system(), built.path(), {});
    EXPECT_TRUE(testing::IsOk(disk));
    return shape_for(disk.value(), 0);
  }
  static testing::LinkOptions stream(std::uint64_t grain_sectors = 128) {
    testing::LinkOptions options;
    options.kind = testing::Kind::stream_optimized;
    options.grain_sectors = grain_sectors;
    return options;
  }

  testing::TempDir dir_;
};

TEST_F(ShapeTest, PlainDisksNeedNoRoomForBlocks) {
  const UnitShape plain = shape("1m:A", {{}});
  EXPECT_EQ(plain.guest_bytes, 256 * kKiB);
  EXPECT_EQ(plain.memory_bytes(), 256 * kKiB);
}

TEST_F(ShapeTest, UnitsHoldTheLargestGrainWhole) {
  const UnitShape usual = shape("1m:A", {stream()});
  EXPECT_EQ(usual.guest_bytes, 256 * kKiB);
  EXPECT_EQ(usual.grain_bytes, 64 * kKiB);
  EXPECT_GE(usual.stored_bytes, 12 + 128 * kKiB);
  const UnitShape large = shape("4m:A", {stream(2048)});
  EXPECT_EQ(large.guest_bytes, kMiB);
  EXPECT_EQ(large.grain_bytes, kMiB);
  EXPECT_GE(large.stored_bytes, 12 + 2 * kMiB);
}

// A digest grain may need a block of every link at once.
TEST_F(ShapeTest, ChainsOfStreamsNeedRoomForEachLink) {
  const UnitShape chain = shape("1m:A | 4k:B 1020k:^ | 8k:^ 4k:C 1012k:^", {stream(), stream(8)});
  const std::uint64_t small_blocks = 16 * (8 * kKiB + kSectorBytes);
  EXPECT_GE(chain.stored_bytes, 2 * small_blocks + 12 + 128 * kKiB);
}

}  // namespace
}  // namespace grainmill
