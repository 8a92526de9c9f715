// SPDX-License-Identifier: Apache-2.0
//
// `grainmill batch plan` over an estate as they are: virtual machines with snapshots, disks of many
// files, archives, broken ones, and names that meet.
#include "engine/io/file_system_layer.h"
#include "pipeline/batch/make_plan.h"
#include "pipeline/batch/plan.h"
#include "tests/fakes/outcome.h"
#include "tests/program.h"
#include "tests/support/layout.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

// The machine's own files, with less room and with folders that cannot be listed.
class LimitedFiles final : public FileSystemLayer {
 public:
  std::uint64_t room = std::numeric_limits<std::uint64_t>::max();
  std::string locked;

  LimitedFiles() : FileSystemLayer(posix_file_system()) {}

  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override {
    return below().create_pending(path);
  }
  [[nodiscard]] Status remove(const std::string& path) override { return below().remove(path); }
  [[nodiscard]] Result<std::vector<FolderEntry>> entries(const std::string& folder) override {
    if (folder == locked) return fail(ErrorKind::io, folder, "cannot list: Permission denied");
    return below().entries(folder);
  }
  [[nodiscard]] Result<std::uint64_t> free_bytes(const std::string& /*folder*/) override {
    return room;
  }
};

class BatchPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(old_);
    fs::create_directory(new_);
    real_old_ = fs::canonical(old_).string();
    real_new_ = fs::canonical(new_).string();
  }

  BuiltDisk build(const std::string& folder, const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    fs::create_directories(old_ / folder);
    return build_disk(old_ / folder, name, parse_layout(layout), options);
  }
  void put(const std::string& name, const std::string& text) {
    fs::create_directories((old_ / name).parent_path());
    std::ofstream(old_ / name, std::ios::binary) << text;
  }

  CommandResult run(const Strings& more) {
    Strings all = {"batch", "plan"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(dir_.path(), all);
  }
  // The plan of a run that must succeed.
  BatchPlan plan_of(const Strings& more = {"old", "--to", "new"},
                    const std::string& file = "new/batch.plan") {
    const CommandResult result = run(more);
    EXPECT_EQ(result.exit_status, 0) << result.err;
    said_ = result.out;
    Result<BatchPlan> plan = read_plan(posix_file_system(), (dir_ / file).string());
    EXPECT_TRUE(IsOk(plan));
    return plan ? *std::move(plan) : BatchPlan{};
  }
  void expect_refused(const Strings& more, const Strings& words) {
    const CommandResult result = run(more);
    EXPECT_EQ(result.exit_status, 1) << result.out;
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in " << result.err;
    EXPECT_FALSE(fs::exists(new_ / "batch.plan"));
  }
  PlanOptions options() const {
    PlanOptions options;
    options.sources = {old_.string()};
    options.target_folder = new_.string();
    options.plan = (new_ / "batch.plan").string();
    return options;
  }

  // What is planned: sources below old/ by their targets below new/; skipped ones have "-".
  Strings pairs(const BatchPlan& plan) const {
    Strings all;
    for (const PlannedImage& image : plan.images) {
      const std::string target =
          image.target.empty() ? "-"
                               : fs::path(image.target).lexically_relative(real_new_).string();
      all.push_back(fs::path(image.source).lexically_relative(real_old_).string() + " > " + target);
    }
    std::ranges::sort(all);
    return all;
  }
  const PlannedImage& image(const BatchPlan& plan, const std::string& source) const {
    for (const PlannedImage& each : plan.images)
      if (each.source == real_old_ + "/" + source) return each;
    ADD_FAILURE() << source << " is not planned";
    static const PlannedImage kNone;
    return kNone;
  }

  TempDir dir_;
  fs::path old_ = dir_ / "old";
  fs::path new_ = dir_ / "new";
  std::string real_old_;
  std::string real_new_;
  std::string said_;
};

