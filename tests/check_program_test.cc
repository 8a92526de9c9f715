// SPDX-License-Identifier: Apache-2.0
//
// `grainmill check` as users and their scripts see it.
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::testing {
namespace {

using Strings = std::vector<std::string>;

class CheckProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    build("sound", "128k:A 64k:-");
    const BuiltDisk bad = build("bad", "128k:A 64k:-");
    patch_word(bad.path(), bad.links[0].extents[0].grain_at(65536).redundant_gte_offset, 0);
    const BuiltDisk leaky = build("leaky", "128k:A 64k:-", {.unclean_shutdown = true});
    const GrainPlace& grain = leaky.links[0].extents[0].grain_at(65536);
    patch_word(leaky.path(), grain.gte_offset, 0);
    patch_word(leaky.path(), grain.redundant_gte_offset, 0);
  }

  BuiltDisk build(const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    return build_disk(dir_.path(), name, parse_layout(layout), options);
  }
  CommandResult run(Strings arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir_.path(), arguments);
  }
  nlohmann::json json(Strings arguments, int exit_status) {
    arguments.insert(arguments.begin(), {"--output", "json"});
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, exit_status) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  TempDir dir_;
};

TEST_F(CheckProgram, HasTheExitStatusesOfQemuImg) {
  EXPECT_EQ(run({"sound.vmdk"}).exit_status, 0);
  EXPECT_EQ(run({"none.vmdk"}).exit_status, 1);
  EXPECT_EQ(run({"bad.vmdk"}).exit_status, 2);
  EXPECT_EQ(run({"leaky.vmdk"}).exit_status, 3);
  EXPECT_EQ(run({}).exit_status, 1);
  EXPECT_EQ(run({"sound.vmdk", "--wrong"}).exit_status, 1);
}

TEST_F(CheckProgram, TheWorstOfSeveralImagesCounts) {
  EXPECT_EQ(run({"sound.vmdk", "leaky.vmdk"}).exit_status, 3);
  EXPECT_EQ(run({"none.vmdk", "leaky.vmdk"}).exit_status, 1);
  EXPECT_EQ(run({"bad.vmdk", "none.vmdk", "sound.vmdk"}).exit_status, 2);
}

TEST_F(CheckProgram, SaysWhatAndWhere) {
  const CommandResult sound = run({"sound.vmdk"});
  EXPECT_TRUE(sound.out.starts_with("sound.vmdk: sound (vmdk, 192 KiB, ")) << sound.out;
  const CommandResult bad = run({"bad.vmdk"});
  for (const std::string words :
       {"damage: bad.vmdk: ", "guest offset 0x10000 to 0x20000", "can be repaired from ",
        "bad.vmdk: DAMAGED: 1 finding ", "grainmill check --repair bad.vmdk\n",
        "grainmill check --salvage RAW bad.vmdk\n"})
    EXPECT_NE(bad.out.find(words), std::string::npos) << words << " is not in: " << bad.out;
  EXPECT_EQ(bad.err, "");
  EXPECT_EQ(sound.out.find("--repair"), std::string::npos) << sound.out;
}

// As with `check *.vmdk`.
TEST_F(CheckProgram, APartOfADiskThatIsNamedIsNoImage) {
  build("flat", "128k:A", {.kind = Kind::monolithic_flat});
  build("split", "128k:A", {.kind = Kind::two_gb_sparse});
  const Strings all = {"flat-flat.vmdk", "flat.vmdk", "split-s001.vmdk", "./split.vmdk"};
  const CommandResult checked = run(all);
  EXPECT_EQ(checked.exit_status, 0) << checked.out;
  EXPECT_EQ(checked.err, "");
  for (const std::string line : {"flat-flat.vmdk: part of flat.vmdk, which is checked\n",
                                 "\nsplit-s001.vmdk: part of split.vmdk, which is checked\n",
                                 "\nflat.vmdk: sound ", "\n./split.vmdk: sound "})
    EXPECT_NE(checked.out.find(line), std::string::npos) << line << checked.out;
  EXPECT_EQ(checked.out.find("unchecked"), std::string::npos) << checked.out;
  Strings quiet = all;
  quiet.emplace_back("-q");
  EXPECT_EQ(run(quiet).out, "");

  const nlohmann::json objects = json(all, 0);
  ASSERT_EQ(objects.size(), 4U);
  EXPECT_EQ(objects[0]["filename"], "flat-flat.vmdk");
  EXPECT_EQ(objects[0]["part-of"], "flat.vmdk");
  EXPECT_EQ(objects[0]["check-errors"], 0);
  EXPECT_FALSE(objects[1].contains("part-of"));
}

