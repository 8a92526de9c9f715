// SPDX-License-Identifier: Apache-2.0
//
// What salvage() writes, and what it says of it. What it saves of each kind of damage is for the
// damage tests to say.
#include "pipeline/salvage.h"

#include "engine/base/units.h"
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <ostream>
#include <span>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGrain = 64 * kKiB;
constexpr const char* kLayout = "512k:A 256k:- 192k:B";

struct Range {
  RescueStatus status;
  std::uint64_t begin;
  std::uint64_t end;
  bool operator==(const Range&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Range& range) {
  return out << rescue_status_name(range.status) << ' ' << range.begin << ' ' << range.end;
}

class SalvageTest : public ::testing::Test {
 protected:
  void build(const LinkOptions& options = {}, const char* layout = kLayout) {
    disk_ = build_disk(dir_.path(), "disk", parse_layout(layout), {options});
    const Layout parsed = parse_layout(layout);
    healthy_ = expected_bytes(parsed, 0, parsed.size_bytes());
  }
  Result<SalvageReport> run(FileSystem& files = posix_file_system()) {
    ranges_.clear();
    damage_.clear();
    SalvageOptions options;
    options.image = disk_.path();
    options.output = output();
    options.graph.threads = 2;
    options.graph.cancelled = cancelled_;
    options.on_range = [this](const RescuedRange& range) {
      ranges_.push_back({range.status, range.begin, range.end});
      EXPECT_FALSE(range.why.empty());
    };
    options.on_damage = [this](const Error& error) { damage_.push_back(error.to_string()); };
    return salvage(files, options);
  }
  fs::path output() const { return dir_ / "saved.raw"; }

  // Everything but the ranges that are missing, which are zeros.
  void expect_saved() const {
    std::vector<std::byte> expected = healthy_;
    for (const Range& range : ranges_)
      if (range.status == RescueStatus::missing)
        std::ranges::fill(std::span(expected).subspan(range.begin, range.end - range.begin),
                          std::byte{0});
    EXPECT_EQ(file_bytes(output()), expected);
  }
  CommandResult program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir_.path(), arguments);
  }

  TempDir dir_;
  BuiltDisk disk_;
  std::vector<std::byte> healthy_;
  std::vector<Range> ranges_;
  std::vector<std::string> damage_;
  const std::atomic<bool>* cancelled_ = nullptr;
};

TEST_F(SalvageTest, OfAHealthyImageIsAll) {
  build();
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->whole());
  EXPECT_TRUE(ranges_.empty());
  expect_saved();
}

TEST_F(SalvageTest, GoesAroundWhatCannotBeRead) {
  build({.kind = Kind::monolithic_flat});
  // A page of a disk that is failing, in the middle of the first unit; and the last sectors.
  FaultFileSystem files(posix_file_system());
  constexpr std::uint64_t kPage = 4096;
  files.add({.path_end = "-flat.vmdk", .range_begin = 3 * kPage, .range_end = 4 * kPage});
  const Result<SalvageReport> report = run(files);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::missing, 3 * kPage, 4 * kPage}}));
  EXPECT_EQ(report->missing_bytes, kPage);
  EXPECT_EQ(report->damage, 0U);
  expect_saved();
}

TEST_F(SalvageTest, ReadsToTheLastSectorOfAFileThatWasCutShort) {
  build({.kind = Kind::monolithic_flat});
  const fs::path flat = disk_.links[0].extents[0].path;
  constexpr std::uint64_t kEnd = 5 * kGrain + 3 * kSectorBytes;
  fs::resize_file(flat, kEnd + 100);
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::missing, kEnd, healthy_.size()}}));
  ASSERT_EQ(damage_.size(), 1U);
  EXPECT_NE(damage_.front().find("truncated"), std::string::npos);
  expect_saved();
}

TEST_F(SalvageTest, ReadsTheOtherPartsOfADiskOfWhichOneIsMissing) {
  build({.kind = Kind::two_gb_sparse, .split_size_bytes = 512 * kKiB}, "512k:A 512k:B 256k:C");
  fs::remove(disk_.links[0].extents[1].path);
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::missing, 512 * kKiB, 1024 * kKiB}}));
  expect_saved();
}

TEST_F(SalvageTest, SaysWhatOnlyTheParentHadThatIsGone) {
  build({}, "128k:A 128k:B | 64k:^ 64k:C 128k:^");
  fs::remove(dir_ / "disk.vmdk");
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::missing, 0, kGrain},
                                         {RescueStatus::missing, 2 * kGrain, 4 * kGrain}}));
  EXPECT_EQ(report->damage, 1U);
  expect_saved();
}

TEST_F(SalvageTest, ReadsADiskWithoutItsDescriptor) {
  build();
  constexpr std::uint64_t kText = 512;
  patch_file(disk_.path(), kText, std::vector<std::byte>(20 * kSectorBytes));
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  // A parent may have been, which has what is not here.
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::doubtful, 8 * kGrain, 12 * kGrain}}));
  EXPECT_EQ(report->damage, 1U);
  EXPECT_FALSE(report->whole());
  expect_saved();
}

TEST_F(SalvageTest, ReadsAsARepairWouldLeaveIt) {
  build();
  const GrainPlace& grain = disk_.links[0].extents[0].grain_at(kGrain);
  patch_word(disk_.path(), grain.gte_offset, 0x70000000);
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->corrections, 1U);
  EXPECT_TRUE(report->whole());
  EXPECT_EQ(file_bytes(disk_.path()), damaged);
  expect_saved();
}

