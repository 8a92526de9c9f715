// SPDX-License-Identifier: Apache-2.0
//
// scrub() gives each image the right verdict, remembers what it read, and keeps to its share, its
// rate and its hours, by a clock that only these tests move.
#include "pipeline/scrub.h"

#include "engine/base/units.h"
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/support/layout.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGrain = 64 * kKiB;
constexpr std::int64_t kDay = 86400;

class ScrubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_);
    options_.find.folders = {folder_};
    options_.catalogue = dir_ / "catalogue.db";
    options_.graph.threads = 2;
    options_.chunk_bytes = kMiB;
    options_.clock = {.now = [this] { return now_; },
                      .steady = [this] { return steady_; },
                      .sleep = [this](std::chrono::nanoseconds time) { steady_ += time; }};
  }

  BuiltDisk build(const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    return build_disk(folder_, name, parse_layout(layout), options);
  }
  std::string path(const std::string& name) const { return fs::canonical(folder_) / name; }

  // Another day's run.
  ScrubReport run() {
    now_ += kDay;
    return call();
  }
  ScrubReport call() {
    Result<ScrubReport> report = scrub(files_, options_);
    EXPECT_TRUE(IsOk(report));
    return report ? *std::move(report) : ScrubReport{};
  }
  // Its image of that name; fails the test where there is none.
  ScrubImage image(const ScrubReport& report, const std::string& name) {
    for (const ScrubImage& each : report.images)
      if (each.path == path(name)) return each;
    ADD_FAILURE() << "no image " << name;
    return {};
  }
  std::string verdict(const ScrubReport& report, const std::string& name) {
    return std::string(verdict_name(image(report, name).verdict));
  }
  static std::vector<std::string> ranges(const ScrubImage& image) {
    std::vector<std::string> lines;
    lines.reserve(image.flaws.size());
    for (const Flaw& flaw : image.flaws)
      lines.push_back(
          fmt::format("{} {:#x}+{:#x}", flaw_name(flaw.kind), flaw.guest_offset, flaw.length));
    return lines;
  }

  // What nobody wrote.
  static void rot(const fs::path& file, std::uint64_t offset) {
    const fs::file_time_type time = fs::last_write_time(file);
    flip(file, offset);
    fs::last_write_time(file, time);
  }
  static void write(const fs::path& file, std::uint64_t offset) {
    flip(file, offset);
    touch(file);
  }
  static void touch(const fs::path& file) {
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(10));
  }
  static void flip(const fs::path& file, std::uint64_t offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(stream.good());
  }

  TempDir dir_;
  fs::path folder_ = dir_ / "images";
  FaultFileSystem files_{posix_file_system()};
  ScrubOptions options_;
  std::int64_t now_ = 1'700'000'000;
  std::chrono::nanoseconds steady_{};
};

TEST_F(ScrubTest, WhatIsNewIsSoundTheNextTime) {
  build("disk", "256k:A 64k:- 64k:B");
  const ScrubReport first = run();
  EXPECT_EQ(verdict(first, "disk.vmdk"), "new");
  EXPECT_EQ(first.read_bytes, 5 * kGrain);
  EXPECT_EQ(image(first, "disk.vmdk").proven, now_);
  const ScrubReport second = run();
  EXPECT_EQ(verdict(second, "disk.vmdk"), "sound");
  EXPECT_EQ(second.read_bytes, 5 * kGrain);
  EXPECT_EQ(image(second, "disk.vmdk").proven, now_);
  EXPECT_EQ(image(second, "disk.vmdk").history.size(), 2U);
  EXPECT_EQ(second.all_read_since, now_);
}

TEST_F(ScrubTest, RotIsNamedByItsRange) {
  const BuiltDisk disk = build("disk", "512k:r 64k:-");
  const std::vector<GrainPlace>& grains = disk.links[0].extents[0].grains;
  run();
  for (const std::size_t grain : {1U, 2U, 5U}) rot(disk.path(), grains[grain].data_offset + 100);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::rotten);
  EXPECT_EQ(ranges(found),
            (std::vector<std::string>{"differs 0x10000+0x20000", "differs 0x50000+0x10000"}));
  EXPECT_EQ(found.proven, now_ - kDay);
}

TEST_F(ScrubTest, RotStaysUntilItIsProvenGoodAgain) {
  const BuiltDisk disk = build("disk", "512k:r");
  const std::uint64_t place = disk.links[0].extents[0].grains[3].data_offset;
  run();
  rot(disk.path(), place);
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "rotten");
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "rotten");
  rot(disk.path(), place);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::sound);
  EXPECT_EQ(found.proven, now_);
}

