// SPDX-License-Identifier: Apache-2.0
//
// Merging snapshots and changing parents: against what the layouts say, the reference reader, and
// power cuts.
#include "pipeline/commit.h"

#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "pipeline/rebase.h"
#include "tests/conversion.h"
#include "tests/fakes/outcome.h"
#include "tests/power_cut/power_cut_file_system.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kDiskBytes = 3 * kMiB + 5 * kSectorBytes;

std::vector<std::byte> read_all(FileSystem& files, const std::filesystem::path& path,
                                const DiskOptions& options = {}) {
  const Result<Disk> disk = Disk::open(files, path.string(), options);
  EXPECT_TRUE(IsOk(disk));
  if (!disk) return {};
  EXPECT_TRUE(IsOk(disk->check()));
  std::vector<std::byte> bytes(disk->size_bytes());
  EXPECT_TRUE(IsOk(disk->read_at(0, bytes)));
  return bytes;
}

std::vector<std::byte> read_all(const std::filesystem::path& path) {
  return read_all(posix_file_system(), path);
}

std::uint32_t id_of(const std::filesystem::path& path) {
  DiskOptions options;
  options.open_parents = false;
  const Result<Disk> disk = Disk::open(posix_file_system(), path.string(), options);
  EXPECT_TRUE(IsOk(disk));
  return disk ? disk->link(0).description().content_id.value_or(0) : 0;
}

struct Shape {
  std::string name;
  LinkOptions parent;
  LinkOptions snapshot;
};

// GoogleTest prints parameters by this.
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class CommitTest : public ::testing::TestWithParam<Shape> {
 protected:
  // Three links: base, the parent that is committed to, the snapshot.
  void SetUp() override {
    layout_ = random_layout(11, kDiskBytes, 64 * kKiB, 3);
    const std::vector<LinkOptions> options = {LinkOptions{}, GetParam().parent,
                                              GetParam().snapshot};
    built_ = build_disk(folder_.path(), "disk", layout_, options);
    contents_ = expected_bytes(layout_, 0, kDiskBytes);
  }
  const std::filesystem::path& parent() const { return built_.links[1].path; }
  const std::filesystem::path& snapshot() const { return built_.links[2].path; }
  CommitOptions options() const { return {.snapshot = snapshot().string(), .disk = {}}; }

  TempDir folder_;
  Layout layout_;
  BuiltDisk built_;
  std::vector<std::byte> contents_;
};

TEST_P(CommitTest, GivesTheParentTheContentsOfTheSnapshot) {
  const std::vector<std::byte> base = file_bytes(built_.links[0].path);
  const std::uint32_t id = id_of(snapshot());
  const Result<CommitReport> report = commit(posix_file_system(), options());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->parent_path, parent().string());
  EXPECT_FALSE(report->resumed);
  EXPECT_EQ(report->snapshot_linked, GetParam().snapshot.kind != Kind::stream_optimized &&
                                         GetParam().snapshot.kind != Kind::vmfs_sparse);
  expect_same_bytes(read_all(parent()), contents_);
  expect_same_bytes(ReferenceDisk::open(parent()).read(0, kDiskBytes), contents_);
  EXPECT_EQ(id_of(parent()), id);
  EXPECT_EQ(file_bytes(built_.links[0].path), base);
  if (report->snapshot_linked) expect_same_bytes(read_all(snapshot()), contents_);
}

