// SPDX-License-Identifier: Apache-2.0
//
// Random access to disks that are written: every kind of link that can be, on chains, against a
// shadow in memory, our own checks and the reference reader.
#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "tests/conversion.h"
#include "tests/fakes/outcome.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kDiskBytes = 4 * kMiB + 3 * kSectorBytes;

struct Shape {
  std::string name;
  LinkOptions top;
  std::size_t links = 1;
};

// GoogleTest prints parameters by this.
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  const auto add = [&](const std::string& name, const LinkOptions& top) {
    for (const std::size_t links : {1U, 3U})
      all.push_back({fmt::format("{}_{}", name, links), top, links});
  };
  add("sparse", {});
  add("sparse_4k", {.grain_sectors = 8});
  add("sparse_1m", {.grain_sectors = 2048});
  add("zeroed", {.header_version = 2, .zero_grains = ZeroGrains::gte_one});
  add("one_copy", {.redundant_tables = false});
  add("few_tables", {.grain_sectors = 8, .gtes_per_gt = 128, .grain_tables = GrainTables::needed});
  add("unclean", {.unclean_shutdown = true});
  add("split", {.kind = Kind::two_gb_sparse, .split_size_bytes = kMiB});
  all.push_back({"flat", {.kind = Kind::monolithic_flat}, 1});
  all.push_back({"split_flat", {.kind = Kind::two_gb_flat, .split_size_bytes = kMiB}, 1});
  all.push_back({"vmfs", {.kind = Kind::vmfs}, 1});
  return all;
}

DiskOptions writing() {
  DiskOptions options;
  options.open.mode = OpenMode::read_write;
  return options;
}

Disk open_disk(const std::filesystem::path& path, const DiskOptions& options = {}) {
  Result<Disk> disk = Disk::open(posix_file_system(), path.string(), options);
  if (!disk) throw std::runtime_error(disk.error().to_string());
  return *std::move(disk);
}

// Closes a disk and lets go of its files.
void finish(Disk disk) { EXPECT_TRUE(IsOk(disk.close())); }

class DiskWriteTest : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    const Layout layout = random_layout(7, kDiskBytes, 64 * kKiB, GetParam().links);
    std::vector<LinkOptions> options(GetParam().links);
    options.back() = GetParam().top;
    built_ = build_disk(folder_.path(), "disk", layout, options);
    shadow_ = expected_bytes(layout, 0, kDiskBytes);
    for (std::size_t i = 0; i + 1 < built_.links.size(); ++i)
      for (const BuiltExtent& extent : built_.links[i].extents)
        parents_.emplace_back(extent.path, file_bytes(extent.path));
  }

  static std::vector<std::byte> all_of(const Disk& disk) {
    std::vector<std::byte> bytes(disk.size_bytes());
    EXPECT_TRUE(IsOk(disk.read_at(0, bytes)));
    return bytes;
  }

  // Everything that must hold of the closed image.
  void expect_sound() {
    const Disk disk = open_disk(built_.path());
    EXPECT_TRUE(IsOk(disk.check()));
    EXPECT_FALSE(disk.link(0).description().unclean_shutdown);
    expect_same_bytes(all_of(disk), shadow_);
    expect_same_bytes(ReferenceDisk::open(built_.path()).read(0, kDiskBytes), shadow_);
    for (const auto& [path, bytes] : parents_) EXPECT_EQ(file_bytes(path), bytes) << path;
    if (!has_qemu_img()) return;
    const CommandResult check = qemu_check(built_.path());
    EXPECT_TRUE(check.ok() || check.exit_status == 63)
        << check.out << check.err;  // 63: not for flat
  }

  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  Range random_range(std::mt19937_64& random) {
    const bool aligned = random() % 2 == 0;
    const std::uint64_t unit = aligned ? 4096 : 512;
    const std::uint64_t offset = random() % (kDiskBytes / unit) * unit;
    const std::uint64_t longest = random() % 8 == 0 ? kMiB : 96 * kKiB;
    return {offset, std::min(kDiskBytes - offset, (1 + random() % (longest / unit)) * unit)};
  }

  // One random change, made in the shadow as well.
  void change(Disk& disk, std::mt19937_64& random) {
    const Range range = random_range(random);
    const std::span<std::byte> shadow = std::span(shadow_).subspan(range.offset, range.length);
    const std::uint64_t kind = random() % 10;
    if (kind < 6) {
      for (std::byte& byte : shadow) byte = std::byte(random());
      EXPECT_TRUE(IsOk(disk.write_at(range.offset, shadow)));
    } else if (kind < 8) {
      std::ranges::fill(shadow, std::byte{0});
      EXPECT_TRUE(IsOk(disk.write_zeroes(range.offset, range.length)));
    } else if (kind == 8) {
      EXPECT_TRUE(IsOk(disk.discard(range.offset, range.length)));
      EXPECT_TRUE(IsOk(disk.read_at(range.offset, shadow)));
    } else {
      EXPECT_TRUE(IsOk(disk.flush()));
    }
    const Range read = random_range(random);
    std::vector<std::byte> got(read.length);
    EXPECT_TRUE(IsOk(disk.read_at(read.offset, got)));
    EXPECT_TRUE(std::equal(got.begin(), got.end(),
                           shadow_.begin() + static_cast<std::ptrdiff_t>(read.offset)));
  }

  TempDir folder_;
  BuiltDisk built_;
  std::vector<std::byte> shadow_;
  std::vector<std::pair<std::filesystem::path, std::vector<std::byte>>> parents_;
};