TEST_F(ScrubTest, RotStaysUntilTheImageIsWritten) {
  const BuiltDisk disk = build("disk", "512k:r");
  run();
  rot(disk.path(), disk.links[0].extents[0].grains[3].data_offset);
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "rotten");
  touch(disk.path());
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "changed");
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, WhatWasWrittenIsRememberedAnewAndTheOldIsKept) {
  const BuiltDisk disk = build("disk", "512k:r");
  run();
  write(disk.path(), disk.links[0].extents[0].grains[3].data_offset);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::changed);
  EXPECT_NE(found.detail.find("mtime"), std::string::npos) << found.detail;
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
  Result<Database> database = Database::open(options_.catalogue);
  ASSERT_TRUE(IsOk(database));
  EXPECT_EQ(database->integer("SELECT count(*) FROM manifests").value_or(0), 2);
  EXPECT_EQ(database
                ->integer("SELECT count(*) FROM manifests WHERE replaced IS NOT NULL AND "
                          "(SELECT sum(length(digests)) FROM chunks WHERE manifest = id) = 128")
                .value_or(0),
            1);
}

TEST_F(ScrubTest, WhatIsOnlyTouchedIsSound) {
  const BuiltDisk disk = build("disk", "512k:r");
  run();
  touch(disk.path());
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
  fs::permissions(disk.path(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

// A copy has other inodes; the same mtime with other contents makes it a bad one.
TEST_F(ScrubTest, ABadCopyIsRot) {
  const BuiltDisk disk = build("disk", "512k:r");
  run();
  const fs::file_time_type time = fs::last_write_time(disk.path());
  fs::copy_file(disk.path(), folder_ / "copy");
  flip(folder_ / "copy", disk.links[0].extents[0].grains[3].data_offset);
  fs::rename(folder_ / "copy", disk.path());
  fs::last_write_time(disk.path(), time);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::rotten);
  EXPECT_NE(found.detail.find("inode"), std::string::npos) << found.detail;
}

TEST_F(ScrubTest, TruncatedImagesAreDamaged) {
  const BuiltDisk sparse = build("sparse", "512k:r");
  build("flat", "512k:r", {.kind = Kind::monolithic_flat});
  const BuiltDisk tables = build("tables", "512k:r");
  run();
  fs::resize_file(sparse.path(), fs::file_size(sparse.path()) - kGrain);
  fs::resize_file(folder_ / "flat-flat.vmdk", kGrain);
  const GrainPlace& grain = tables.links[0].extents[0].grains[2];
  rot(tables.path(), grain.redundant_gte_offset);
  const ScrubReport report = run();
  for (const std::string name : {"sparse.vmdk", "flat.vmdk", "tables.vmdk"})
    EXPECT_EQ(verdict(report, name), "damaged") << name;
  EXPECT_EQ(report.images.size(), 3U);
}

TEST_F(ScrubTest, AMovedParentIsDamageOfItsChildrenAlone) {
  build("disk", "256k:A | 64k:B 192k:^ | 128k:^ 64k:C 64k:^");
  ASSERT_EQ(run().count(Verdict::fresh), 3U);
  fs::rename(folder_ / "disk.vmdk", dir_ / "disk.vmdk");
  const ScrubReport gone = run();
  EXPECT_EQ(verdict(gone, "disk.vmdk"), "missing");
  for (const std::string child : {"disk-000001.vmdk", "disk-000002.vmdk"}) {
    EXPECT_EQ(verdict(gone, child), "damaged");
    EXPECT_NE(image(gone, child).detail.find("'disk.vmdk'"), std::string::npos)
        << image(gone, child).detail;
    EXPECT_EQ(image(gone, child).proven, now_) << "its own bytes are still proven";
  }
  fs::rename(dir_ / "disk.vmdk", folder_ / "disk.vmdk");
  EXPECT_EQ(run().count(Verdict::sound), 3U);
}

TEST_F(ScrubTest, MissingImagesStayMissingUntilTheyAreForgotten) {
  const BuiltDisk disk = build("disk", "64k:A");
  build("other", "64k:A");
  run();
  fs::remove(disk.path());
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "missing");
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "missing");
  options_.forget_missing = true;
  const ScrubReport report = run();
  ASSERT_EQ(report.images.size(), 1U);
  EXPECT_EQ(verdict(report, "other.vmdk"), "sound");
}

