// SPDX-License-Identifier: Apache-2.0
//
// `grainmill scrub` as its operator, cron and a monitoring system see it: two hundred images with
// all that can become of them, killed on its way. GRAINMILL_KILLS says how often (default: 10).
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;

void flip(const fs::path& file, std::uint64_t offset) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  const int byte = stream.get();
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.put(static_cast<char>(byte ^ 1));
  ASSERT_TRUE(stream.good());
}

void rot(const fs::path& file, std::uint64_t offset) {
  const fs::file_time_type time = fs::last_write_time(file);
  flip(file, offset);
  fs::last_write_time(file, time);
}

class ScrubProgram : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(folder_); }

  BuiltDisk build(const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    return build_disk(folder_, name, parse_layout(layout), options);
  }
  Strings arguments(Strings more = {}) const {
    Strings all = {"scrub", "--catalogue", "c.db", "--threads", "2", "images"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  CommandResult run(const Strings& more = {}) { return run_program(dir_.path(), arguments(more)); }
  nlohmann::json json(int exit_status, Strings more = {}) {
    more.insert(more.end(), {"--output", "json"});
    const CommandResult result = run(more);
    EXPECT_EQ(result.exit_status, exit_status) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
  std::string text_of(const std::string& name) const {
    std::ifstream file(dir_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempDir dir_;
  fs::path folder_ = dir_ / "images";
};

TEST_F(ScrubProgram, ExitStatusesAreForCron) {
  const BuiltDisk disk = build("disk", "256k:r");
  EXPECT_EQ(run().exit_status, 0);
  EXPECT_EQ(run({"--within", "7d"}).exit_status, 0);
  rot(disk.path(), disk.links[0].extents[0].grains[1].data_offset);
  const CommandResult rotten = run();
  EXPECT_EQ(rotten.exit_status, 2);
  EXPECT_EQ(rotten.err, "");
  for (const std::string words :
       {"rotten ", "disk.vmdk: 64 KiB in 1 range ",
        "differs guest offset 0x10000 to 0x20000 (64 KiB)", "1 image: 1 rotten"})
    EXPECT_NE(rotten.out.find(words), std::string::npos) << words << " is not in " << rotten.out;
  fs::remove(disk.path());
  EXPECT_EQ(run().exit_status, 2);
  EXPECT_EQ(run({"--forget-missing"}).exit_status, 0);
  EXPECT_EQ(run({"none"}).exit_status, 1);
  for (const Strings& wrong : {Strings{"--within", "soon"}, Strings{"--budget", "0"},
                               Strings{"--hours", "22"}, Strings{"--hours", "25:00-06:00"}})
    EXPECT_EQ(run(wrong).exit_status, 1) << wrong[1];
}

TEST_F(ScrubProgram, SaysWhenItsTimeWasNotKept) {
  build("disk", "256k:r");
  EXPECT_EQ(run().exit_status, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  // Not now.
  const std::string hours =
      fmt::format("{:02}:00-{:02}:00", (local.tm_hour + 2) % 24, (local.tm_hour + 3) % 24);
  const CommandResult late = run({"--within", "1s", "--hours", hours});
  EXPECT_EQ(late.exit_status, 3);
  EXPECT_NE(late.out.find("NOT KEPT for 1 image"), std::string::npos) << late.out;
  EXPECT_NE(late.out.find("stopped: outside " + hours), std::string::npos) << late.out;
}

TEST_F(ScrubProgram, QuietMeansQuiet) {
  const BuiltDisk disk = build("disk", "256k:r");
  EXPECT_EQ(run({"-q"}).out, "");
  rot(disk.path(), disk.links[0].extents[0].grains[1].data_offset);
  EXPECT_NE(run({"-q"}).out, "");
}

TEST_F(ScrubProgram, ReportsAsJson) {
  const BuiltDisk disk = build("disk", "256k:r");
  json(0);
  rot(disk.path(), disk.links[0].extents[0].grains[1].data_offset);
  const nlohmann::json report = json(2);
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["run"], 2);
  EXPECT_EQ(report["stop"], "done");
  EXPECT_EQ(report["read_bytes"], 256 << 10);
  EXPECT_EQ(report["verdicts"]["rotten"], 1);
  ASSERT_EQ(report["images"].size(), 1U);
  const nlohmann::json& image = report["images"][0];
  EXPECT_EQ(image["path"], (fs::canonical(folder_) / "disk.vmdk").string());
  EXPECT_EQ(image["verdict"], "rotten");
  EXPECT_EQ(image["disk_bytes"], 256 << 10);
  ASSERT_EQ(image["ranges"].size(), 1U);
  EXPECT_EQ(image["ranges"][0]["kind"], "differs");
  EXPECT_EQ(image["ranges"][0]["offset"], 65536);
  EXPECT_EQ(image["ranges"][0]["length"], 65536);
  ASSERT_EQ(image["history"].size(), 2U);
  EXPECT_EQ(image["history"][1]["verdict"], "new");
}

TEST_F(ScrubProgram, ThePageIsWholeAndShowsNamesAsText) {
  const std::string hostile = "<script>alert(1)<&\"'\xff.vmdk";
  const BuiltDisk disk = build("disk", "256k:r");
  fs::rename(disk.path(), folder_ / hostile);
  run();
  rot(folder_ / hostile, disk.links[0].extents[0].grains[1].data_offset);
  EXPECT_EQ(run({"--html", "page.html"}).exit_status, 2);
  const std::string page = text_of("page.html");
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;&amp;&quot;&#39;\xef\xbf\xbd.vmdk"),
            std::string::npos);
  EXPECT_NE(page.find("<rect class=\"differs\" x=\"100\""), std::string::npos);
  for (const std::string elsewhere : {"http:", "https:", "src=", "url("})
    EXPECT_EQ(page.find(elsewhere), std::string::npos) << elsewhere;
}

// A line is a comment, or NAME[{LABELS}] VALUE.
TEST_F(ScrubProgram, MetricsAreInPrometheusFormat) {
  build("disk", "256k:r");
  fs::rename(folder_ / "disk.vmdk", folder_ / "a\"b\\c\nd.vmdk");
  EXPECT_EQ(run({"--metrics", "m.prom"}).exit_status, 0);
  std::istringstream lines(text_of("m.prom"));
  std::map<std::string, std::string> values;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP grainmill_scrub_") || line.starts_with("# TYPE grainmill_scrub_"))
      continue;
    const std::size_t space = line.rfind(' ');
    ASSERT_TRUE(line.starts_with("grainmill_scrub_") && space != std::string::npos) << line;
    values[line.substr(0, space)] = line.substr(space + 1);
  }
  EXPECT_EQ(values["grainmill_scrub_images{verdict=\"new\"}"], "1");
  EXPECT_EQ(values["grainmill_scrub_run_complete"], "1");
  const std::string label = (fs::canonical(folder_) / "a\\\"b\\\\c\\nd.vmdk").string();
  EXPECT_EQ(values["grainmill_scrub_image_bad{image=\"" + label + "\",verdict=\"new\"}"], "0");
}

TEST_F(ScrubProgram, ItsReportsReplaceOnlyOlderOnes) {
  const BuiltDisk disk = build("disk", "256k:r");
  const std::vector<std::byte> before = file_bytes(disk.path());
  for (const std::string option : {"--html", "--metrics"}) {
    for (const std::string& file : {disk.path().string(), std::string("-")}) {
      const CommandResult result = run({option, file});
      EXPECT_EQ(result.exit_status, 1);
      EXPECT_TRUE(result.err.starts_with("grainmill: " + file + ": ")) << result.err;
      EXPECT_EQ(result.out, "");  // before all was read
    }
    for (int i = 0; i < 2; ++i) EXPECT_EQ(run({option, "report"}).exit_status, 0);
    fs::remove(dir_ / "report");
  }
  EXPECT_TRUE(file_bytes(disk.path()) == before);
  EXPECT_FALSE(fs::exists(dir_ / "-"));
}

TEST_F(ScrubProgram, ASignalStopsItAndLosesNothing) {
  build("disk", "64m:r");
  StartedProgram program(dir_.path(), arguments({"--budget", "20M/s"}));
  program.wait_for_handler(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 1);
  const nlohmann::json report = json(0);
  EXPECT_EQ(report["run"], 1);
  EXPECT_EQ(report["resumed"], true);
  EXPECT_EQ(report["verdicts"]["new"], 1);
}

// 200 images, of which 160 are single ones and the others snapshots and their bases.
class ScrubMany : public ScrubProgram {
 protected:
  void SetUp() override {
    ScrubProgram::SetUp();
    for (int i = 0; i < 160; ++i) {
      const LinkOptions kinds[] = {{},
                                   {.kind = Kind::monolithic_flat},
                                   {.kind = Kind::two_gb_sparse},
                                   {.kind = Kind::stream_optimized}};
      const bool in_folder = i % 2 == 0;
      fs::create_directories(folder_ / "deep");
      disks_.push_back(build_disk(in_folder ? folder_ : folder_ / "deep", fmt::format("d{:03}", i),
                                  parse_layout("192k:r 64k:- 128k:A"), kinds[i % 4]));
    }
    for (int i = 0; i < 20; ++i)
      chains_.push_back(build(fmt::format("c{:02}", i), "128k:A 64k:B | 64k:^ 64k:C 64k:^"));
    ASSERT_EQ(json(0)["verdicts"]["new"], 200);
    break_them();
  }

  // 10 rot, 10 are written, 5 truncated, 5 are gone, 3 lose their parents.
  void break_them() {
    for (std::size_t i = 0; i < 10; ++i) {
      const BuiltDisk& rotten = disks_[i];
      const BuiltExtent& extent = rotten.links[0].extents[0];
      const std::uint64_t place =
          extent.grains.empty() ? extent.file_offset + 70'000
                                : extent.grains[1].data_offset + extent.grains[1].stored_bytes / 2;
      rot(extent.path, place);
      expect(rotten, "rotten");
      write(disks_[20 + i]);
      if (i >= 5) continue;
      const fs::path file = disks_[40 + i].links[0].extents[0].path;
      fs::resize_file(file, fs::file_size(file) / 2);
      expect(disks_[40 + i], "damaged");
      for (const fs::path& part : disks_[60 + i].files()) fs::remove(part);
      expect(disks_[60 + i], "missing");
    }
    for (std::size_t i = 0; i < 3; ++i) {
      const BuiltDisk& chain = chains_[i];
      fs::rename(chain.links[0].path, dir_ / chain.links[0].path.filename());
      expected_[chain.links[0].path] = "missing";
      expected_[chain.links[1].path] = "damaged";
    }
  }
  // What a writer leaves: other bytes, another mtime. Compressed grains are given other tables of
  // the same disk by building it anew.
  void write(const BuiltDisk& disk) {
    const BuiltExtent& extent = disk.links[0].extents[0];
    const std::string name = disk.path().stem();
    const fs::path folder = disk.path().parent_path();
    const fs::file_time_type time = fs::last_write_time(extent.path);
    const std::size_t number = std::stoul(name.substr(1));
    if (number % 4 == 3) {
      build_disk(folder, name, parse_layout("192k:A 64k:- 128k:A"),
                 {.kind = Kind::stream_optimized});
    } else {
      flip(extent.path,
           extent.grains.empty() ? extent.file_offset + 100 : extent.grains[0].data_offset + 100);
    }
    fs::last_write_time(extent.path, time + std::chrono::seconds(10));
    expect(disk, "changed");
  }
  void expect(const BuiltDisk& disk, const std::string& verdict) {
    expected_[disk.path()] = verdict;
  }

  void expect_right(const nlohmann::json& report) {
    ASSERT_TRUE(report.is_object());
    ASSERT_EQ(report["images"].size(), 200U);
    for (const nlohmann::json& image : report["images"]) {
      const auto found = expected_.find(image["path"].get<std::string>());
      const std::string expected = found == expected_.end() ? "sound" : found->second;
      EXPECT_EQ(image["verdict"], expected) << image["path"] << ": " << image["detail"];
      EXPECT_EQ(image["of_this_run"], true) << image["path"];
      if (expected == "rotten") {
        ASSERT_EQ(image["ranges"].size(), 1U) << image["path"];
        EXPECT_EQ(image["ranges"][0]["offset"], 65536);
        EXPECT_EQ(image["ranges"][0]["length"], 65536);
      }
    }
    for (const auto& [verdict, count] : std::map<std::string, int>{
             {"rotten", 10}, {"changed", 10}, {"damaged", 8}, {"missing", 8}, {"sound", 164}})
      EXPECT_EQ(report["verdicts"][verdict], count) << verdict;
  }

  // What must not depend on how often it was killed: all but times.
  static nlohmann::json timeless(nlohmann::json report) {
    for (const char* name : {"begun", "ended", "all_read_since", "resumed"}) report.erase(name);
    for (nlohmann::json& image : report["images"])
      for (const char* name : {"date", "first_seen", "read_since", "proven_since", "history"})
        image.erase(name);
    return report;
  }

  std::vector<BuiltDisk> disks_;
  std::vector<BuiltDisk> chains_;
  std::map<std::string, std::string> expected_;  // by path; all others are sound
};

TEST_F(ScrubMany, EachVerdictIsRight) { expect_right(json(2)); }

TEST_F(ScrubMany, KilledOnItsWayItEndsWithTheSameReport) {
  const char* const text = std::getenv("GRAINMILL_KILLS");
  const std::uint64_t kills = text == nullptr ? 10 : std::stoull(text);
  fs::copy_file(dir_ / "c.db", dir_ / "before.db");
  const Clock::time_point start = Clock::now();
  const nlohmann::json whole = json(2);
  const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  expect_right(whole);

  fs::copy_file(dir_ / "before.db", dir_ / "c.db", fs::copy_options::overwrite_existing);
  for (const char* rest : {"c.db-wal", "c.db-shm", "c.db-journal"}) fs::remove(dir_ / rest);
  // Slowly enough to be killed on its way each time; what a run came to is not done again.
  const Strings slow = arguments({"--budget", "4M/s"});
  const std::uint64_t step = 16'000'000 / std::max<std::uint64_t>(kills, 1);
  std::uint64_t on_its_way = 0;
  for (std::uint64_t i = 0; i < kills; ++i) {
    StartedProgram program(dir_.path(), slow);
    const std::uint64_t moment = mix(i) % (step + static_cast<std::uint64_t>(duration.count()));
    std::this_thread::sleep_for(std::chrono::microseconds(moment));
    program.signal(SIGKILL);
    on_its_way += program.wait() == 128 + SIGKILL ? 1 : 0;
  }
  EXPECT_GE(on_its_way, kills / 2);
  const nlohmann::json report = json(2);
  expect_right(report);
  EXPECT_EQ(timeless(report), timeless(whole));
  RecordProperty("on_its_way", std::to_string(on_its_way));
}

}  // namespace
}  // namespace grainmill::testing
