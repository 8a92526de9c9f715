// SPDX-License-Identifier: Apache-2.0
//
// What a repair writes, and how it is taken back: nothing without being told to, nothing that
// cannot be undone, and nothing outside the image. What it can put right is for the damage tests to
// say.
#include "pipeline/repair.h"

#include "engine/base/units.h"
#include "pipeline/undo_journal.h"
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGrain = 64 * kKiB;

class RepairTest : public ::testing::Test {
 protected:
  RepairTest() : disk_(build("disk")), healthy_(file_bytes(disk_.path())) {}

  BuiltDisk build(const std::string& name) {
    return build_disk(dir_.path(), name, parse_layout("256k:A 64k:-"));
  }
  const GrainPlace& grain(std::uint64_t number) const {
    return disk_.links[0].extents[0].grain_at(number * kGrain);
  }
  // The first by its redundant entry; the second by nothing.
  void damage_one_copy() { patch_word(disk_.path(), grain(1).gte_offset, 0x70000000); }
  void damage_both_copies() {
    patch_word(disk_.path(), grain(2).gte_offset, 0x70000000);
    patch_word(disk_.path(), grain(2).redundant_gte_offset, 0x70000000);
  }

  Result<RepairReport> run(bool write, FileSystem& files = posix_file_system()) {
    RepairOptions options;
    options.check.image = disk_.path();
    options.check.graph.threads = 1;
    options.write = write;
    return repair(files, options);
  }
  fs::path journal() const { return repair_journal_path(disk_.path()); }
  Status undo() { return undo_repair(posix_file_system(), {}, disk_.path()); }

  CommandResult program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir_.path(), arguments);
  }

  TempDir dir_;
  BuiltDisk disk_;
  std::vector<std::byte> healthy_;
};

TEST_F(RepairTest, WritesNothingUnlessToldTo) {
  damage_one_copy();
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  const Result<RepairReport> report = run(false);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->corrections, 1U);
  EXPECT_EQ(report->before.damage, 1U);
  EXPECT_EQ(report->after.damage, 0U);
  EXPECT_FALSE(report->written);
  EXPECT_EQ(file_bytes(disk_.path()), damaged);
  EXPECT_FALSE(fs::exists(journal()));
}

TEST_F(RepairTest, GivesTheHealthyBytesBackAndLeavesNoJournal) {
  damage_one_copy();
  const Result<RepairReport> report = run(true);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->written);
  EXPECT_TRUE(report->after.sound());
  EXPECT_EQ(file_bytes(disk_.path()), healthy_);
  EXPECT_FALSE(fs::exists(journal()));
}

TEST_F(RepairTest, KeepsTheJournalWhileDamageIsLeft) {
  damage_one_copy();
  damage_both_copies();
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  const Result<RepairReport> report = run(true);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->corrections, 1U);
  EXPECT_NE(report->after.damage, 0U);
  EXPECT_EQ(report->journal, journal());
  EXPECT_NE(file_bytes(disk_.path()), damaged);
  EXPECT_TRUE(HasError(run(true), ErrorKind::invalid_argument, "--undo"));
  ASSERT_TRUE(IsOk(undo()));
  EXPECT_EQ(file_bytes(disk_.path()), damaged);
  EXPECT_FALSE(fs::exists(journal()));
}

TEST_F(RepairTest, CanBeTakenBackWhereverItIsBrokenOff) {
  damage_one_copy();
  patch_word(disk_.path(), grain(3).redundant_gte_offset, 0x70000000);
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  for (const Fault& fault : {Fault{.call = FileCall::write, .path_end = "disk.vmdk", .nth = 2},
                             Fault{.call = FileCall::sync, .path_end = "disk.vmdk"}}) {
    FaultFileSystem files(posix_file_system());
    files.add(fault);
    EXPECT_TRUE(HasError(run(true, files), ErrorKind::io));
    EXPECT_NE(file_bytes(disk_.path()), damaged);
    ASSERT_TRUE(IsOk(undo()));
    EXPECT_EQ(file_bytes(disk_.path()), damaged);
  }
}