// The file is there, and only its first bytes no longer say what it is.
TEST_F(ScrubTest, AnImageWhoseHeaderIsLostIsDamagedNotMissing) {
  const BuiltDisk disk = build("disk", "64k:A");
  build_qcow2(folder_, "q", parse_layout("64k:A"), std::vector<Qcow2Options>{{}});
  run();
  for (const fs::path& file : {fs::path(disk.path()), folder_ / "q.qcow2"})
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary) << std::string(4, '\0');
  options_.forget_missing = true;
  for (int day = 0; day < 2; ++day) {
    const ScrubReport report = run();
    EXPECT_EQ(verdict(report, "disk.vmdk"), "damaged");
    EXPECT_NE(image(report, "disk.vmdk").detail.find("whose header is damaged"), std::string::npos)
        << image(report, "disk.vmdk").detail;
    EXPECT_EQ(verdict(report, "q.qcow2"), "damaged");
  }
}

TEST_F(ScrubTest, ANewImageWhoseHeaderIsDamagedIsFoundByItsDescriptor) {
  const BuiltDisk disk = build("disk", "64k:A");
  std::fstream(disk.path(), std::ios::in | std::ios::out | std::ios::binary)
      << std::string(4, '\0');
  fs::rename(disk.path(), folder_ / "no suffix");
  EXPECT_EQ(verdict(run(), "no suffix"), "damaged");
}

TEST_F(ScrubTest, WhatCannotBeReadIsNeitherRotNorDamage) {
  build("disk", "512k:r", {.kind = Kind::monolithic_flat});
  run();
  const Fault fault{.path_end = "disk-flat.vmdk", .range_begin = kGrain, .range_end = 3 * kGrain};
  files_.add(fault);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::unreadable);
  EXPECT_EQ(ranges(found), std::vector<std::string>{"unreadable 0x10000+0x20000"});
  EXPECT_EQ(found.proven, now_ - kDay);
  files_.clear();
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, NewImagesThatCannotBeReadAreNotTakenForGood) {
  build("disk", "512k:r", {.kind = Kind::monolithic_flat});
  files_.add({.path_end = "disk-flat.vmdk", .range_begin = kGrain, .range_end = 2 * kGrain});
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "unreadable");
  files_.clear();
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "new");
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, AKnownImageWhoseFileCannotBeOpenedIsUnreadable) {
  build("disk", "512k:r");
  run();
  files_.add({.call = FileCall::open, .path_end = "disk.vmdk", .error_number = EACCES});
  const ScrubReport report = run();
  EXPECT_EQ(verdict(report, "disk.vmdk"), "unreadable");
  EXPECT_TRUE(report.failures.empty());
}

// A flipped bit in a compressed grain does not inflate; its file says so, and nobody wrote it.
TEST_F(ScrubTest, CompressedGrainsRotToo) {
  const BuiltDisk disk = build("disk", "256k:A", {.kind = Kind::stream_optimized});
  run();
  const GrainPlace& grain = disk.links[0].extents[0].grain_at(2 * kGrain);
  rot(disk.path(), grain.data_offset + grain.stored_bytes - 2);
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::rotten);
  EXPECT_EQ(ranges(found), std::vector<std::string>{"broken 0x20000+0x10000"});
}

TEST_F(ScrubTest, FindsImagesByTheirContents) {
  build("split", "3m:A", {.kind = Kind::two_gb_sparse, .split_size_bytes = kMiB});
  build("flat", "64k:A", {.kind = Kind::monolithic_flat});
  build("delta", "64k:A | 64k:B", {.kind = Kind::vmfs_sparse});
  build_qcow2(folder_, "q", parse_layout("64k:A"), std::vector<Qcow2Options>{{}});
  fs::create_directories(folder_ / "deep/er");
  fs::rename(build("moved", "64k:A").path(), folder_ / "deep/er/no suffix");
  std::ofstream(folder_ / "notes.vmdk") << "not an image\n";
  std::ofstream(folder_ / "one.raw") << std::string(512, 'x');
  fs::create_symlink(folder_ / "flat.vmdk", folder_ / "link.vmdk");
  options_.find.raw = {"*.raw"};
  std::set<std::string> names;
  for (const ScrubImage& each : run().images)
    names.insert(fs::relative(each.path, fs::canonical(folder_)).string() + ' ' + each.format);
  EXPECT_EQ(names, (std::set<std::string>{"split.vmdk vmdk", "flat.vmdk vmdk", "delta.vmdk vmdk",
                                          "delta-000001.vmdk vmdk", "q.qcow2 qcow2",
                                          "deep/er/no suffix vmdk", "one.raw raw"}));
}