TEST_P(CommitTest, IsFinishedWhenItIsRunAgain) {
  // Another writer's failure in the middle: the disk is full.
  std::atomic<bool> cancelled = false;
  CommitOptions stopped = options();
  stopped.cancelled = &cancelled;
  stopped.progress = [&](std::uint64_t /*done*/, std::uint64_t /*total*/) {};
  cancelled = true;
  EXPECT_TRUE(HasError(commit(posix_file_system(), stopped), ErrorKind::cancelled, "run it again"));
  EXPECT_TRUE(HasError(Disk::open(posix_file_system(), snapshot().string(), {}),
                       ErrorKind::mismatch, "`grainmill commit` again"));
  DiskOptions ignoring;
  ignoring.ignore_content_ids = true;
  expect_same_bytes(read_all(posix_file_system(), snapshot(), ignoring), contents_);

  const Result<CommitReport> report = commit(posix_file_system(), options());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->resumed);
  expect_same_bytes(read_all(parent()), contents_);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CommitTest,
    ::testing::Values(Shape{"sparse", {}, {}}, Shape{"smaller_grains", {}, {.grain_sectors = 8}},
                      Shape{"larger_grains", {.grain_sectors = 8}, {.grain_sectors = 512}},
                      Shape{"split", {.kind = Kind::two_gb_sparse, .split_size_bytes = kMiB}, {}},
                      Shape{
                          "zeroed", {.header_version = 2, .zero_grains = ZeroGrains::gte_one}, {}},
                      Shape{"stream_optimized", {}, {.kind = Kind::stream_optimized}},
                      Shape{"vmfs_sparse", {}, {.kind = Kind::vmfs_sparse}}),
    [](const auto& shape) { return shape.param.name; });

TEST(Commit, RefusesWhatIsNoSnapshotOrDoesNotMatch) {
  const TempDir folder;
  const BuiltDisk base = build_disk(folder.path(), "base", parse_layout("1m:A"));
  EXPECT_TRUE(HasError(commit(posix_file_system(), {.snapshot = base.path().string(), .disk = {}}),
                       ErrorKind::invalid_argument, "not a snapshot"));
  const BuiltDisk larger = build_disk(folder.path(), "larger", parse_layout("1m:A | 2m:B"));
  EXPECT_TRUE(
      HasError(commit(posix_file_system(), {.snapshot = larger.path().string(), .disk = {}}),
               ErrorKind::unsupported, "larger"));
  LinkOptions other;
  other.descriptor.parent_cid = 0x1234;
  const std::vector<LinkOptions> options = {LinkOptions{}, other};
  const BuiltDisk strange =
      build_disk(folder.path(), "strange", parse_layout("1m:A | 1m:B"), options);
  EXPECT_TRUE(
      HasError(commit(posix_file_system(), {.snapshot = strange.path().string(), .disk = {}}),
               ErrorKind::mismatch, "00001234"));
}

// A chain of two in memory that remembers what was done to it.
class CommitPowerCutTest : public ::testing::Test {
 protected:
  CommitPowerCutTest() {
    const TempDir folder;
    const Layout layout = random_layout(5, 512 * kKiB, 64 * kKiB, 2);
    const BuiltDisk built = build_disk(folder.path(), "disk", layout);
    for (const std::filesystem::path& path : built.files())
      files_.add("/vm/" + path.filename().string(), file_bytes(path));
    snapshot_ = "/vm/" + built.path().filename().string();
    contents_ = expected_bytes(layout, 0, 512 * kKiB);
  }

  PowerCutFileSystem files_;
  std::string snapshot_;
  std::vector<std::byte> contents_;
};

TEST_F(CommitPowerCutTest, NeverChangesWhatTheSnapshotReads) {
  const CommitOptions options{.snapshot = snapshot_, .disk = {}};
  ASSERT_TRUE(IsOk(commit(files_, options)));
  std::size_t resumed = 0;
  const auto visit = [&](PowerCut& cut) {
    DiskOptions ignoring;
    ignoring.ignore_content_ids = true;
    EXPECT_TRUE(same_bytes(read_all(cut.files(), snapshot_, ignoring), contents_)) << cut.story();
    const Result<CommitReport> report = commit(cut.files(), options);
    EXPECT_TRUE(IsOk(report)) << cut.story();
    if (report && report->resumed) ++resumed;
    EXPECT_TRUE(same_bytes(read_all(cut.files(), "/vm/disk.vmdk"), contents_)) << cut.story();
    EXPECT_TRUE(same_bytes(read_all(cut.files(), snapshot_), contents_)) << cut.story();
    return !HasFailure();
  };
  EXPECT_GT(files_.for_each_state(visit, {.random_states = 1000}), 500U);
  EXPECT_GT(resumed, 0U);
}

