// SPDX-License-Identifier: Apache-2.0
//
// The program itself: exit statuses, what it prints and to which stream, and what it leaves behind.
#include "tests/program.h"

#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class Program : public ::testing::Test {
 protected:
  void SetUp() override { build_disk(dir_.path(), "disk", layout_); }

  CommandResult run(const std::vector<std::string>& arguments) {
    return run_program(dir_.path(), arguments);
  }

  void expect_refused(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& words) {
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in: " << result.err;
  }

  void expect_output(const fs::path& output) {
    expect_same_bytes(file_bytes(output), expected_bytes(layout_, 0, layout_.size_bytes()));
  }

  Layout layout_ = parse_layout("64k:A 64k:- 64k:r 7s:B | 64k:^ 64k:C 64k:0 7s:^");
  TempDir dir_;
  const std::string source_ = "disk-000001.vmdk";
};

std::vector<nlohmann::json> json_lines(const std::string& text) {
  std::vector<nlohmann::json> objects;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    objects.push_back(nlohmann::json::parse(line, nullptr, false));
  return objects;
}

TEST_F(Program, ConvertsAndVerifies) {
  const CommandResult convert = run({"convert", source_, "out.img"});
  EXPECT_EQ(convert.exit_status, 0) << convert.err;
  EXPECT_EQ(convert.err, "");
  EXPECT_NE(convert.out.find("out.img"), std::string::npos);
  expect_output(dir_ / "out.img");
  EXPECT_EQ(run({"verify", "out.img"}).exit_status, 0);
  EXPECT_EQ(run({"verify", source_, "--manifest", "out.img.manifest"}).exit_status, 0);
}