TEST_F(CheckProgram, APartOfADiskThatIsNotNamedIsNotChecked) {
  build("flat", "128k:A", {.kind = Kind::monolithic_flat});
  for (const Strings& images :
       {Strings{"flat-flat.vmdk"}, Strings{"sound.vmdk", "flat-flat.vmdk"}}) {
    const CommandResult alone = run(images);
    EXPECT_EQ(alone.exit_status, 1);
    EXPECT_NE(alone.out.find("open its descriptor, flat.vmdk"), std::string::npos) << alone.out;
  }
}

TEST_F(CheckProgram, TwoThatNameEachOtherSpeakForNone) {
  for (const auto& [name, other] : {std::pair("a", "b"), std::pair("b", "a")})
    std::ofstream(dir_ / (std::string(name) + ".vmdk"))
        << "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
        << "createType=\"fullDevice\"\nRW 16 FLAT \"" << other << ".vmdk\" 0\n";
  EXPECT_EQ(run({"a.vmdk", "b.vmdk"}).exit_status, 1);
}

TEST_F(CheckProgram, QuietMeansQuiet) {
  EXPECT_EQ(run({"-q", "sound.vmdk"}).out, "");
  EXPECT_NE(run({"-q", "bad.vmdk"}).out, "");
}

TEST_F(CheckProgram, ReportsAsJson) {
  const nlohmann::json object = json({"bad.vmdk"}, 2);
  ASSERT_TRUE(object.is_object());
  EXPECT_EQ(object["filename"], "bad.vmdk");
  EXPECT_EQ(object["format"], "vmdk");
  EXPECT_EQ(object["virtual-size"], 192 << 10);
  EXPECT_EQ(object["corruptions"], 1);
  EXPECT_EQ(object["check-errors"], 0);
  EXPECT_EQ(object["sound"], false);
  ASSERT_EQ(object["findings"].size(), 1U);
  const nlohmann::json& finding = object["findings"][0];
  EXPECT_EQ(finding["severity"], "damage");
  EXPECT_EQ(finding["code"], "copies-differ");
  EXPECT_EQ(finding["path"], "bad.vmdk");
  EXPECT_EQ(finding["guest_offset"], 65536);
  EXPECT_EQ(finding["guest_length"], 65536);

  const nlohmann::json both = json({"sound.vmdk", "leaky.vmdk"}, 3);
  ASSERT_TRUE(both.is_array());
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0]["sound"], true);
  EXPECT_EQ(both[1]["leaked_bytes"], 65536);
}

TEST_F(CheckProgram, ProgressAsJsonIsOneObjectALine) {
  build("stream", "640k:A", {.kind = Kind::stream_optimized});
  const CommandResult result = run({"--progress", "json", "stream.vmdk", "sound.vmdk"});
  std::istringstream lines(result.out);
  int done = 0;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(object.is_object()) << line;
    done += object["event"] == "done" ? 1 : 0;
  }
  EXPECT_EQ(done, 2);
}

// What is listed is bounded, what is counted is not.
TEST_F(CheckProgram, ListsAThousandFindings) {
  const BuiltDisk disk = build("many", "160m:A", {.grain_sectors = 128});
  const BuiltExtent& extent = disk.links[0].extents[0];
  for (std::size_t i = 0; i < extent.grains.size(); i += 2)
    patch_word(disk.path(), extent.grains[i].redundant_gte_offset, 0);
  const nlohmann::json object = json({"many.vmdk"}, 2);
  EXPECT_EQ(object["corruptions"], 1280);
  EXPECT_EQ(object["findings"].size(), 1000U);
  EXPECT_EQ(object["findings_omitted"], 280);
}

}  // namespace
}  // namespace grainmill::testing
