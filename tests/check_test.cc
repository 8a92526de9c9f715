// SPDX-License-Identifier: Apache-2.0
//
// check() goes on behind each thing it finds, says what part of the guest disk it is about, and
// does not cry wolf. That every kind of damage is found is for the damage tests to say.
#include "pipeline/check.h"

#include "engine/base/units.h"
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGrain = 64 * kKiB;

class CheckTest : public ::testing::Test {
 protected:
  BuiltDisk build(const std::string& layout, const LinkOptions& options = {}) {
    return build_disk(dir_.path(), "disk", parse_layout(layout), options);
  }

  // What was found, a line each: severity code guest-offset+length.
  std::vector<std::string> findings(const fs::path& image, bool quick = false) {
    std::vector<std::string> lines;
    messages_.clear();
    repairs_.clear();
    CheckOptions options;
    options.image = image;
    options.disk.format = format_;
    options.quick = quick;
    options.graph.threads = 2;
    options.on_finding = [&](const Finding& finding) {
      std::string line = fmt::format("{} {}", severity_name(finding.severity), finding.code);
      if (finding.guest_length != 0)
        line += fmt::format(" {:#x}+{:#x}", finding.guest_offset, finding.guest_length);
      lines.push_back(line);
      messages_ += finding.what.to_string() + '\n';
      if (!finding.repair.empty()) repairs_.push_back(finding.repair);
    };
    const Result<CheckReport> report = check(files(), options);
    EXPECT_TRUE(IsOk(report));
    if (report) report_ = *report;
    return lines;
  }
  virtual FileSystem& files() { return posix_file_system(); }

  using Lines = std::vector<std::string>;
  TempDir dir_;
  std::string format_;
  Lines repairs_;
  CheckReport report_;
  std::string messages_;
};

TEST_F(CheckTest, ASoundChainHasNothing) {
  const BuiltDisk disk = build("128k:A 64k:- | 64k:^ 64k:B 64k:- | 64k:^ 64k:^ 64k:C");
  EXPECT_EQ(findings(disk.path()), Lines{});
  EXPECT_TRUE(report_.sound());
  EXPECT_EQ(report_.format, "vmdk");
  EXPECT_EQ(report_.disk_bytes, 3 * kGrain);
  EXPECT_EQ(report_.links, 3U);
}

TEST_F(CheckTest, GoesOnBehindEachFinding) {
  const BuiltDisk disk = build("640k:A", {.redundant_tables = false});
  const BuiltExtent& extent = disk.links[0].extents[0];
  patch_word(disk.path(), extent.grain_at(kGrain).gte_offset, 0x7fffffff);
  patch_word(disk.path(), extent.grain_at(4 * kGrain).gte_offset,
             static_cast<std::uint32_t>(extent.grain_at(3 * kGrain).data_offset / 512));
  patch_word(disk.path(), extent.grain_at(8 * kGrain).gte_offset,
             static_cast<std::uint32_t>(extent.grain_at(8 * kGrain).data_offset / 512 + 1));
  const Lines lines = findings(disk.path());
  EXPECT_EQ(lines, (Lines{"damage entry 0x10000+0x10000", "damage shared-grain 0x40000+0x10000",
                          "damage unaligned 0x80000+0x10000", "damage lost-grains"}));
  EXPECT_EQ(report_.damage, 4U);
  EXPECT_NE(messages_.find("past the end of the file"), std::string::npos) << messages_;
}

TEST_F(CheckTest, NeighboursOfAKindAreOne) {
  const BuiltDisk disk = build("640k:A");
  const BuiltExtent& extent = disk.links[0].extents[0];
  for (std::uint64_t grain = 2; grain < 7; ++grain)
    patch_word(disk.path(), extent.grain_at(grain * kGrain).redundant_gte_offset, 0);
  EXPECT_EQ(findings(disk.path()), Lines{"damage copies-differ 0x20000+0x50000"});
  EXPECT_EQ(report_.damage, 5U);
  EXPECT_NE(messages_.find("4 more of this kind"), std::string::npos) << messages_;
}

TEST_F(CheckTest, OneLostDirectoryDoesNotHideTheRest) {
  const BuiltDisk disk = build("256k:A");
  const BuiltExtent& extent = disk.links[0].extents[0];
  patch_word(disk.path(), extent.gd_offset, 0x7fffffff);
  patch_word(disk.path(), extent.grain_at(kGrain).redundant_gte_offset, 0x7fffffff);
  const Lines lines = findings(disk.path());
  ASSERT_GE(lines.size(), 2U) << messages_;
  EXPECT_EQ(lines[0], "damage open");
  EXPECT_EQ(lines[1], "damage entry 0x10000+0x10000");
}