TEST_F(BatchPlanTest, EachLeafOfAMachineCountsOnce) {
  build("web", "web", "128k:A 64k:- | 64k:^ 64k:B 64k:^ | 64k:C 128k:^");
  // A second branch from the base.
  const CommandResult branch =
      run_program(old_ / "web", {"create", "-b", "web.vmdk", "branch.vmdk"});
  ASSERT_EQ(branch.exit_status, 0) << branch.err;
  const BatchPlan plan = plan_of();
  EXPECT_EQ(pairs(plan), (Strings{"web/branch.vmdk > web/branch.qcow2",
                                  "web/web-000002.vmdk > web/web-000002.qcow2"}));
  const PlannedImage& top = image(plan, "web/web-000002.vmdk");
  EXPECT_EQ(top.chain, (Strings{real_old_ + "/web/web-000002.vmdk",
                                real_old_ + "/web/web-000001.vmdk", real_old_ + "/web/web.vmdk"}));
  EXPECT_EQ(top.disk_bytes, 192U << 10);
  EXPECT_GT(top.source_bytes, 256U << 10);
  EXPECT_GT(top.target_bytes, 192U << 10);
  EXPECT_EQ(top.reason, "");
  EXPECT_EQ(image(plan, "web/branch.vmdk").chain.size(), 2U);
  for (const std::string word : {"2 disks, 2 with snapshots", "grainmill batch run new/"})
    EXPECT_NE(said_.find(word), std::string::npos) << said_;
}

TEST_F(BatchPlanTest, ABaseThatIsNamedIsADiskOfItsOwn) {
  build("web", "web", "64k:A | 64k:B");
  EXPECT_EQ(
      pairs(plan_of({"old", "old/web/web.vmdk", "--to", "new"})),
      (Strings{"web/web-000001.vmdk > web/web-000001.qcow2", "web/web.vmdk > web/web.qcow2"}));
  EXPECT_EQ(pairs(plan_of({"old/web/web.vmdk", "--to", "new", "--force"})),
            (Strings{"web/web.vmdk > web.qcow2"}));
}

TEST_F(BatchPlanTest, PartsBelongToTheirDisks) {
  build("", "split", "3m:A", {.kind = Kind::two_gb_sparse, .split_size_bytes = 1 << 20});
  build("", "slices", "3m:A", {.kind = Kind::two_gb_flat, .split_size_bytes = 1 << 20});
  build("", "flat", "1m:A", {.kind = Kind::monolithic_flat});
  build("", "esx", "1m:A | 512k:B 512k:^", {.kind = Kind::vmfs_sparse});
  build("deep/er", "stream", "1m:A", {.kind = Kind::stream_optimized});
  build_qcow2(old_, "kvm", parse_layout("128k:A"), std::array{Qcow2Options{}});
  // What changed since the last backup, as ESXi keeps it.
  const std::string text = R"(changeTrackPath="flat-ctk.vmdk")";
  std::ofstream(old_ / "flat.vmdk", std::ios::app) << text << '\n';
  put("flat-ctk.vmdk", std::string(1000, '\x17'));
  const BatchPlan plan = plan_of({"old", "--to", "new", "-O", "raw"});
  EXPECT_EQ(pairs(plan),
            (Strings{"deep/er/stream.vmdk > deep/er/stream.raw", "esx-000001.vmdk > esx-000001.raw",
                     "flat.vmdk > flat.raw", "kvm.qcow2 > kvm.raw", "slices.vmdk > slices.raw",
                     "split.vmdk > split.raw"}));
  for (const PlannedImage& each : plan.images) EXPECT_EQ(each.reason, "") << each.source;
}