// Only the snapshot says that its base is a disk at all.
TEST_F(ScrubTest, FindsRawBasesByTheirSnapshots) {
  if (!has_command("qemu-img")) GTEST_SKIP() << "no qemu-img";
  std::ofstream(folder_ / "base") << std::string(kGrain, 'x');
  ASSERT_TRUE(run_command({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw",
                           folder_ / "top.qcow2"})
                  .ok());
  EXPECT_EQ(verdict(run(), "base"), "new");
  rot(folder_ / "base", 100);
  const ScrubReport report = run();
  EXPECT_EQ(verdict(report, "base"), "rotten");
  EXPECT_EQ(verdict(report, "top.qcow2"), "sound");
}

// They are read as part of nothing: the folder was not named.
TEST_F(ScrubTest, LeavesRawBasesElsewhereAlone) {
  if (!has_command("qemu-img")) GTEST_SKIP() << "no qemu-img";
  std::ofstream(dir_ / "base") << std::string(kGrain, 'x');
  ASSERT_TRUE(run_command({"qemu-img", "create", "-q", "-f", "qcow2", "-b", dir_ / "base", "-F",
                           "raw", folder_ / "top.qcow2"})
                  .ok());
  options_.find.open.policy.allow_any_path = true;
  EXPECT_EQ(run().images.size(), 1U);
  EXPECT_EQ(verdict(run(), "top.qcow2"), "sound");
}

// ... and is not missing what it does not look at.
TEST_F(ScrubTest, LeavesAloneWhatIsExcluded) {
  build("disk", "64k:A");
  build("scratch", "64k:A");
  fs::create_directories(folder_ / "old/er");
  fs::rename(build("deep", "64k:A").path(), folder_ / "old/er/deep.vmdk");
  EXPECT_EQ(run().images.size(), 3U);
  options_.find.exclude = {"scratch*", "old"};
  const ScrubReport report = run();
  ASSERT_EQ(report.images.size(), 1U);
  EXPECT_EQ(verdict(report, "disk.vmdk"), "sound");
  options_.find.exclude = {};
  EXPECT_EQ(run().count(Verdict::sound), 3U);
}

TEST_F(ScrubTest, SaysWhereAMissingImageWasMovedTo) {
  const BuiltDisk disk = build("disk", "64k:A");
  run();
  fs::rename(disk.path(), folder_ / "moved.vmdk");
  const ScrubReport report = run();
  EXPECT_EQ(verdict(report, "disk.vmdk"), "missing");
  EXPECT_EQ(image(report, "disk.vmdk").detail,
            "is gone; " + path("moved.vmdk") + " is the same file");
  EXPECT_EQ(verdict(report, "moved.vmdk"), "new");
}

TEST_F(ScrubTest, AFileThatIsWrittenMeanwhileIsNeitherSoundNorRotten) {
  build("disk", "4m:r", {.kind = Kind::monolithic_flat});
  const fs::path flat = folder_ / "disk-flat.vmdk";
  run();
  files_.add({.path_end = "disk-flat.vmdk", .nth = 3, .error_number = 0, .before = [&] {
                write(flat, 3 * kMiB);
              }});
  const ScrubImage found = image(run(), "disk.vmdk");
  EXPECT_EQ(found.verdict, Verdict::changed);
  EXPECT_TRUE(found.flaws.empty());
  files_.clear();
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "changed");
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, GoesOnWhereItWasStopped) {
  build("disk", "8m:r", {.kind = Kind::monolithic_flat});
  build("other", "8m:r", {.kind = Kind::monolithic_flat});
  int asked = 0;
  options_.may_read = [&](std::int64_t) { return ++asked % 6 != 0; };
  now_ += kDay;
  ScrubReport report;
  int calls = 0;
  do {
    report = call();
    ASSERT_LT(++calls, 20);
    EXPECT_EQ(report.run, 1);
    EXPECT_EQ(report.resumed, calls > 1);
  } while (report.stop != ScrubStop::done);
  EXPECT_GT(calls, 2);
  EXPECT_EQ(report.count(Verdict::fresh), 2U);
  EXPECT_EQ(report.read_bytes, 16 * kMiB) << "each byte once";
}

TEST_F(ScrubTest, StopsSoonWhenItIsCancelled) {
  build("disk", "64m:r", {.kind = Kind::monolithic_flat});
  std::atomic<bool> cancelled = false;
  options_.graph.cancelled = &cancelled;
  files_.add({.path_end = "disk-flat.vmdk", .nth = 20, .error_number = 0, .before = [&] {
                cancelled = true;
              }});
  const ScrubReport report = call();
  EXPECT_EQ(report.stop, ScrubStop::cancelled);
  EXPECT_EQ(report.waiting, 1U);
  EXPECT_GT(report.read_bytes, 0U);
  EXPECT_LT(report.read_bytes, 32 * kMiB);
  cancelled = false;
  EXPECT_EQ(call().read_bytes, 64 * kMiB);
}

