// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/runner.h"

#include "engine/base/sanitizers.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

std::string fake_worker() {
  const fs::path root = fs::path(std::getenv("TEST_SRCDIR")) / std::getenv("TEST_WORKSPACE");
  return (root / "tests/fakes/fake_worker").string();
}

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.jobs = 4;
    options_.threads = 4;
    options_.worker = {fake_worker()};
    options_.first_retry = milliseconds(10);
    options_.tick = milliseconds(20);
    options_.cancelled = &cancelled_;
  }

  // What a fake worker does is the first word of its source's name.
  void add(const std::string& name) {
    PlannedImage image;
    image.source = (dir_ / (name + ".vmdk")).string();
    image.target = (dir_ / (name + ".raw")).string();
    image.disk_bytes = image.source_bytes = 1 << 20;
    plan_.images.push_back(image);
  }
  BatchReport run() {
    const auto catalogue =
        JobCatalogue::open(posix_file_system(), (dir_ / "batch.plan").string(), plan_);
    EXPECT_TRUE(IsOk(catalogue));
    auto report = run_jobs(**catalogue, plan_, options_);
    EXPECT_TRUE(IsOk(report));
    return report ? *report : BatchReport();
  }
  static const JobRecord& job(const BatchReport& report, const std::string& name) {
    for (const JobRecord& record : report.jobs)
      if (fs::path(record.image.source).stem() == name) return record;
    throw std::invalid_argument(name);
  }
  // The lines that the workers of this name left: threads, memory, attempt.
  std::vector<std::string> log(const std::string& name) const {
    std::ifstream file(dir_ / (name + ".raw.log"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  void expect_failed(const BatchReport& report, const std::string& name, const std::string& kind,
                     const std::string& reason, std::size_t attempts = 1) {
    const JobRecord& record = job(report, name);
    EXPECT_EQ(record.state, JobState::failed) << name;
    EXPECT_EQ(record.verdict.error_kind, kind) << name;
    EXPECT_NE(record.verdict.reason.find(reason), std::string::npos)
        << name << ": " << record.verdict.reason;
    EXPECT_EQ(log(name).size(), attempts) << name;
    EXPECT_TRUE(record.ended_ms) << name;
  }

  TempDir dir_;
  BatchPlan plan_;
  BatchOptions options_;
  std::atomic<bool> cancelled_ = false;
};

TEST_F(RunnerTest, DoesAllJobs) {
  for (int i = 0; i < 20; ++i) add("ok " + std::to_string(i));
  std::uint64_t ticks = 0;
  options_.on_tick = [&](const BatchReport& report) {
    ++ticks;
    EXPECT_TRUE(report.is_running);
    EXPECT_EQ(report.jobs.size(), 20U);
    EXPECT_LE(report.count(JobState::running), 4U);
  };
  const BatchReport report = run();
  EXPECT_EQ(report.count(JobState::done), 20U);
  EXPECT_FALSE(report.is_running);
  EXPECT_GT(ticks, 0U);
  ASSERT_EQ(report.runs.size(), 1U);
  EXPECT_TRUE(report.runs[0].ended_ms);
  EXPECT_FALSE(report.runs[0].samples.empty());
  EXPECT_GT(report.runs[0].peak_rss_bytes, 1'000'000U);
  EXPECT_GT(job(report, "ok 3").verdict.peak_rss_bytes, 1'000'000U);
}

TEST_F(RunnerTest, OneThatFailsStopsNoOther) {
  const std::vector<std::string> names = {"ok",      "crash",  "abort",  "garbage",
                                          "huge",    "errors", "silent", "exit",
                                          "corrupt", "lies",   "slow",   "ioalways"};
  for (const std::string& name : names) add(name);
  options_.retries = 1;
  options_.memory_bytes = std::uint64_t{256} << 20;
  const BatchReport report = run();
  for (const std::string good : {"ok", "garbage", "errors", "slow"})
    EXPECT_EQ(job(report, good).state, JobState::done)
        << good << ": " << job(report, good).verdict.reason;
  expect_failed(report, "crash", "crash", "SIGSEGV");
  expect_failed(report, "abort", "crash", "SIGABRT; it said: assertion failed: x == y");
  expect_failed(report, "silent", "crash", "without a verdict, with exit status 0");
  expect_failed(report, "huge", "crash", "it printed: xxx");
  expect_failed(report, "exit", "crash", "exit status 9");
  expect_failed(report, "corrupt", "corrupt", "disk: offset 0x200: is bad");
  expect_failed(report, "lies", "crash", "SIGSEGV");
  expect_failed(report, "ioalways", "io", "is bad", 2);
}

TEST_F(RunnerTest, MemoryOutIsTheJobsOwn) {
  if (kHasShadowMemory) GTEST_SKIP() << "a sanitizer has terabytes of address space for itself";
  add("allocate");
  add("ok");
  options_.retries = 1;
  const BatchReport report = run();
  expect_failed(report, "allocate", "io", "is bad", 2);
  EXPECT_LT(job(report, "allocate").verdict.peak_rss_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(job(report, "ok").state, JobState::done);
}

TEST_F(RunnerTest, TriesAgainWhatMayPass) {
  add("io");
  add("killed");
  options_.retries = 2;
  const BatchReport report = run();
  EXPECT_EQ(job(report, "io").state, JobState::done);
  EXPECT_EQ(job(report, "io").attempts, 3U);
  expect_failed(report, "killed", "crash", "SIGKILL", 3);
}

TEST_F(RunnerTest, FailsAJobWhoseProcessCannotBeStarted) {
  add("ok");
  options_.worker = {"/nonexistent/worker"};
  const BatchReport report = run();
  EXPECT_EQ(job(report, "ok").state, JobState::failed);
  EXPECT_EQ(job(report, "ok").verdict.error_kind, "not_found");
}

TEST_F(RunnerTest, SharesThreadsAmongThoseThatAreLeft) {
  add("slow 1");
  options_.threads = 6;
  run();
  ASSERT_EQ(log("slow 1").size(), 1U);
  EXPECT_EQ(log("slow 1")[0].substr(0, 2), "6 ");
  for (int i = 2; i < 8; ++i) add("slow " + std::to_string(i));
  run();
  EXPECT_EQ(log("slow 2")[0].substr(0, 2), "1 ");
}

TEST_F(RunnerTest, StopsCleanlyWhenItIsCancelled) {
  for (const std::string name : {"hang 1", "hang 2", "deaf", "ok", "ok 2"}) add(name);
  options_.jobs = 3;
  options_.patience = milliseconds(200);
  options_.on_tick = [&](const BatchReport& report) {
    if (report.count(JobState::running) == 3 && report.totals.done_disk_bytes > 0)
      cancelled_.store(true);
  };
  const BatchReport report = run();
  EXPECT_EQ(report.count(JobState::queued), 5U);
  EXPECT_EQ(report.count(JobState::running), 0U);
  EXPECT_TRUE(report.runs[0].ended_ms);
}

TEST_F(RunnerTest, GoesOnWhereItWasStopped) {
  add("ok");
  add("slow");
  run();
  add("ok 2");
  EXPECT_EQ(run().count(JobState::done), 3U);
  EXPECT_EQ(log("ok").size(), 1U);
  EXPECT_EQ(log("ok 2").size(), 1U);
}

TEST_F(RunnerTest, KeepsTheLimitOfAFileSystem) {
  for (int i = 0; i < 6; ++i) add("slow " + std::to_string(i));
  options_.per_mount = 2;
  std::uint64_t most = 0;
  options_.on_tick = [&](const BatchReport& report) {
    most = std::max(most, report.count(JobState::running));
  };
  EXPECT_EQ(run().count(JobState::done), 6U);
  EXPECT_EQ(most, 2U);
}

TEST_F(RunnerTest, RefusesTooLittleMemory) {
  add("ok");
  options_.memory_bytes = std::uint64_t{64} << 20;
  const auto catalogue =
      JobCatalogue::open(posix_file_system(), (dir_ / "batch.plan").string(), plan_);
  EXPECT_TRUE(HasError(run_jobs(**catalogue, plan_, options_), ErrorKind::invalid_argument,
                       "raise --memory, or lower --jobs"));
}

TEST_F(RunnerTest, SharesMemory) {
  const std::uint64_t gibibyte = std::uint64_t{1} << 30;
  EXPECT_EQ(memory_of_each(gibibyte, 2).value(), std::uint64_t{64} << 20);
  const std::uint64_t each = memory_of_each(gibibyte, 16).value();
  EXPECT_LT(each, std::uint64_t{64} << 20);
  EXPECT_GE(each, std::uint64_t{8} << 20);
  EXPECT_FALSE(memory_of_each(gibibyte, 64));
}

}  // namespace
}  // namespace grainmill::testing