TEST_F(CheckTest, GrainsOfStreamsAreInflatedUnlessQuick) {
  const BuiltDisk disk = build("640k:A", {.kind = Kind::stream_optimized});
  const GrainPlace& grain = disk.links[0].extents[0].grain_at(3 * kGrain);
  flip_bits(disk.path(), grain.data_offset + grain.stored_bytes - 1, 0xff);  // in its Adler-32
  EXPECT_EQ(findings(disk.path(), true), Lines{});
  EXPECT_EQ(report_.read_bytes, 0U);
  EXPECT_EQ(findings(disk.path()), Lines{"damage unreadable 0x30000+0x10000"});
  EXPECT_EQ(report_.read_bytes, 9 * kGrain);
}

// A bad entry does not hide what lies around it.
TEST_F(CheckTest, ABadEntryDoesNotKeepOthersFromBeingInflated) {
  const BuiltDisk disk = build("2m:A", {.kind = Kind::stream_optimized});
  const BuiltExtent& extent = disk.links[0].extents[0];
  patch_word(disk.path(), extent.grain_at(2 * kGrain).gte_offset, 0x7fffffff);
  const GrainPlace& grain = extent.grain_at(20 * kGrain);
  flip_bits(disk.path(), grain.data_offset + grain.stored_bytes - 1, 0xff);
  const Lines lines = findings(disk.path());
  EXPECT_NE(std::ranges::find(lines, "damage entry 0x20000+0x10000"), lines.end()) << messages_;
  EXPECT_NE(std::ranges::find(lines, "damage unreadable 0x140000+0x10000"), lines.end())
      << messages_;
  EXPECT_GE(report_.read_bytes, 27 * kGrain);
  EXPECT_LE(report_.read_bytes, 30 * kGrain);
}

TEST_F(CheckTest, AStreamThatLostItsEndIsSuspicious) {
  const BuiltDisk disk = build("640k:A", {.kind = Kind::stream_optimized});
  fs::resize_file(disk.path(), disk.links[0].extents[0].end_of_stream_offset);
  EXPECT_EQ(findings(disk.path()), Lines{"suspicious no-end-of-stream"});
}

// One flipped bit must not make all sound entries look wrong, nor what is cut off a leak.
TEST_F(CheckTest, OneBadThingIsOneFinding) {
  const BuiltDisk disk = build("640k:A", {.redundant_tables = false});
  const BuiltExtent& extent = disk.links[0].extents[0];
  const GrainPlace& first = extent.grain_at(0);
  patch_word(disk.path(), first.gte_offset,
             static_cast<std::uint32_t>(first.data_offset / 512 + 1));
  EXPECT_EQ(findings(disk.path()), (Lines{"damage unaligned 0x0+0x10000"}));
  patch_word(disk.path(), first.gte_offset, static_cast<std::uint32_t>(first.data_offset / 512));
  fs::resize_file(disk.path(), fs::file_size(disk.path()) - 1);
  EXPECT_EQ(findings(disk.path()), Lines{"damage entry 0x90000+0x10000"});
}

// What some writers round and others do not must not hide a damaged digit.
TEST_F(CheckTest, ACapacityThatWasRoundedIsSuspicious) {
  const BuiltDisk disk = build("64k:A 448k:-");
  const std::string text = "RW 1024 SPARSE";
  const std::vector<std::byte> bytes = file_bytes(disk.path());
  const auto at = std::ranges::search(bytes, std::as_bytes(std::span(text))).begin();
  patch_file(disk.path(), static_cast<std::uint64_t>(at - bytes.begin()), "RW 1000 SPARSE");
  EXPECT_EQ(findings(disk.path()), Lines{"suspicious capacity-rounded"});
  EXPECT_TRUE(report_.sound());
}

TEST_F(CheckTest, TextBehindTheEndOfADescriptorIsSuspicious) {
  const BuiltDisk disk = build("64k:A 448k:-");
  const BuiltExtent& extent = disk.links[0].extents[0];
  patch_file(disk.path(), extent.descriptor_offset + extent.descriptor_bytes - 1, "x");
  EXPECT_EQ(findings(disk.path()), Lines{"suspicious oddity"});
  EXPECT_NE(messages_.find("a zero byte ends the descriptor"), std::string::npos) << messages_;
}