TEST_F(ScrubTest, SpreadsItsWorkOverTheTimeThereIs) {
  for (int i = 0; i < 4; ++i)
    build(fmt::format("disk{}", i), "7m:r", {.kind = Kind::monolithic_flat});
  options_.within = 7 * kDay;
  EXPECT_EQ(run().read_bytes, 28 * kMiB);
  std::uint64_t most = 0;
  for (int night = 0; night < 28; ++night) {
    const ScrubReport report = run();
    most = std::max(most, report.read_bytes);
    EXPECT_EQ(report.images.size(), 4U);
    EXPECT_TRUE(report.overdue.empty());
    ASSERT_TRUE(report.all_read_since);
    EXPECT_GE(*report.all_read_since + 7 * kDay, now_ + kDay) << "until the next night, too";
  }
  EXPECT_LE(most, 28 * kMiB / 6 + kMiB);
}

TEST_F(ScrubTest, ReadsWhatIsBadInEveryRun) {
  const BuiltDisk disk = build("disk", "14m:r", {.kind = Kind::monolithic_flat});
  options_.within = 7 * kDay;
  run();
  rot(folder_ / "disk-flat.vmdk", 100);
  int rotten = 0;
  for (int night = 0; night < 8; ++night) rotten += verdict(run(), "disk.vmdk") == "rotten" ? 1 : 0;
  EXPECT_GE(rotten, 2);
  rot(folder_ / "disk-flat.vmdk", 100);
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, SaysWhenItsPromiseIsBroken) {
  build("disk", "8m:r", {.kind = Kind::monolithic_flat});
  build("other", "1m:r", {.kind = Kind::monolithic_flat});
  options_.within = 7 * kDay;
  run();
  options_.may_read = [](std::int64_t) { return false; };
  for (int night = 0; night < 7; ++night) EXPECT_TRUE(run().overdue.empty());
  const ScrubReport report = run();
  EXPECT_EQ(report.overdue, (std::vector<std::string>{path("disk.vmdk"), path("other.vmdk")}));
  EXPECT_EQ(report.stop, ScrubStop::hours);
}

TEST_F(ScrubTest, KeepsToItsRate) {
  build("disk", "8m:r", {.kind = Kind::monolithic_flat});
  options_.bytes_per_second = kMiB;
  call();
  EXPECT_NEAR(std::chrono::duration<double>(steady_).count(), 8.0, 0.01);
}

TEST_F(ScrubTest, ImagesOfOtherFoldersAreLeftAlone) {
  build("disk", "64k:A");
  run();
  options_.find.folders = {dir_ / "else"};
  fs::create_directory(dir_ / "else");
  EXPECT_TRUE(run().images.empty());
  options_.find.folders = {folder_};
  EXPECT_EQ(verdict(run(), "disk.vmdk"), "sound");
}

TEST_F(ScrubTest, RefusesCataloguesItDoesNotKnow) {
  run();
  {
    Result<Database> database = Database::open(options_.catalogue);
    ASSERT_TRUE(IsOk(database));
    ASSERT_TRUE(IsOk(database->run_all("PRAGMA user_version = 99")));
  }
  EXPECT_TRUE(HasError(scrub(files_, options_), ErrorKind::unsupported, "version 99"));
  options_.catalogue = dir_ / "foreign.db";
  {
    Result<Database> database = Database::open(options_.catalogue);
    ASSERT_TRUE(IsOk(database));
    ASSERT_TRUE(IsOk(database->run_all("CREATE TABLE t(x)")));
  }
  EXPECT_TRUE(HasError(scrub(files_, options_), ErrorKind::unsupported, "another program"));
  std::ofstream(dir_ / "text") << std::string(4096, 'x');
  options_.catalogue = dir_ / "text";
  EXPECT_TRUE(HasError(scrub(files_, options_), ErrorKind::corrupt, "text"));
}

TEST_F(ScrubTest, OneScrubAtATime) {
  Result<Catalogue> held = Catalogue::open(options_.catalogue);
  ASSERT_TRUE(IsOk(held));
  EXPECT_TRUE(HasError(scrub(files_, options_), ErrorKind::busy, "catalogue.db"));
}

TEST_F(ScrubTest, NoSuchFolderIsAnError) {
  options_.find.folders = {dir_ / "none"};
  EXPECT_TRUE(HasError(scrub(files_, options_), ErrorKind::not_found, "none"));
}

}  // namespace
}  // namespace grainmill::testing