TEST_F(Program, SaysTwoWhereContentsDiffer) {
  ASSERT_TRUE(run({"convert", source_, "out.img"}).ok());
  flip_bits(dir_ / "out.img", 70'000);
  const CommandResult verify = run({"verify", "out.img"});
  EXPECT_EQ(verify.exit_status, 2);
  EXPECT_NE(verify.out.find("0x10000"), std::string::npos) << verify.out;
  EXPECT_NE(verify.out.find("NOT the same"), std::string::npos) << verify.out;

  const CommandResult json = run({"verify", "--output", "json", "out.img"});
  EXPECT_EQ(json.exit_status, 2);
  const nlohmann::json report = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << json.out;
  EXPECT_EQ(report["same"], false);
  ASSERT_EQ(report["ranges"].size(), 1U);
  EXPECT_EQ(report["ranges"][0]["offset"], 65536);
  EXPECT_EQ(report["ranges"][0]["length"], 65536);
}

TEST_F(Program, ADiskOfAnotherSizeDiffers) {
  ASSERT_TRUE(run({"convert", source_, "out.img"}).ok());
  for (const std::uint64_t size : {std::uint64_t{0}, layout_.size_bytes() - 512}) {
    fs::resize_file(dir_ / "out.img", size);
    const CommandResult verify = run({"verify", "out.img"});
    EXPECT_EQ(verify.exit_status, 2) << verify.err;
    EXPECT_NE(verify.out.find(std::to_string(layout_.size_bytes())), std::string::npos);
  }
}

TEST_F(Program, VerifyShowsTheRootsThatConvertPrinted) {
  const CommandResult convert = run({"convert", "--digest", "sha256", source_, "out.img"});
  ASSERT_EQ(convert.exit_status, 0) << convert.err;
  for (const std::string form : {"--output", "--progress"}) {
    const CommandResult verify = run({"verify", form, "json", "out.img"});
    const std::size_t last = form == "--output" ? 0 : verify.out.rfind("\n{") + 1;
    const nlohmann::json report = nlohmann::json::parse(verify.out.substr(last), nullptr, false);
    ASSERT_TRUE(report.is_object()) << verify.out;
    EXPECT_NE(convert.out.find(report["xxh3_root"].get<std::string>()), std::string::npos);
    EXPECT_NE(convert.out.find(report["sha256_root"].get<std::string>()), std::string::npos);
  }
}

TEST_F(Program, NoManifestLeavesNoOlderOne) {
  ASSERT_TRUE(run({"convert", source_, "out.img"}).ok());
  ASSERT_TRUE(run({"convert", "--no-manifest", "disk.vmdk", "out.img"}).ok());
  EXPECT_FALSE(fs::exists(dir_ / "out.img.manifest"));

  fs::copy_file(dir_ / "disk.vmdk", dir_ / "out.img.manifest");
  ASSERT_TRUE(run({"convert", "--no-manifest", "disk.vmdk", "out.img"}).ok());
  EXPECT_TRUE(fs::exists(dir_ / "out.img.manifest")) << "not a manifest, so not ours to remove";
  expect_refused({"convert", "--no-manifest", "--manifest", "m", source_, "out.img"},
                 {"--no-manifest"});
}

TEST_F(Program, SaysOneWhereItFails) {
  expect_refused({"convert", "none.vmdk", "out.img"}, {"none.vmdk", "No such file"});
  expect_refused({"convert", source_, "nowhere/out.img"}, {"nowhere"});
  expect_refused({"verify", "disk.vmdk"}, {"disk.vmdk.manifest"});
  expect_refused({"info", "none.vmdk"}, {"none.vmdk"});
  expect_refused({"map", "none.vmdk"}, {"none.vmdk"});
  EXPECT_FALSE(fs::exists(dir_ / "out.img"));
}

TEST_F(Program, SendsNoControlCharactersOfAnImageToATerminal) {
  LinkOptions child;
  child.descriptor.parent_hint = "\x1b[31mdisk\x07.vmdk";
  build_disk(dir_.path(), "disk", layout_, std::vector{LinkOptions(), child});
  for (const std::vector<std::string>& command : {std::vector<std::string>{"info", source_},
                                                  {"convert", source_, "out.raw"},
                                                  {"check", source_},
                                                  {"rebase", "-u", "-b", "\x1b[31mx", source_}}) {
    const CommandResult result = run(command);
    for (const std::string& text : {result.out, result.err})
      EXPECT_TRUE(std::ranges::none_of(text, [](char c) { return c == 0x1b || c == 7; }))
          << command.front();
    EXPECT_TRUE((result.out + result.err).contains("u001b")) << command.front();
  }
}

TEST_F(Program, RefusesWhatItDoesNotKnow) {
  for (const std::string verb : {"convert", "verify", "info", "map"}) {
    expect_refused({verb, "--frobnicate", source_, "out.img"}, {"--frobnicate"});
    expect_refused({verb}, {"required"});
  }
  expect_refused({}, {"--help"});
  expect_refused({"convrt"}, {"grainmill: ", "'grainmill convrt'", "is 'convert' meant?",
                              "`grainmill --help`"});
  expect_refused({"batch", "rum"}, {"'grainmill batch rum'", "is 'run' meant?"});
  expect_refused({"frobnicate"}, {"grainmill: ", "'grainmill frobnicate'"});
  expect_refused({"batch", "run"}, {"grainmill: ", "`grainmill batch run --help`"});
  expect_refused({"frobnicate"}, {"--help"});
  expect_refused({"convert", "-O", "vdi", source_, "out.img"}, {"vdi", "vmdk, qcow2, raw"});
  expect_refused({"convert", "-f", "vdi", source_, "out.img"}, {"vdi"});
  expect_refused({"convert", "--threads", "0", source_, "out.img"}, {"--threads"});
  expect_refused({"convert", "--memory", "much", source_, "out.img"}, {"--memory", "much"});
  expect_refused({"convert", source_, "out.img", "more.img"}, {"more.img"});
  EXPECT_FALSE(fs::exists(dir_ / "out.img"));
}

TEST_F(Program, TakesTheFlagsOfQemuImg) {
  EXPECT_TRUE(
      run({"convert", "-q", "-p", "-U", "-f", "vmdk", "-O", "raw", "-S", "64k", source_, "out.img"})
          .ok());
  expect_output(dir_ / "out.img");
  for (const std::string share : {"-U", "--force-share"}) {
    EXPECT_TRUE(run({"info", share, "--output", "json", source_}).ok());
    EXPECT_TRUE(run({"map", share, "--output=json", source_}).ok());
  }
}

TEST_F(Program, QuietMeansQuiet) {
  const CommandResult quiet = run({"convert", "-q", source_, "out.img"});
  EXPECT_EQ(quiet.exit_status, 0);
  EXPECT_EQ(quiet.out + quiet.err, "");
  expect_refused({"convert", "-q", "none.vmdk", "out.img"}, {"none.vmdk"});
}

TEST_F(Program, ProgressAsJsonIsOneObjectALine) {
  const CommandResult done = run({"convert", "--progress", "json", source_, "out.img"});
  const std::vector<nlohmann::json> lines = json_lines(done.out);
  ASSERT_GE(lines.size(), 2U) << done.out;
  for (const nlohmann::json& line : lines) ASSERT_TRUE(line.is_object()) << done.out;
  EXPECT_EQ(lines.front()["event"], "progress");
  EXPECT_EQ(lines[lines.size() - 2]["guest_bytes"], layout_.size_bytes());
  EXPECT_EQ(lines.back()["event"], "done");
  EXPECT_EQ(lines.back()["disk_bytes"], layout_.size_bytes());
  EXPECT_EQ(done.err, "");

  const CommandResult failed = run({"convert", "--progress", "json", "none.vmdk", "out.img"});
  EXPECT_EQ(failed.exit_status, 1);
  const std::vector<nlohmann::json> errors = json_lines(failed.out);
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0]["event"], "error");
  EXPECT_EQ(errors[0]["path"], "none.vmdk");
}