// What a child hides is needed when the child is gone.
TEST_F(CheckTest, WhatChildrenHideIsChecked) {
  const std::vector<LinkOptions> options = {{.kind = Kind::stream_optimized}, {}};
  const BuiltDisk disk =
      build_disk(dir_.path(), "disk", parse_layout("192k:A | 64k:^ 64k:B 64k:^"), options);
  const GrainPlace& grain = disk.links[0].extents[0].grain_at(kGrain);
  flip_bits(disk.links[0].path, grain.data_offset + 30, 0xff);
  EXPECT_EQ(findings(disk.path()), Lines{"damage unreadable 0x10000+0x10000"});
}

TEST_F(CheckTest, GuestOffsetsAreThoseOfTheDisk) {
  const BuiltDisk disk =
      build("1m:A 1m:B", {.kind = Kind::two_gb_sparse, .split_size_bytes = 1 * kMiB});
  const BuiltExtent& second = disk.links[0].extents[1];
  patch_word(second.path, second.grain_at(1 * kMiB + kGrain).redundant_gte_offset, 0);
  EXPECT_EQ(findings(disk.path()), Lines{"damage copies-differ 0x110000+0x10000"});
}

TEST_F(CheckTest, ChangedParentsAndMissingOnesAreDamage) {
  const BuiltDisk disk = build("64k:A | 64k:B | 64k:^");
  LinkOptions other;
  other.descriptor.cid = 0x12345678;
  build_disk(dir_.path(), "disk", parse_layout("64k:A"), other);
  EXPECT_EQ(findings(disk.path()), Lines{"damage content-id"});
  EXPECT_EQ(report_.links, 3U);
  fs::remove(disk.links[0].path);
  EXPECT_EQ(findings(disk.path()), Lines{"damage parent"});
  EXPECT_EQ(report_.links, 2U);
}

TEST_F(CheckTest, GrainsThatNothingUsesAreLeaks) {
  const BuiltDisk disk = build("640k:A", {.unclean_shutdown = true});
  const BuiltExtent& extent = disk.links[0].extents[0];
  const GrainPlace& grain = extent.grain_at(9 * kGrain);
  patch_word(disk.path(), grain.gte_offset, 0);
  patch_word(disk.path(), grain.redundant_gte_offset, 0);
  EXPECT_EQ(findings(disk.path()), (Lines{"suspicious oddity", "leak unused-grains"}));
  EXPECT_EQ(report_.leaked_bytes, kGrain);
  EXPECT_EQ(report_.damage, 0U);
  EXPECT_FALSE(report_.sound());
}

// Who may zero grains leaves a grain behind for each that is written again.
TEST_F(CheckTest, GrainsThatWereZeroedAndWrittenAgainAreLeaks) {
  const BuiltDisk disk = build("256k:A", {.header_version = 2, .header_flags = 0x7});
  const BuiltExtent& extent = disk.links[0].extents[0];
  const GrainPlace& grain = extent.grain_at(3 * kGrain);
  patch_word(disk.path(), grain.gte_offset, 0);
  patch_word(disk.path(), grain.redundant_gte_offset, 0);
  EXPECT_EQ(findings(disk.path()), Lines{"leak unused-grains"});
  EXPECT_NE(messages_.find("lies 1 grain of data"), std::string::npos) << messages_;
}

TEST_F(CheckTest, NamesTheCopyThatIsWhole) {
  const BuiltDisk disk = build("256k:A");
  const BuiltExtent& extent = disk.links[0].extents[0];
  patch_word(disk.path(), extent.grain_at(0).gte_offset, 0x7fffffff);
  EXPECT_EQ(findings(disk.path()), Lines{"damage copies-differ 0x0+0x10000"});
  EXPECT_EQ(repairs_, Lines{"the redundant tables"});
  patch_word(disk.path(), extent.grain_at(0).gte_offset, 0);
  EXPECT_EQ(findings(disk.path()), Lines{"damage copies-differ 0x0+0x10000"});
  EXPECT_EQ(repairs_, Lines{"one of the two copies: by itself, each could be right"});
}

// What an image is said to be is no damage to it.
TEST_F(CheckTest, TheWrongFormatIsUnchecked) {
  format_ = "qcow2";
  EXPECT_EQ(findings(build("64k:A").path()), Lines{"unchecked open"});
  EXPECT_NE(messages_.find("is of the format vmdk, not qcow2"), std::string::npos) << messages_;
}

