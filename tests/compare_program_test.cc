// SPDX-License-Identifier: Apache-2.0
//
// `grainmill compare` as users and their scripts see it: qemu-img's messages and exit statuses, and
// what is ours.
#include "tests/conversion.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

class CompareProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    build("one", "64k:A 64k:- 64k:B");
    build("same", "64k:A 64k:0 64k:B", {.kind = Kind::stream_optimized});
    build("other", "64k:A 64k:C 1s:B 127s:D");
    build("longer", "64k:A 64k:- 64k:B 64k:-");
    build("end", "64k:A 64k:- 64k:B 64k:E");
  }

  BuiltDisk build(const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    return build_disk(dir_.path(), name, parse_layout(layout), options);
  }

  // A disk of which the second grain cannot be read.
  void build_damaged() {
    const BuiltDisk bad = build("bad", "192k:A", {.kind = Kind::stream_optimized});
    flip_bits(bad.path(), bad.links[0].extents[0].grain_at(64 << 10).data_offset + 40, 0xff);
    build("good", "160k:A 32k:X");
  }

  CommandResult run(Strings arguments) {
    arguments.insert(arguments.begin(), "compare");
    return run_program(dir_.path(), arguments);
  }
  // The exit status, then what it prints.
  std::string say(const Strings& arguments) {
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.err, "");
    return fmt::format("{}\n{}", result.exit_status, result.out);
  }
  void expect_failure(const Strings& arguments, const std::string& word) {
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in: " << result.err;
  }
  // What it prints, as JSON; none where it is not.
  nlohmann::json json(Strings arguments, int exit_status) {
    arguments.insert(arguments.begin(), {"--output", "json"});
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, exit_status) << result.err;
    nlohmann::json object = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_TRUE(object.is_object()) << result.out;
    return object;
  }

  TempDir dir_;
};

TEST_F(CompareProgram, SaysWhatQemuImgSays) {
  EXPECT_EQ(say({"one.vmdk", "same.vmdk"}), "0\nImages are identical.\n");
  EXPECT_EQ(say({"-f", "vmdk", "-F", "vmdk", "-U", "one.vmdk", "same.vmdk"}),
            "0\nImages are identical.\n");
  EXPECT_EQ(say({"one.vmdk", "other.vmdk"}),
            "1\nContent mismatch at offset 65536!\n"
            "The first byte that differs is at 65536; --all lists all ranges.\n");
  EXPECT_EQ(say({"-s", "one.vmdk", "other.vmdk"}),
            "1\nStrict mode: Offset 65536 block status mismatch!\n");
}

TEST_F(CompareProgram, SaysThatSizesDiffer) {
  const std::string sizes = "one.vmdk is a disk of 196608 bytes, {}.vmdk one of 262144.\n";
  EXPECT_EQ(say({"one.vmdk", "longer.vmdk"}), "0\nWarning: Image size mismatch!\n" +
                                                  fmt::format(fmt::runtime(sizes), "longer") +
                                                  "Images are identical.\n");
  EXPECT_EQ(say({"-s", "one.vmdk", "longer.vmdk"}),
            "1\nStrict mode: Image size mismatch!\n" + fmt::format(fmt::runtime(sizes), "longer"));
  EXPECT_EQ(say({"one.vmdk", "end.vmdk"}),
            "1\nWarning: Image size mismatch!\n" + fmt::format(fmt::runtime(sizes), "end") +
                "Content mismatch at offset 196608!\n"
                "The first byte that differs is at 196608; --all lists all ranges.\n");
}

TEST_F(CompareProgram, QuietMeansQuiet) {
  EXPECT_EQ(say({"-q", "one.vmdk", "same.vmdk"}), "0\n");
  EXPECT_EQ(say({"-q", "one.vmdk", "end.vmdk"}), "1\n");
  EXPECT_EQ(say({"-q", "--all", "one.vmdk", "other.vmdk"}), "1\n");
  EXPECT_EQ(say({"-q", "-s", "one.vmdk", "longer.vmdk"}), "1\n");
  expect_failure({"-q", "one.vmdk", "none.vmdk"}, "none.vmdk");
}