TEST_P(DiskWriteTest, ReadsBackWhatRandomChangesLeft) {
  for (std::uint64_t session = 0; session < 3; ++session) {
    std::mt19937_64 random(session);
    Disk disk = open_disk(built_.path(), writing());
    for (int i = 0; i < 60 && !HasFailure(); ++i) change(disk, random);
    expect_same_bytes(all_of(disk), shadow_);
    finish(std::move(disk));
    expect_sound();
  }
}

TEST_P(DiskWriteTest, IsWholeWithoutBeingClosed) {
  for (std::uint64_t session = 0; session < 3; ++session) {
    std::mt19937_64 random(session);
    {
      Disk disk = open_disk(built_.path(), writing());
      for (int i = 0; i < 20; ++i) change(disk, random);
      ASSERT_TRUE(IsOk(disk.flush()));
    }
    const Disk disk = open_disk(built_.path());
    EXPECT_TRUE(IsOk(disk.check()));
    expect_same_bytes(all_of(disk), shadow_);
  }
  Disk disk = open_disk(built_.path(), writing());
  finish(std::move(disk));
  expect_sound();
}

TEST_P(DiskWriteTest, TakesWritesFromManyThreads) {
  Disk disk = open_disk(built_.path(), writing());
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kStep = 3 * kSectorBytes;
  // Neighbouring pieces of one grain by different threads, and readers and flushes in between.
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::uint64_t thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      std::vector<std::byte> got(kStep);
      for (std::uint64_t at = thread * kStep; at + kStep <= kDiskBytes;
           at += kThreads * kStep * 7) {
        const std::span<std::byte> shadow = std::span(shadow_).subspan(at, kStep);
        std::ranges::fill(shadow, std::byte(thread + 1));
        EXPECT_TRUE(IsOk(disk.write_at(at, shadow)));
        EXPECT_TRUE(IsOk(disk.read_at(at, got)));
        EXPECT_TRUE(std::ranges::equal(got, shadow));
        if (at % (64 * kStep) == 0) {
          EXPECT_TRUE(IsOk(disk.flush()));
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  finish(std::move(disk));
  expect_sound();
}

TEST_P(DiskWriteTest, ChangesTheContentIdOnceAndOnlyForAChange) {
  const auto before = open_disk(built_.path()).link(0).description().content_id;
  {
    Disk disk = open_disk(built_.path(), writing());
    finish(std::move(disk));
  }
  EXPECT_EQ(open_disk(built_.path()).link(0).description().content_id, before);
  Disk disk = open_disk(built_.path(), writing());
  const std::vector<std::byte> sector(512, std::byte{1});
  ASSERT_TRUE(IsOk(disk.write_at(0, sector)));
  const auto changed = disk.link(0).description().content_id;
  EXPECT_NE(changed, before);
  ASSERT_TRUE(IsOk(disk.write_at(512, sector)));
  finish(std::move(disk));
  EXPECT_EQ(open_disk(built_.path()).link(0).description().content_id, changed);
}

TEST_P(DiskWriteTest, TellsWhereThingsAre) {
  Disk disk = open_disk(built_.path(), writing());
  const std::vector<std::byte> grain(kMiB, std::byte{1});
  ASSERT_TRUE(IsOk(disk.write_at(kMiB, grain)));
  ExtentList list;
  ASSERT_TRUE(IsOk(disk.status(kMiB, kMiB, list)));
  for (const Extent& extent : list) {
    EXPECT_EQ(extent.kind, ExtentKind::data);
    EXPECT_EQ(extent.link, 0U);
  }
  ASSERT_TRUE(IsOk(disk.write_zeroes(kMiB, kMiB)));
  std::vector<std::byte> got(kMiB);
  ASSERT_TRUE(IsOk(disk.read_at(kMiB, got)));
  EXPECT_EQ(got, std::vector<std::byte>(kMiB));
  finish(std::move(disk));
}

TEST_P(DiskWriteTest, RefusesRangesOutsideTheDisk) {
  Disk disk = open_disk(built_.path(), writing());
  std::vector<std::byte> bytes(1024);
  EXPECT_EQ(disk.read_at(kDiskBytes - 512, bytes).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(disk.write_at(kDiskBytes - 512, bytes).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(disk.write_zeroes(~std::uint64_t{0}, 2).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(disk.discard(kDiskBytes, 1).error().kind, ErrorKind::invalid_argument);
  EXPECT_TRUE(IsOk(disk.write_at(kDiskBytes, {})));
  finish(std::move(disk));
}

INSTANTIATE_TEST_SUITE_P(Shapes, DiskWriteTest, ::testing::ValuesIn(shapes()),
                         [](const auto& shape) { return shape.param.name; });

TEST(DiskWriteRefusals, NameTheReason) {
  const TempDir folder;
  const auto refusal = [&](const LinkOptions& options, std::string_view layout = "1m:A") {
    const BuiltDisk built = build_disk(folder.path(), "disk", parse_layout(layout), options);
    const Result<Disk> disk = Disk::open(posix_file_system(), built.path().string(), writing());
    return disk ? std::string("opened") : disk.error().to_string();
  };
  EXPECT_TRUE(refusal({.kind = Kind::stream_optimized}).contains("stream-optimised"));
  EXPECT_TRUE(refusal({.kind = Kind::vmfs_sparse}, "1m:A | 64k:B 960k:-").contains("COWD"));
  LinkOptions strange;
  strange.descriptor.parent_cid = 0x1234;
  const std::vector<LinkOptions> chain = {LinkOptions{}, strange};
  const BuiltDisk built = build_disk(folder.path(), "chain", parse_layout("1m:A | 1m:-"), chain);
  DiskOptions options = writing();
  options.ignore_content_ids = true;
  const Result<Disk> disk = Disk::open(posix_file_system(), built.path().string(), options);
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().kind, ErrorKind::mismatch);
  EXPECT_TRUE(disk.error().message.contains("rebase -u"));
}

TEST(DiskWriteRefusals, NobodyWritesTheParentsMeanwhile) {
  const TempDir folder;
  const BuiltDisk built = build_disk(folder.path(), "disk", parse_layout("1m:A | 1m:-"));
  const std::string parent = built.links[0].path.string();
  {
    Disk disk = open_disk(built.path(), writing());
    EXPECT_TRUE(HasError(Disk::open(posix_file_system(), parent, writing()), ErrorKind::busy));
    EXPECT_TRUE(IsOk(Disk::open(posix_file_system(), parent, {})));
    finish(std::move(disk));
  }
  const Disk writer = open_disk(parent, writing());
  EXPECT_TRUE(
      HasError(Disk::open(posix_file_system(), built.path().string(), writing()), ErrorKind::busy));
  DiskOptions stable;
  stable.open.mode = OpenMode::read_stable;
  EXPECT_TRUE(HasError(Disk::open(posix_file_system(), parent, stable), ErrorKind::busy));
  EXPECT_TRUE(IsOk(Disk::open(posix_file_system(), built.path().string(), {})));
}

TEST(DiskWriteRefusals, OneWriterAtATime) {
  const TempDir folder;
  const BuiltDisk built = build_disk(folder.path(), "disk", parse_layout("1m:A"));
  Disk disk = open_disk(built.path(), writing());
  const Result<Disk> other = Disk::open(posix_file_system(), built.path().string(), writing());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::busy);
  EXPECT_TRUE(IsOk(disk.close()));
}

}  // namespace
}  // namespace grainmill::testing