TEST_F(CheckTest, AnImageThatIsNotThereIsUnchecked) {
  EXPECT_EQ(findings(dir_ / "none.vmdk"), Lines{"unchecked open"});
  const BuiltDisk disk = build("1m:A", {.kind = Kind::two_gb_sparse});
  fs::remove(disk.links[0].extents[0].path);
  EXPECT_EQ(findings(disk.path()), Lines{"damage open"});
}

TEST_F(CheckTest, ChangesNothing) {
  const BuiltDisk disk = build("640k:A", {.unclean_shutdown = true});
  const std::vector<std::byte> before = file_bytes(disk.path());
  patch_word(disk.path(), disk.links[0].extents[0].gd_offset, 0x7fffffff);
  const std::vector<std::byte> damaged = file_bytes(disk.path());
  ASSERT_NE(before, damaged);
  EXPECT_FALSE(findings(disk.path()).empty());
  EXPECT_EQ(file_bytes(disk.path()), damaged);
}

TEST_F(CheckTest, CancellingIsAnError) {
  const BuiltDisk disk = build("64k:A");
  const std::atomic<bool> cancelled = true;
  CheckOptions options;
  options.image = disk.path();
  options.graph.cancelled = &cancelled;
  EXPECT_TRUE(HasError(check(posix_file_system(), options), ErrorKind::cancelled, "cancelled"));
}

class CheckFaultTest : public CheckTest {
 protected:
  FileSystem& files() override { return faults_; }
  FaultFileSystem faults_{posix_file_system()};
};

// A device that cannot be read says nothing of the image.
TEST_F(CheckFaultTest, WhatCannotBeReadIsUnchecked) {
  const BuiltDisk disk = build("640k:A", {.kind = Kind::stream_optimized});
  const GrainPlace& grain = disk.links[0].extents[0].grain_at(4 * kGrain);
  faults_.add({.path_end = "disk.vmdk",
               .range_begin = grain.data_offset + 64,
               .range_end = grain.data_offset + 65});
  EXPECT_EQ(findings(disk.path()), Lines{"unchecked unreadable 0x40000+0x10000"});
  EXPECT_EQ(report_.damage, 0U);
  EXPECT_EQ(report_.unchecked, 1U);
}

class CheckQcow2Test : public CheckTest {
 protected:
  void SetUp() override {
    if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
    const BuiltDisk disk = build("1m:A 1m:-", {.kind = Kind::raw});
    ASSERT_TRUE(run_command({"qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk.path(),
                             image_.string()})
                    .ok());
  }
  int qemu_status() {
    return run_command({"qemu-img", "check", "-q", image_.string()}).exit_status;
  }

  fs::path image_ = dir_ / "disk.qcow2";
};

TEST_F(CheckQcow2Test, SoundImagesAreSound) {
  EXPECT_EQ(findings(image_), Lines{});
  EXPECT_EQ(qemu_status(), 0);
}

TEST_F(CheckQcow2Test, WhatIsCutOffIsNoLeak) {
  fs::resize_file(image_, fs::file_size(image_) - 1);
  EXPECT_EQ(findings(image_), Lines{"damage entry 0xf0000+0x10000"});
  EXPECT_EQ(report_.leaked_bytes, 0U);
}

// The refcount of a cluster behind all others, in the only refcount block.
TEST_F(CheckQcow2Test, LeaksAreLeaks) {
  const std::vector<std::byte> bytes = file_bytes(image_);
  const auto be64 = [&](std::uint64_t at) {
    std::uint64_t value = 0;
    for (std::uint64_t i = 0; i < 8; ++i)
      value = value << 8 | std::to_integer<unsigned>(bytes[at + i]);
    return value;
  };
  const std::uint64_t block = be64(be64(48));
  const std::uint64_t clusters = (bytes.size() + 65535) / 65536;
  fs::resize_file(image_, (clusters + 2) * 65536);
  patch_file(image_, block + 2 * clusters, std::string_view("\0\1", 2));
  EXPECT_EQ(findings(image_), Lines{"leak unused-clusters"});
  EXPECT_EQ(report_.leaked_bytes, 65536U);
  EXPECT_EQ(qemu_status(), 3);
  patch_file(image_, block + 2 * clusters, std::string_view("\0\0", 2));
  patch_file(image_, block + 2 * (clusters - 1), std::string_view("\0\0", 2));
  EXPECT_EQ(findings(image_).size(), 1U);
  EXPECT_EQ(report_.damage, 1U) << messages_;
  EXPECT_EQ(qemu_status(), 2);
}

}  // namespace
}  // namespace grainmill::testing