TEST_F(CompareProgram, ShowsProgressWhereAsked) {
  const CommandResult result = run({"-p", "one.vmdk", "same.vmdk"});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out, "Images are identical.\n");
  EXPECT_NE(result.err.find("100.0 %"), std::string::npos) << result.err;
}

TEST_F(CompareProgram, ListsAllRanges) {
  EXPECT_EQ(say({"--all", "one.vmdk", "other.vmdk"}),
            "1\ndiffers:    guest offset 0x10000 to 0x20000 (64 KiB)\n"
            "differs:    guest offset 0x20200 to 0x30000 (63.5 KiB)\n"
            "Content mismatch at offset 65536!\n"
            "The first byte that differs is at 65536.\n"
            "2 ranges: 128 KiB differ, 0 B unreadable\n");
  EXPECT_EQ(say({"--all", "one.vmdk", "same.vmdk"}), "0\nImages are identical.\n");
}

TEST_F(CompareProgram, StrictListsAllRangesToo) {
  EXPECT_EQ(say({"--all", "-s", "one.vmdk", "end.vmdk"}),
            "1\ndiffers:    guest offset 0x30000 to 0x40000 (64 KiB)\n"
            "Strict mode: Image size mismatch!\n"
            "one.vmdk is a disk of 196608 bytes, end.vmdk one of 262144.\n"
            "Content mismatch at offset 196608!\n"
            "The first byte that differs is at 196608.\n"
            "1 range: 64 KiB differ, 0 B unreadable, 0 B stored differently\n");
}

TEST_F(CompareProgram, ReportsAsJson) {
  const nlohmann::json same = json({"one.vmdk", "longer.vmdk"}, 0);
  EXPECT_EQ(same["same"], true);
  EXPECT_EQ(same["same_size"], false);
  EXPECT_EQ(same["filename1"], "one.vmdk");
  EXPECT_EQ(same["filename2"], "longer.vmdk");
  EXPECT_EQ(same["virtual-size1"], 196608);
  EXPECT_EQ(same["virtual-size2"], 262144);
  EXPECT_EQ(same["format1"], "vmdk");
  EXPECT_TRUE(same["ranges"].empty());

  const nlohmann::json first = json({"one.vmdk", "other.vmdk"}, 1);
  EXPECT_EQ(first["same"], false);
  EXPECT_EQ(first["difference"], "contents");
  EXPECT_EQ(first["offset"], 65536);
  EXPECT_EQ(first["first_byte"], 65536);
  EXPECT_TRUE(first["ranges"].empty());

  const nlohmann::json all = json({"--all", "one.vmdk", "other.vmdk"}, 1);
  EXPECT_EQ(all["differing_bytes"], 65536 + 127 * 512);
  ASSERT_EQ(all["ranges"].size(), 2U);
  EXPECT_EQ(all["ranges"][1],
            (nlohmann::json{{"kind", "differs"}, {"offset", 131584}, {"length", 127 * 512}}));
}

TEST_F(CompareProgram, StrictIsReportedAsJson) {
  const nlohmann::json all = json({"--all", "-s", "one.vmdk", "same.vmdk"}, 1);
  EXPECT_EQ(all["difference"], "allocation");
  EXPECT_EQ(all["differing_bytes"], 0);
  EXPECT_EQ(all["differently_stored_bytes"], 131072);
  ASSERT_EQ(all["ranges"].size(), 2U) << all;
  EXPECT_EQ(all["ranges"][0]["kind"], "allocation");
}

TEST_F(CompareProgram, ProgressAsJsonIsOneObjectALine) {
  const CommandResult result = run({"--progress", "json", "--all", "one.vmdk", "other.vmdk"});
  EXPECT_EQ(result.exit_status, 1);
  Strings events;
  nlohmann::json last;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    last = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(last.is_object()) << line;
    if (last["event"] != "progress") events.push_back(last["event"]);
  }
  EXPECT_EQ(events, (Strings{"difference", "difference", "done"}));
  EXPECT_EQ(last["same"], false);
}

