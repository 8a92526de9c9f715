// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/convert_job.h"

#include "pipeline/batch/job_json.h"
#include "tests/fakes/outcome.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <sys/stat.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class ConvertJobTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout("8m:r"));
    job_.job.image.source = disk.path().string();
    job_.job.image.target = target_.string();
    job_.job.owns_target = true;
    job_.output.format = "raw";
    job_.threads = 1;
  }

  JobVerdict run(const std::function<void(const JobProgress&)>& on_progress = {}) {
    return convert_job(posix_file_system(), job_, &cancelled_, [&](const JobProgress& progress) {
      if (on_progress) on_progress(progress);
    });
  }
  std::uint64_t inode() const {
    struct stat status{};
    return ::stat(target_.c_str(), &status) == 0 ? status.st_ino : 0;
  }
  void flip_last_byte() const {
    std::fstream file(target_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const int byte = file.get();
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(byte ^ 1));
  }

  TempDir dir_;
  fs::path target_ = dir_ / "new" / "folder" / "disk.raw";
  ConvertJob job_;
  std::atomic<bool> cancelled_ = false;
};

TEST_F(ConvertJobTest, ConvertsAndProves) {
  job_.verify = true;
  bool verified = false;
  const JobVerdict verdict = run([&](const JobProgress& now) { verified |= now.verifying; });
  EXPECT_EQ(verdict.state, JobState::done) << verdict.reason;
  EXPECT_TRUE(verdict.verified);
  EXPECT_TRUE(verified);
  EXPECT_EQ(verdict.disk_bytes, 8 * kMiB);
  EXPECT_EQ(verdict.data_bytes, 8 * kMiB);
  EXPECT_EQ(verdict.worked_bytes, 16 * kMiB);
  EXPECT_EQ(verdict.resumed_bytes, 0U);
  EXPECT_GE(verdict.output_bytes, 8 * kMiB);
  EXPECT_EQ(verdict.root.size(), 32U);
}

TEST_F(ConvertJobTest, DoesNotConvertAgainWhatIsFinished) {
  const JobVerdict first = run();
  const std::uint64_t output = inode();
  job_.job.attempt = 2;
  for (const bool verify : {false, true}) {
    job_.verify = verify;
    const JobVerdict second = run();
    EXPECT_EQ(second.state, JobState::done) << second.reason;
    EXPECT_EQ(second.resumed_bytes, 8 * kMiB);
    EXPECT_EQ(second.verified, verify);
    EXPECT_EQ(second.root, first.root);
    EXPECT_EQ(inode(), output);
  }
}

// As after a kill between the names of an output and of its manifest, after a source that was
// written since, and after a power cut.
TEST_F(ConvertJobTest, ConvertsAgainWhatAnEarlierAttemptDidNotFinish) {
  job_.verify = true;
  const auto expect_converted = [&](const char* when) {
    const std::uint64_t before = inode();
    const JobVerdict verdict = run();
    EXPECT_EQ(verdict.state, JobState::done) << when << ": " << verdict.reason;
    EXPECT_TRUE(verdict.verified) << when;
    EXPECT_EQ(verdict.resumed_bytes, 0U) << when;
    EXPECT_NE(inode(), before) << when;
  };
  expect_converted("first");
  fs::remove(target_.string() + ".manifest");
  expect_converted("no manifest");
  const fs::path source = job_.job.image.source;
  fs::last_write_time(source, fs::last_write_time(source) + std::chrono::seconds(5));
  expect_converted("another source");
  flip_last_byte();
  expect_converted("another output");
}

TEST_F(ConvertJobTest, LeavesAloneWhatIsNotItsOwn) {
  fs::create_directories(target_.parent_path());
  std::ofstream(target_) << "someone's";
  job_.job.owns_target = false;
  const JobVerdict verdict = run();
  EXPECT_EQ(verdict.state, JobState::failed);
  EXPECT_EQ(verdict.error_kind, "invalid_argument");
  EXPECT_FALSE(verdict.may_retry);
  EXPECT_EQ(fs::file_size(target_), 9U);
  job_.allow_replace = true;
  EXPECT_EQ(run().state, JobState::done);
  EXPECT_EQ(fs::file_size(target_), 8 * kMiB);
}

TEST_F(ConvertJobTest, RemovesWhatIsNotWhatWasWritten) {
  job_.verify = true;
  job_.memory_bytes = 2 * kMiB;
  bool flipped = false;
  const JobVerdict verdict = run([&](const JobProgress& now) {
    if (now.verifying && !std::exchange(flipped, true)) flip_last_byte();
  });
  EXPECT_EQ(verdict.state, JobState::failed);
  EXPECT_EQ(verdict.error_kind, "mismatch");
  EXPECT_NE(verdict.reason.find("differs guest offset 0x7f0000 to 0x800000"), std::string::npos)
      << verdict.reason;
  EXPECT_FALSE(verdict.may_retry);
  EXPECT_FALSE(fs::exists(target_));
  EXPECT_FALSE(fs::exists(target_.string() + ".manifest"));
}

TEST_F(ConvertJobTest, IsCancelled) {
  const JobVerdict verdict = run([&](const JobProgress&) { cancelled_.store(true); });
  EXPECT_EQ(verdict.error_kind, kCancelledKind);
  EXPECT_FALSE(fs::exists(target_));
}

TEST(JobJson, KeepsNamesAsTheyAre) {
  ConvertJob job;
  job.job = {
      .id = 7, .image = {.source = "/a\xff\xc3\xa4\n\"\\\x80", .target = "/b"}, .attempt = 3};
  job.job.owns_target = job.job.was_done = true;
  job.output.settings = {"x=\xfe"};
  job.policy.allowed_folders = {"/\xe9"};
  job.durability = Durability::unsynced;
  job.memory_bytes = 5;
  const std::string line = job_line(job);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto parsed = parse_job(line);
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_EQ(parsed->job.id, 7);
  EXPECT_EQ(parsed->job.image.source, job.job.image.source);
  EXPECT_EQ(parsed->job.attempt, 3U);
  EXPECT_TRUE(parsed->job.owns_target);
  EXPECT_TRUE(parsed->job.was_done);
  EXPECT_EQ(parsed->output.settings, job.output.settings);
  EXPECT_EQ(parsed->policy.allowed_folders, job.policy.allowed_folders);
  EXPECT_EQ(parsed->durability, Durability::unsynced);
  EXPECT_EQ(parsed->memory_bytes, 5U);
}

TEST(JobJson, RefusesWhatIsNoLine) {
  for (const char* text : {"", "x", "[]", "{}", "{\"event\": \"progress\"}", "{\"event\": 5}",
                           "{\"event\": \"verdict\", \"done\": 1}", "null"})
    EXPECT_TRUE(HasError(parse_worker_line(text), ErrorKind::invalid_argument)) << text;
  EXPECT_TRUE(HasError(parse_job("{\"job\": 1}"), ErrorKind::invalid_argument, "is no job"));
}

}  // namespace
}  // namespace grainmill::testing