TEST_F(RepairTest, ChangesNothingWithoutItsJournal) {
  damage_one_copy();
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  for (const FileCall call : {FileCall::create, FileCall::write, FileCall::sync}) {
    FaultFileSystem files(posix_file_system());
    files.add({.call = call, .path_end = ".undo"});
    EXPECT_TRUE(HasError(run(true, files), ErrorKind::io));
    EXPECT_EQ(file_bytes(disk_.path()), damaged);
    fs::remove(journal());
  }
}

TEST_F(RepairTest, DoesNotBelieveAJournalThatIsNotWholeOrNamesOtherFiles) {
  const TempDir elsewhere;
  const fs::path outside = elsewhere / "file";
  std::ofstream(outside) << '0';
  ASSERT_TRUE(IsOk(
      write_undo_journal(posix_file_system(), journal(), {{outside, 0, {0, {std::byte{1}}}}})));
  EXPECT_TRUE(HasError(undo(), ErrorKind::denied, ""));
  EXPECT_EQ(file_bytes(outside), std::vector(1, std::byte{'0'}));
  fs::resize_file(journal(), fs::file_size(journal()) - 1);
  EXPECT_TRUE(HasError(undo(), ErrorKind::corrupt, "journal"));
}

TEST_F(RepairTest, TakesNoEntryAwayWhileThereIsAGrainThatNothingRefersTo) {
  for (const auto& [primary, redundant] :
       std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0x7fffffff, 0}, {0, 0x7fffffff}}) {
    patch_word(disk_.path(), grain(2).gte_offset, primary);
    patch_word(disk_.path(), grain(2).redundant_gte_offset, redundant);
    const std::vector<std::byte> damaged = file_bytes(disk_.path());
    const Result<RepairReport> report = run(true);
    ASSERT_TRUE(IsOk(report));
    EXPECT_EQ(report->corrections, 0U);
    EXPECT_EQ(report->doubts, 1U);
    EXPECT_EQ(file_bytes(disk_.path()), damaged);
  }
}

TEST_F(RepairTest, IsNotTakenBackWhenTheImageWasWrittenSince) {
  damage_one_copy();
  damage_both_copies();
  ASSERT_TRUE(IsOk(run(true)));
  const std::vector<std::byte> more(4096, std::byte{7});
  patch_file(disk_.path(), fs::file_size(disk_.path()), more);
  const std::vector<std::byte> written = file_bytes(disk_.path());
  EXPECT_TRUE(HasError(undo(), ErrorKind::invalid_argument, "written since"));
  EXPECT_EQ(file_bytes(disk_.path()), written);
  EXPECT_TRUE(fs::exists(journal()));
}

TEST_F(RepairTest, TellsPeopleAndProgramsWhatItDoes) {
  damage_one_copy();
  const CommandResult dry = program({"--repair", "disk.vmdk"});
  EXPECT_EQ(dry.exit_status, 2);
  EXPECT_TRUE(dry.out.contains("would correct")) << dry.out;
  EXPECT_TRUE(dry.out.contains("--yes")) << dry.out;
  const CommandResult done = program({"--repair", "--yes", "--output", "json", "disk.vmdk"});
  EXPECT_EQ(done.exit_status, 0) << done.err;
  const nlohmann::json object = nlohmann::json::parse(done.out, nullptr, false);
  EXPECT_EQ(object.value("written", false), true) << done.out;
  EXPECT_EQ(object["corrections"].size(), 1U);
  EXPECT_EQ(object.value("damage_after", 1), 0);
  EXPECT_EQ(file_bytes(disk_.path()), healthy_);
  EXPECT_EQ(program({"--repair", "disk.vmdk"}).exit_status, 0);
  EXPECT_EQ(program({"--repair", "disk.vmdk", "disk.vmdk"}).exit_status, 1);
  EXPECT_EQ(program({"--yes", "disk.vmdk"}).exit_status, 1);
  EXPECT_EQ(program({"--undo", "disk.vmdk"}).exit_status, 1);
}

}  // namespace
}  // namespace grainmill::testing