TEST_F(CompareProgram, WhatCannotBeReadIsAFailure) {
  build_damaged();
  expect_failure({"bad.vmdk", "good.vmdk"}, "bad.vmdk");
  const CommandResult all = run({"--all", "bad.vmdk", "good.vmdk"});
  EXPECT_EQ(all.exit_status, 2);
  EXPECT_NE(all.out.find("unreadable: guest offset 0x10000 to 0x20000 (64 KiB): bad.vmdk"),
            std::string::npos)
      << all.out;
  EXPECT_NE(all.out.find("differs:    guest offset 0x28000 to 0x30000 (32 KiB)"), std::string::npos)
      << all.out;
  EXPECT_EQ(all.out.find("identical"), std::string::npos) << all.out;
  EXPECT_NE(all.err.find("bad.vmdk"), std::string::npos) << all.err;

  const nlohmann::json report = json({"--all", "bad.vmdk", "good.vmdk"}, 2);
  EXPECT_EQ(report["same"], false);
  EXPECT_EQ(report["unreadable_bytes"], 65536);
  ASSERT_EQ(report["ranges"].size(), 2U);
  EXPECT_EQ(report["ranges"][0]["kind"], "unreadable");
  EXPECT_NE(report["ranges"][0]["reason"].get<std::string>().find("bad.vmdk"), std::string::npos);
}

TEST_F(CompareProgram, FailsWithTwo) {
  expect_failure({"one.vmdk", "none.vmdk"}, "none.vmdk");
  expect_failure({"none.vmdk", "one.vmdk"}, "none.vmdk");
  expect_failure({"one.vmdk"}, "required");
  expect_failure({"one.vmdk", "same.vmdk", "other.vmdk"}, "other.vmdk");
  expect_failure({"--frobnicate", "one.vmdk", "same.vmdk"}, "--frobnicate");
  expect_failure({"-f", "vdi", "one.vmdk", "same.vmdk"}, "vdi");
  expect_failure({"-F", "vdi", "one.vmdk", "same.vmdk"}, "vdi");
  expect_failure({"--memory", "64k", "one.vmdk", "same.vmdk"}, "--memory");
  write_file(dir_ / "disk.raw", std::string(65536, 'x'));
  expect_failure({"one.vmdk", "disk.raw"}, "-F");
  expect_failure({"disk.raw", "one.vmdk"}, "-f raw");
}

TEST_F(CompareProgram, DoesNotDependOnThreadsOrMemory) {
  for (const std::string threads : {"1", "2", "7"})
    for (const std::string memory : {"1M", "64M"})
      EXPECT_EQ(say({"--threads", threads, "--memory", memory, "one.vmdk", "other.vmdk"})
                    .find("1\nContent mismatch at offset 65536!"),
                0U);
}

TEST_F(CompareProgram, ASignalIsAFailure) {
  build_long_disk(dir_ / "long.raw", 256);
  fs::copy_file(dir_ / "long.raw", dir_ / "copy.raw");
  std::size_t stopped = 0;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    StartedProgram program(dir_.path(), {"compare", "--threads", "1", "-f", "raw", "-F", "raw",
                                         "long.raw", "copy.raw"});
    program.wait_for_handler(number);
    program.signal(number);
    const int status = program.wait();
    if (status == 2) ++stopped;
    EXPECT_TRUE(status == 2 || status == 0) << status;
  }
  EXPECT_GT(stopped, 0U);
}

TEST_F(CompareProgram, HelpShowsExamples) {
  const CommandResult help = run({"--help"});
  EXPECT_EQ(help.exit_status, 0);
  for (const std::string word : {"Examples:", "grainmill compare", "--allow-dir", "-s", "--all"})
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
}

}  // namespace
}  // namespace grainmill::testing