TEST_F(BatchPlanTest, WhatIsBrokenIsPlannedWithItsReason) {
  build("", "good", "128k:A");
  const BuiltDisk cut = build("", "cut", "1m:r");
  fs::resize_file(cut.path(), fs::file_size(cut.path()) / 2);
  fs::remove(build("orphan", "orphan", "64k:A | 64k:B").links[0].path);
  fs::create_directory(old_ / "cid");
  build_disk(old_ / "cid", "cid", parse_layout("64k:A | 64k:B"),
             std::array{LinkOptions{}, LinkOptions{.descriptor = {.parent_cid = 0x1234}}});
  const BuiltDisk lost =
      build("lost", "lost", "3m:A", {.kind = Kind::two_gb_flat, .split_size_bytes = 1 << 20});
  fs::remove(lost.links[0].extents[1].path);
  put("noise.vmdk", std::string(5000, 'x'));
  put("empty.QCOW2", "");
  put("alone/disk-flat.vmdk", std::string(5000, '\0'));
  put("notes.txt", "no disk");
  const BatchPlan plan = plan_of();
  struct Case {
    std::string source;
    std::string reason;
  };
  for (const Case& each : std::vector<Case>{{"cut.vmdk", "past the end"},
                                            {"orphan/orphan-000001.vmdk", "its parent"},
                                            {"cid/cid-000001.vmdk", "content ID"},
                                            {"lost/lost.vmdk", "lost-f002.vmdk"},
                                            {"noise.vmdk", "not recognised"},
                                            {"empty.QCOW2", "an empty file"},
                                            {"alone/disk-flat.vmdk", "nothing but zeros"}}) {
    const PlannedImage& found = image(plan, each.source);
    EXPECT_NE(found.reason.find(each.reason), std::string::npos)
        << each.source << ": " << found.reason;
    EXPECT_EQ(found.state, PlannedState::queued);
    EXPECT_NE(found.target, "");
    EXPECT_EQ(found.target_bytes, 0U);
  }
  EXPECT_EQ(image(plan, "good.vmdk").reason, "");
  EXPECT_EQ(plan.images.size(), 8U) << fmt::format("{}", fmt::join(pairs(plan), "\n"));
  EXPECT_NE(said_.find("7 disks known to fail as things are:"), std::string::npos) << said_;
}

TEST_F(BatchPlanTest, ACircleIsNotForgotten) {
  build("", "ring", "64k:A", {.descriptor = {.parent_cid = 1, .parent_hint = "gnir.vmdk"}});
  build("", "gnir", "64k:A", {.descriptor = {.parent_cid = 1, .parent_hint = "ring.vmdk"}});
  EXPECT_EQ(pairs(plan_of()), (Strings{"gnir.vmdk > gnir.qcow2", "ring.vmdk > ring.qcow2"}));
}

TEST_F(BatchPlanTest, ArchivesAreSkippedWithAReason) {
  build("", "disk", "64k:A", {.kind = Kind::stream_optimized});
  ASSERT_TRUE(
      run_command({"tar", "-C", old_.string(), "-cf", (old_ / "vm.ova").string(), "disk.vmdk"})
          .ok());
  const BatchPlan plan = plan_of();
  EXPECT_EQ(pairs(plan), (Strings{"disk.vmdk > disk.qcow2", "vm.ova > -"}));
  EXPECT_EQ(image(plan, "vm.ova").state, PlannedState::skipped);
  EXPECT_EQ(image(plan, "vm.ova").reason,
            "OVA: not converted yet: unpack it (tar xf) and plan the folder");
  EXPECT_NE(said_.find("1 disk skipped:"), std::string::npos) << said_;
}

TEST_F(BatchPlanTest, RawDisksAreOnlyThoseThatAreNamed) {
  put("lv/root.example.com", std::string(1 << 20, 'r'));
  put("lv/other", std::string(1 << 20, 'r'));
  put("a.img", std::string(1 << 20, 'r'));
  build("", "disk", "64k:A");
  const BatchPlan plan = plan_of({"old", "--to", "new", "--raw", "*.img", "--raw", "root.*"});
  EXPECT_EQ(pairs(plan), (Strings{"a.img > a.qcow2", "disk.vmdk > disk.qcow2",
                                  "lv/root.example.com > lv/root.example.com.qcow2"}));
  EXPECT_EQ(image(plan, "a.img").source_format, "raw");
  EXPECT_EQ(image(plan, "a.img").disk_bytes, 1U << 20);
  EXPECT_EQ(image(plan, "disk.vmdk").source_format, "");
}