class RebaseTest : public ::testing::Test {
 protected:
  RebaseTest() {
    layout_ = random_layout(13, kDiskBytes, 64 * kKiB, 3);
    built_ = build_disk(folder_.path(), "disk", layout_);
    contents_ = expected_bytes(layout_, 0, kDiskBytes);
  }
  const std::filesystem::path& top() const { return built_.links[2].path; }
  RebaseOptions options(const std::optional<std::string>& parent) const {
    return {.image = top().string(), .disk = {}, .parent = parent};
  }

  TempDir folder_;
  Layout layout_;
  BuiltDisk built_;
  std::vector<std::byte> contents_;
};

TEST_F(RebaseTest, KeepsTheContentsOnAnotherParent) {
  const std::uint32_t id = id_of(top());
  const Result<RebaseReport> report = rebase(posix_file_system(), options("disk.vmdk"));
  ASSERT_TRUE(IsOk(report));
  EXPECT_GT(report->copied_bytes, 0U);
  EXPECT_EQ(report->after->content_id, id_of(built_.links[0].path));
  expect_same_bytes(read_all(top()), contents_);
  EXPECT_EQ(Disk::open(posix_file_system(), top().string(), {})->depth(), 2U);
  EXPECT_EQ(id_of(top()), id);
}

TEST_F(RebaseTest, KeepsTheContentsOnNoParentAtAll) {
  ASSERT_TRUE(IsOk(rebase(posix_file_system(), options(""))));
  expect_same_bytes(read_all(top()), contents_);
  EXPECT_EQ(Disk::open(posix_file_system(), top().string(), {})->depth(), 1U);
}

TEST_F(RebaseTest, CopiesNothingToAParentThatHoldsTheSame) {
  std::filesystem::copy(built_.links[1].path, folder_.path() / "copy.vmdk");
  const Result<RebaseReport> report = rebase(posix_file_system(), options("copy.vmdk"));
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->copied_bytes, 0U);
  expect_same_bytes(read_all(top()), contents_);
}

TEST_F(RebaseTest, MendsAParentThatWasMovedOrWrittenTo) {
  std::filesystem::rename(built_.links[1].path, folder_.path() / "a-much-longer-name.vmdk");
  RebaseOptions moved = options("a-much-longer-name.vmdk");
  moved.header_only = true;
  ASSERT_TRUE(IsOk(rebase(posix_file_system(), moved)));
  expect_same_bytes(read_all(top()), contents_);

  DiskOptions writing;
  writing.open.mode = OpenMode::read_write;
  {
    Result<Disk> parent = Disk::open(
        posix_file_system(), (folder_.path() / "a-much-longer-name.vmdk").string(), writing);
    ASSERT_TRUE(IsOk(parent));
    ASSERT_TRUE(IsOk(parent->write_at(0, std::vector<std::byte>(512))));
    ASSERT_TRUE(IsOk(parent->close()));
  }
  EXPECT_TRUE(HasError(Disk::open(posix_file_system(), top().string(), {}), ErrorKind::mismatch));
  RebaseOptions mended = options(std::nullopt);
  mended.header_only = true;
  mended.dry_run = true;
  ASSERT_TRUE(IsOk(rebase(posix_file_system(), mended)));
  EXPECT_FALSE(Disk::open(posix_file_system(), top().string(), {}));
  mended.dry_run = false;
  ASSERT_TRUE(IsOk(rebase(posix_file_system(), mended)));
  EXPECT_TRUE(IsOk(Disk::open(posix_file_system(), top().string(), {})));
}

TEST_F(RebaseTest, RefusesWhatCannotBe) {
  EXPECT_TRUE(HasError(rebase(posix_file_system(), options("absent.vmdk")), ErrorKind::not_found));
  EXPECT_TRUE(HasError(rebase(posix_file_system(), options("../outside.vmdk")), ErrorKind::denied));
  const RebaseOptions cycle{
      .image = built_.links[0].path.string(), .disk = {}, .parent = top().filename().string()};
  EXPECT_TRUE(
      HasError(rebase(posix_file_system(), cycle), ErrorKind::invalid_argument, "builds on"));
  const RebaseOptions orphan{.image = built_.links[0].path.string(), .disk = {}, .parent = {}};
  EXPECT_TRUE(HasError(rebase(posix_file_system(), orphan), ErrorKind::invalid_argument, "-b"));
}

}  // namespace
}  // namespace grainmill::testing