TEST_F(Program, HelpShowsExamples) {
  const CommandResult help = run({"--help"});
  EXPECT_EQ(help.exit_status, 0);
  EXPECT_EQ(help.err, "");
  for (const std::string word :
       {"Examples:", "grainmill convert disk.vmdk disk.raw", "verify", "info", "map"})
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  for (const std::string verb : {"convert", "verify", "info", "map"})
    EXPECT_NE(run({verb, "--help"}).out.find("--allow-dir"), std::string::npos) << verb;
}

TEST_F(Program, EachVerbHasExamplesOfItsOwn) {
  using Strings = std::vector<std::string>;
  for (Strings verb :
       {Strings{"convert"}, Strings{"verify"}, Strings{"compare"}, Strings{"info"}, Strings{"map"},
        Strings{"create"}, Strings{"commit"}, Strings{"rebase"}, Strings{"measure"},
        Strings{"check"}, Strings{"scrub"}, Strings{"batch", "plan"}, Strings{"batch", "run"},
        Strings{"batch", "status"}, Strings{"batch", "report"}}) {
    std::string call = "  grainmill";
    for (const std::string& word : verb) call += " " + word;
    verb.emplace_back("--help");
    const std::string help = run(verb).out;
    const std::size_t examples = help.find("Examples:\n");
    ASSERT_NE(examples, std::string::npos) << help;
    std::istringstream lines(help.substr(examples));
    for (std::string line; std::getline(lines, line);)
      EXPECT_TRUE(!line.starts_with("  grainmill ") || line.starts_with(call + " ")) << line;
  }
}

TEST_F(Program, SaysThatAnImageIsNotThere) {
  expect_refused({"verify", "none.raw"}, {"grainmill: none.raw: "});
  expect_refused({"verify", "disk.vmdk"}, {"grainmill: disk.vmdk.manifest: ", "--manifest"});
}