TEST_F(BatchPlanTest, ListsAndPatterns) {
  build("one", "disk", "64k:A | 64k:B");
  build("two", "disk", "64k:A", {.kind = Kind::monolithic_flat});
  build("two", "extra", "64k:A");
  build("three", "single", "64k:A");
  std::ofstream(dir_ / "list.txt") << "# some\n\nold/*/disk*.vmdk\r\nold/three/single.vmdk\n";
  EXPECT_EQ(pairs(plan_of({"@list.txt", "--to", "new"})),
            (Strings{"one/disk-000001.vmdk > one/disk-000001.qcow2",
                     "three/single.vmdk > single.qcow2", "two/disk.vmdk > two/disk.qcow2"}));
  EXPECT_EQ(pairs(plan_of({"old/t[wx]*", "--to", "new", "--force", "--exclude", "extra*"})),
            (Strings{"two/disk.vmdk > two/disk.qcow2"}));
  fs::remove(new_ / "batch.plan");
  expect_refused({"old/*/none*", "--to", "new"}, {"old/*/none*", "called like this pattern"});
  std::ofstream(dir_ / "list.txt") << "old\nold/none\n";
  expect_refused({"@list.txt", "--to", "new"},
                 {"old/none: there is no such", "line 2 of list.txt"});
}

TEST_F(BatchPlanTest, OutputsInsideASourceAreNoSources) {
  build("vm", "disk", "64k:A");
  fs::create_directory(old_ / "new");
  fs::copy_file(old_ / "vm/disk.vmdk", old_ / "new/older.vmdk");
  const BatchPlan plan = plan_of({"old", "--to", "old/new"}, "old/new/batch.plan");
  ASSERT_EQ(plan.images.size(), 1U);
  EXPECT_EQ(plan.images[0].target, real_old_ + "/new/vm/disk.qcow2");
}

TEST_F(BatchPlanTest, RefusesWhatWouldGoWrong) {
  build("", "disk", "64k:A");
  expect_refused({"old", "--to", "none"}, {"none: ", "mkdir -p"});
  expect_refused({"none", "--to", "new"}, {"none: there is no such folder or image"});
  expect_refused({"@none", "--to", "new"}, {"none: "});
  expect_refused({"old", "--to", "new", "-o", "cluster_size=7"}, {"cluster_size"});
  expect_refused({"old", "--to", "new", "-c", "--level", "99"}, {"99"});
  expect_refused({"new", "--to", "new"}, {"no disks were found"});
  build_qcow2(old_, "disk", parse_layout("128k:A"), std::array{Qcow2Options{}});
  expect_refused({"old", "--to", "new"},
                 {"outputs would have the name of another one (1)",
                  "\n  " + real_new_ + "/disk.qcow2: ", real_old_ + "/disk.vmdk", "--exclude"});
  // It would replace itself.
  expect_refused({"old/disk.qcow2", "--to", "old", "--force"},
                 {"outputs would replace what disks are read from (1)", real_old_ + "/disk.qcow2"});
  for (int i = 0; i < 15; ++i) {
    fs::copy_file(old_ / "disk.qcow2", old_ / fmt::format("n{:02}.qcow2", i));
    std::ofstream(new_ / fmt::format("n{:02}.qcow2", i)) << "x";
  }
  expect_refused({"old", "--to", "new", "--exclude", "disk.vmdk"},
                 {"outputs exist already (15)", "n09.qcow2", "and 5 more", "--force"});
  EXPECT_EQ(plan_of({"old", "--to", "new", "--exclude", "disk.vmdk", "--force"}).images.size(),
            16U);
}