TEST_F(SalvageTest, DoubtsAllThatShareAGrain) {
  build({.redundant_tables = false});
  const BuiltExtent& extent = disk_.links[0].extents[0];
  patch_word(disk_.path(), extent.grain_at(2 * kGrain).gte_offset,
             file_word(disk_.path(), extent.grain_at(5 * kGrain).gte_offset));
  const Result<SalvageReport> report = run();
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(ranges_, (std::vector<Range>{{RescueStatus::doubtful, 2 * kGrain, 3 * kGrain},
                                         {RescueStatus::doubtful, 5 * kGrain, 6 * kGrain},
                                         {RescueStatus::doubtful, 8 * kGrain, 12 * kGrain}}));
}

TEST_F(SalvageTest, LeavesNothingOfAnOutputThatFails) {
  build();
  for (const FileCall call : {FileCall::write, FileCall::sync}) {
    FaultFileSystem files(posix_file_system());
    files.add({.call = call, .within = "saved.raw"});
    EXPECT_TRUE(HasError(run(files), ErrorKind::io));
    EXPECT_FALSE(fs::exists(output()));
    EXPECT_FALSE(fs::exists(rescue_map_path(output())));
  }
  const std::atomic<bool> cancelled = true;
  cancelled_ = &cancelled;
  EXPECT_TRUE(HasError(run(), ErrorKind::cancelled));
  EXPECT_FALSE(fs::exists(output()));
}

TEST_F(SalvageTest, RefusesToOverwriteItsSourceAndToIgnoreContentIds) {
  build({}, "128k:A | 64k:^ 64k:B");
  EXPECT_EQ(program({"--salvage", "disk.vmdk", disk_.path().filename()}).exit_status, 1);
  LinkOptions other;
  other.descriptor.cid = 0x12345678;
  build_disk(dir_.path(), "disk", parse_layout("128k:A"), {other});
  EXPECT_TRUE(HasError(run(), ErrorKind::mismatch, "12345678"));
  EXPECT_FALSE(fs::exists(output()));
}

// As with `check --salvage *.vmdk`, where the shell makes an image the output.
TEST_F(SalvageTest, ReplacesNoFile) {
  build();
  build_disk(dir_.path(), "healthy", parse_layout("128k:A"), LinkOptions{});
  const std::vector<std::byte> before = file_bytes(dir_ / "healthy.vmdk");
  const CommandResult refused = program({"--salvage", "healthy.vmdk", "disk.vmdk"});
  EXPECT_EQ(refused.exit_status, 1);
  for (const char* words : {"grainmill: healthy.vmdk: exists already", "another name", "move"})
    EXPECT_NE(refused.err.find(words), std::string::npos) << words << " not in " << refused.err;
  EXPECT_EQ(file_bytes(dir_ / "healthy.vmdk"), before);
  EXPECT_FALSE(fs::exists(dir_ / "healthy.vmdk.map"));

  fs::copy_file(dir_ / "healthy.vmdk", dir_ / "saved.raw.map");
  EXPECT_TRUE(HasError(run(), ErrorKind::invalid_argument, "exists already"));
  EXPECT_EQ(file_bytes(dir_ / "saved.raw.map"), before);
  EXPECT_FALSE(fs::exists(output()));
}

TEST_F(SalvageTest, ReplacesNoFileThatAppearsMeanwhile) {
  build({.kind = Kind::monolithic_flat});
  FaultFileSystem files(posix_file_system());
  files.add({.path_end = "-flat.vmdk", .nth = 1, .error_number = 0, .before = [this] {
               fs::copy_file(disk_.path(), output());
             }});
  EXPECT_TRUE(HasError(run(files), ErrorKind::invalid_argument, "exists already"));
  EXPECT_EQ(file_bytes(output()), file_bytes(disk_.path()));
  EXPECT_FALSE(fs::exists(rescue_map_path(output())));
}

TEST_F(SalvageTest, TellsPeopleAndProgramsWhatItSaved) {
  build({.kind = Kind::stream_optimized});
  flip_bits(disk_.path(), disk_.links[0].extents[0].grain_at(kGrain).data_offset + 40);
  const CommandResult text = program({"--salvage", "saved.raw", "disk.vmdk"});
  EXPECT_EQ(text.exit_status, 2);
  EXPECT_NE(text.out.find("missing: guest offset 0x10000 to 0x20000"), std::string::npos)
      << text.out;
  const CommandResult json = program({"--salvage", "again.raw", "--output", "json", "disk.vmdk"});
  const nlohmann::json object = nlohmann::json::parse(json.out, nullptr, false);
  EXPECT_EQ(object.value("missing_bytes", 0), 65536) << json.out;
  EXPECT_EQ(object["ranges"].size(), 1U);
  for (const char* other : {"--repair", "--undo"})
    EXPECT_EQ(program({"--salvage", "saved.raw", other, "disk.vmdk"}).exit_status, 1);
}

// GNU ddrescue's own tool reads the map.
TEST_F(SalvageTest, WritesAMapThatDdrescueReads) {
  if (!has_command("ddrescuelog")) GTEST_SKIP() << "ddrescuelog is not there (package gddrescue)";
  build({.kind = Kind::stream_optimized});
  flip_bits(disk_.path(), disk_.links[0].extents[0].grain_at(kGrain).data_offset + 40);
  ASSERT_TRUE(IsOk(run()));
  const CommandResult listed =
      run_command({"ddrescuelog", "-b", "65536", "--list-blocks=-", rescue_map_path(output())});
  EXPECT_EQ(listed.exit_status, 0) << listed.err;
  EXPECT_EQ(listed.out, "1\n");
}

}  // namespace
}  // namespace grainmill::testing