TEST_F(Program, NeverWritesOverItsSource) {
  build_disk(dir_.path(), "flat", parse_layout("64k:A"), {.kind = Kind::monolithic_flat});
  fs::create_hard_link(dir_ / "disk.vmdk", dir_ / "alias.img");
  fs::create_symlink("disk.vmdk", dir_ / "link.img");
  const std::vector<std::byte> base = file_bytes(dir_ / "disk.vmdk");
  for (const std::string& output : {source_, "./" + source_, std::string("disk.vmdk"),
                                    std::string("alias.img"), std::string("link.img")})
    expect_refused({"convert", source_, output}, {output, "part of the source"});
  expect_refused({"convert", "flat.vmdk", "flat-flat.vmdk"}, {"part of the source"});
  expect_refused({"convert", source_, "out.img", "--manifest", "out.img"}, {"out.img"});
  EXPECT_EQ(file_bytes(dir_ / "disk.vmdk"), base);
}

TEST_F(Program, NeverWritesAManifestOverItsSource) {
  const std::vector<std::byte> base = file_bytes(dir_ / "disk.vmdk");
  for (const std::string& manifest : {source_, std::string("disk.vmdk")})
    expect_refused({"convert", source_, "out.img", "--manifest", manifest},
                   {manifest, "part of the source"});
  EXPECT_EQ(file_bytes(dir_ / "disk.vmdk"), base);
}

TEST_F(Program, WritesToFilesOnly) {
  expect_refused({"convert", source_, "/dev/null"}, {"/dev/null"});
  expect_refused({"convert", source_, "."}, {"."});
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(Program, KeepsAnOlderOutputWhereItFails) {
  const BuiltDisk bad =
      build_disk(dir_.path(), "bad", parse_layout("256k:A"), {.kind = Kind::stream_optimized});
  flip_bits(bad.path(), bad.links[0].extents[0].grain_at(128 << 10).data_offset + 40, 0xff);
  ASSERT_TRUE(run({"convert", source_, "out.img"}).ok());
  const std::vector<std::string> before = names_in(dir_.path());
  expect_refused({"convert", "bad.vmdk", "out.img"}, {"bad.vmdk", "damaged"});
  EXPECT_EQ(names_in(dir_.path()), before);
  expect_output(dir_ / "out.img");
  EXPECT_EQ(run({"verify", "out.img"}).exit_status, 0);
}

TEST_F(Program, ReplacesAnOlderOutput) {
  write_file(dir_ / "out.img", "older");
  write_file(dir_ / "out.img.manifest", "older");
  ASSERT_TRUE(run({"convert", source_, "out.img"}).ok());
  EXPECT_EQ(run({"verify", "out.img"}).exit_status, 0);
  ASSERT_TRUE(run({"convert", "--no-manifest", source_, "other.img"}).ok());
  EXPECT_FALSE(fs::exists(dir_ / "other.img.manifest"));
}

TEST_F(Program, OutputDoesNotDependOnThreadsOrMemory) {
  for (const std::string threads : {"1", "2", "7"}) {
    ASSERT_TRUE(
        run({"convert", "--threads", threads, "--memory", "4M", source_, threads + ".img"}).ok());
    expect_output(dir_ / (threads + ".img"));
  }
}

TEST_F(Program, ASignalLeavesNothing) {
  fs::create_directory(dir_ / "out");
  build_long_disk(dir_ / "long.raw", 192);
  const std::vector<std::string> arguments = {"convert", "--threads", "1",           "-f",
                                              "raw",     "long.raw",  "out/long.img"};
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    StartedProgram program(dir_.path(), arguments);
    program.wait_for_handler(number);
    std::this_thread::sleep_for(std::chrono::milliseconds(number));  // different moments
    program.signal(number);
    EXPECT_EQ(program.wait(), 1) << "after signal " << number;
    EXPECT_EQ(names_in(dir_ / "out"), std::vector<std::string>());
  }
}

}  // namespace
}  // namespace grainmill::testing