TEST_F(BatchPlanTest, AnOlderManifestOrPlanIsKept) {
  build("", "disk", "64k:A");
  std::ofstream(new_ / "disk.qcow2.manifest") << "x";
  expect_refused({"old", "--to", "new"}, {"disk.qcow2.manifest"});
  fs::remove(new_ / "disk.qcow2.manifest");
  plan_of();
  const CommandResult again = run({"old", "--to", "new"});
  EXPECT_EQ(again.exit_status, 1);
  EXPECT_NE(again.err.find("batch.plan: exists already"), std::string::npos) << again.err;
  const CommandResult mistyped = run({"odl", "--to", "new"});
  EXPECT_EQ(mistyped.exit_status, 1);
  EXPECT_NE(mistyped.err.find("odl: there is no such folder or image"), std::string::npos)
      << mistyped.err;
  EXPECT_EQ(plan_of({"old", "--to", "new", "--force"}).images.size(), 1U);
  const auto before = fs::file_size(old_ / "disk.vmdk");
  const CommandResult over = run({"old", "--to", "new", "--force", "--plan", "old/disk.vmdk"});
  EXPECT_EQ(over.exit_status, 1);
  EXPECT_NE(over.err.find("is no plan"), std::string::npos) << over.err;
  EXPECT_EQ(fs::file_size(old_ / "disk.vmdk"), before);
}

TEST_F(BatchPlanTest, FilesOfASplitOutputMayMeetToo) {
  build("", "disk", "64k:A");
  build("", "disk-flat", "64k:A");
  expect_refused({"old", "--to", "new", "-O", "vmdk", "-o", "subformat=monolithicFlat"},
                 {real_new_ + "/disk-flat.vmdk: "});
}

TEST_F(BatchPlanTest, WhatDoesNotFitIsRefused) {
  build("", "disk", "1m:r");
  LimitedFiles files;
  files.room = 1 << 20;
  EXPECT_TRUE(HasError(make_plan(files, options()), ErrorKind::invalid_argument, "1 MiB are free"));
  PlanOptions forced = options();
  forced.force = true;
  EXPECT_TRUE(IsOk(make_plan(files, forced)));
  files.room = 2 << 20;
  EXPECT_TRUE(IsOk(make_plan(files, options())));
}

TEST_F(BatchPlanTest, AFolderThatCannotBeListedStopsNothing) {
  build("open", "disk", "64k:A");
  build("locked", "disk", "64k:A");
  LimitedFiles files;
  files.locked = real_old_ + "/locked";
  const Result<MadePlan> made = make_plan(files, options());
  ASSERT_TRUE(IsOk(made));
  EXPECT_EQ(made->plan.images.size(), 1U);
  ASSERT_EQ(made->failures.size(), 1U);
  EXPECT_EQ(made->failures[0].path, files.locked);
}

TEST_F(BatchPlanTest, NamesMayBeAnyBytes) {
  build("", "disk", "64k:A");
  const std::string odd = "od\xff\n\"d\".vmdk";
  fs::rename(old_ / "disk.vmdk", old_ / odd);
  const BatchPlan plan = plan_of();
  ASSERT_EQ(plan.images.size(), 1U);
  EXPECT_EQ(plan.images[0].source, real_old_ + "/" + odd);
  EXPECT_EQ(plan.images[0].target, real_new_ + "/od\xff\n\"d\".qcow2");
}

TEST_F(BatchPlanTest, ManyChainsAreQuick) {
  for (int i = 0; i < 300; ++i)
    build(fmt::format("vm{}", i % 20), fmt::format("d{}", i), "64k:A 64k:- | 64k:B 64k:^");
  plan_of();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(plan_of({"old", "--to", "new", "--force"}).images.size(), 300U);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", fmt::format("{:.3f}", seconds.count()));
  EXPECT_LT(seconds.count(), 20.0);  // many times what it takes on a busy machine
}

}  // namespace
}  // namespace grainmill::testing
