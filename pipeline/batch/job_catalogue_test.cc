// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_catalogue.h"

#include "engine/base/units.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class JobCatalogueTest : public ::testing::Test {
 protected:
  void SetUp() override { plan_.output.format = "raw"; }

  void add(const std::string& name, std::uint64_t mebibytes) {
    PlannedImage image;
    image.source = (dir_ / (name + ".vmdk")).string();
    image.target = (dir_ / (name + ".raw")).string();
    image.disk_bytes = image.source_bytes = mebibytes * kMiB;
    plan_.images.push_back(image);
  }
  std::unique_ptr<JobCatalogue> open() {
    auto opened = JobCatalogue::open(posix_file_system(), plan_path_, plan_);
    EXPECT_TRUE(IsOk(opened));
    return opened ? std::move(*opened) : nullptr;
  }
  // The name of what was taken; empty for nothing.
  std::string take(JobCatalogue& catalogue, const TakeLimits& limits = {}) {
    auto lease = catalogue.take(limits, now_);
    EXPECT_TRUE(IsOk(lease));
    if (!lease || !*lease) return "";
    leases_.push_back(**lease);
    return fs::path((*lease)->job.image.source).stem();
  }
  void give_back(JobCatalogue& catalogue, const JobVerdict& verdict,
                 std::optional<std::int64_t> retry_at_ms = std::nullopt) {
    EXPECT_TRUE(IsOk(catalogue.give_back(leases_.back(), verdict, retry_at_ms, now_)));
    leases_.pop_back();
  }
  static JobVerdict done() {
    JobVerdict verdict;
    verdict.state = JobState::done;
    verdict.disk_bytes = 10 * kMiB;
    verdict.output_bytes = 3;
    verdict.cpu_ms = 5;
    verdict.root = "ab";
    verdict.warnings = {"\xff odd", "other"};
    return verdict;
  }
  static JobVerdict failed() {
    return {.state = JobState::failed, .error_kind = "io", .reason = "broken", .cpu_ms = 7};
  }
  JobRecord record(const std::string& name) {
    const auto report = read_batch(plan_path_, plan_, now_);
    EXPECT_TRUE(IsOk(report));
    for (const JobRecord& job : report->jobs)
      if (fs::path(job.image.source).stem() == name) return job;
    ADD_FAILURE() << name << " is not in the report";
    return {};
  }

  TempDir dir_;
  std::string plan_path_ = (dir_ / "batch.plan").string();
  BatchPlan plan_;
  std::int64_t now_ = 1'000'000;
  std::vector<Lease> leases_;
};

TEST_F(JobCatalogueTest, GivesTheLargestFirstAndEachOnce) {
  add("small", 1);
  add("large", 30);
  add("middle", 20);
  add("middle2", 20);
  const auto catalogue = open();
  EXPECT_EQ(catalogue->open_jobs().value(), 4U);
  EXPECT_EQ(take(*catalogue), "large");
  EXPECT_EQ(take(*catalogue), "middle");
  EXPECT_EQ(take(*catalogue), "middle2");
  EXPECT_EQ(take(*catalogue), "small");
  EXPECT_EQ(take(*catalogue), "");
  EXPECT_EQ(catalogue->open_jobs().value(), 4U);
  EXPECT_EQ(leases_.front().job.attempt, 1U);
  EXPECT_TRUE(leases_.front().job.owns_target);
}

TEST_F(JobCatalogueTest, KeepsTheVerdictAsItWas) {
  add("a", 1);
  {
    const auto catalogue = open();
    take(*catalogue);
    now_ += 500;
    give_back(*catalogue, done());
    EXPECT_EQ(catalogue->open_jobs().value(), 0U);
  }
  const JobRecord job = record("a");
  EXPECT_EQ(job.state, JobState::done);
  EXPECT_EQ(job.attempts, 1U);
  EXPECT_EQ(job.begun_ms, now_ - 500);
  EXPECT_EQ(job.ended_ms, now_);
  EXPECT_EQ(job.total_cpu_ms, 5U);
  EXPECT_EQ(job.verdict.root, "ab");
  EXPECT_EQ(job.verdict.output_bytes, 3U);
  EXPECT_EQ(job.verdict.warnings, done().warnings);
  EXPECT_EQ(take(*open()), "");
}

TEST_F(JobCatalogueTest, QueuesWhatIsDoneAndGone) {
  for (const char* const name : {"kept", "removed", "failed"}) add(name, 1);
  {
    const auto catalogue = open();
    for (std::string name = take(*catalogue); !name.empty(); name = take(*catalogue)) {
      if (name != "failed") std::ofstream(dir_ / (name + ".raw")) << "output";
      give_back(*catalogue, name == "failed" ? failed() : done());
    }
  }
  fs::remove(dir_ / "removed.raw");
  const auto catalogue = open();
  EXPECT_EQ(catalogue->queue_removed().value(),
            std::vector<std::string>{(dir_ / "removed.raw").string()});
  EXPECT_EQ(record("removed").state, JobState::queued);
  EXPECT_EQ(record("kept").state, JobState::done);
  EXPECT_EQ(take(*catalogue), "removed");
  EXPECT_TRUE(leases_.back().job.owns_target);
  EXPECT_EQ(take(*catalogue), "");
}

TEST_F(JobCatalogueTest, LimitsByFileSystem) {
  add("a", 1);
  const auto catalogue = open();
  const std::uint64_t device = posix_file_system().device_of(dir_.path().string());
  EXPECT_NE(device, 0U);
  EXPECT_EQ(take(*catalogue, {.full_devices = {device}}), "");
  EXPECT_EQ(take(*catalogue, {.full_devices = {device + 1}}), "a");
  EXPECT_EQ(leases_.back().source_device, device);
  EXPECT_EQ(leases_.back().target_device, device);
}

TEST_F(JobCatalogueTest, WaitsBeforeItTriesAgain) {
  add("a", 1);
  const auto catalogue = open();
  take(*catalogue);
  give_back(*catalogue, failed(), now_ + 1000);
  EXPECT_EQ(record("a").state, JobState::queued);
  EXPECT_EQ(record("a").not_before_ms, now_ + 1000);
  EXPECT_EQ(record("a").verdict.reason, "broken");
  EXPECT_EQ(take(*catalogue), "");
  EXPECT_EQ(catalogue->open_jobs().value(), 1U);
  now_ += 1000;
  EXPECT_EQ(take(*catalogue), "a");
  EXPECT_EQ(leases_.back().job.attempt, 2U);
  EXPECT_EQ(leases_.back().job.failures, 1U);
  give_back(*catalogue, failed());
  EXPECT_EQ(record("a").state, JobState::failed);
  EXPECT_EQ(record("a").total_cpu_ms, 14U);
}

TEST_F(JobCatalogueTest, BeginsAgainWhatFailedOnlyIfAsked) {
  add("a", 1);
  {
    const auto catalogue = open();
    take(*catalogue);
    give_back(*catalogue, failed());
  }
  const auto catalogue = open();
  EXPECT_EQ(take(*catalogue), "");
  EXPECT_TRUE(IsOk(catalogue->retry_failed()));
  EXPECT_EQ(record("a").state, JobState::queued);
  EXPECT_EQ(take(*catalogue), "a");
  EXPECT_EQ(leases_.back().job.failures, 0U);
}

TEST_F(JobCatalogueTest, TakesUpWhatAKilledRunLeft) {
  add("a", 1);
  {
    const auto catalogue = open();
    EXPECT_TRUE(IsOk(catalogue->begin_run(now_)));
    take(*catalogue);
    EXPECT_TRUE(record("a").state == JobState::running);
  }
  EXPECT_EQ(record("a").state, JobState::queued);
  // What an earlier attempt left is known to be its.
  std::ofstream(dir_ / "a.raw") << "half";
  const auto catalogue = open();
  EXPECT_EQ(take(*catalogue), "a");
  EXPECT_EQ(leases_.back().job.attempt, 2U);
  EXPECT_TRUE(leases_.back().job.owns_target);
}

TEST_F(JobCatalogueTest, KnowsWhatWasThereBefore) {
  add("a", 1);
  std::ofstream(dir_ / "a.raw") << "someone's";
  const auto catalogue = open();
  take(*catalogue);
  EXPECT_FALSE(leases_.back().job.owns_target);
}

TEST_F(JobCatalogueTest, ReleasesWithoutAFailure) {
  add("a", 1);
  const auto catalogue = open();
  take(*catalogue);
  EXPECT_TRUE(IsOk(catalogue->release(leases_.back(), {.cpu_ms = 30}, now_)));
  EXPECT_EQ(record("a").state, JobState::queued);
  EXPECT_EQ(record("a").total_cpu_ms, 30U);
  EXPECT_EQ(take(*catalogue), "a");
  EXPECT_EQ(leases_.back().job.failures, 0U);
}

TEST_F(JobCatalogueTest, FollowsAPlanThatWasChanged) {
  add("a", 1);
  add("b", 2);
  add("c", 3);
  plan_.images[2].state = PlannedState::skipped;
  plan_.images[2].reason = "not today";
  {
    const auto catalogue = open();
    EXPECT_EQ(take(*catalogue), "b");
    give_back(*catalogue, done());
    EXPECT_EQ(catalogue->report(now_).count(JobState::skipped), 1U);
    EXPECT_EQ(record("c").verdict.reason, "not today");
  }
  plan_.images[2].state = PlannedState::queued;
  const PlannedImage taken_out = plan_.images[1];
  plan_.images.erase(plan_.images.begin());  // a
  add("d", 9);
  {
    const auto catalogue = open();
    EXPECT_EQ(catalogue->report(now_).jobs.size(), 3U);
    EXPECT_EQ(catalogue->report(now_).count(JobState::done), 1U);
    EXPECT_EQ(take(*catalogue), "d");
    EXPECT_EQ(take(*catalogue), "c");
    EXPECT_EQ(take(*catalogue), "");
  }
  plan_.images.push_back(taken_out);
  EXPECT_TRUE(HasError(JobCatalogue::open(posix_file_system(), plan_path_, plan_),
                       ErrorKind::invalid_argument, "two lines for"));
}

TEST_F(JobCatalogueTest, IsForOneRunAtATime) {
  add("a", 1);
  auto catalogue = open();
  EXPECT_TRUE(HasError(JobCatalogue::open(posix_file_system(), plan_path_, plan_), ErrorKind::busy,
                       "another `batch run`"));
  EXPECT_TRUE(read_batch(plan_path_, plan_, now_)->is_running);
  catalogue.reset();
  EXPECT_FALSE(read_batch(plan_path_, plan_, now_)->is_running);
  open();
}

TEST_F(JobCatalogueTest, IsReadWhileItIsWritten) {
  add("a", 10);
  add("b", 10);
  EXPECT_EQ(read_batch(plan_path_, plan_, now_)->count(JobState::queued), 2U);
  const auto catalogue = open();
  EXPECT_TRUE(IsOk(catalogue->begin_run(now_)));
  take(*catalogue);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    now_ += 1000;
    EXPECT_TRUE(IsOk(catalogue->renew(leases_.back(), {i * kMiB, i, false}, now_)));
    EXPECT_TRUE(IsOk(catalogue->add_sample({now_, i * kMiB, i, 1}, 100 - i)));
    const auto report = read_batch(plan_path_, plan_, now_);
    ASSERT_TRUE(IsOk(report));
    EXPECT_TRUE(report->is_running);
    EXPECT_EQ(report->totals.done_disk_bytes, i * kMiB);
    ASSERT_EQ(report->runs.size(), 1U);
    EXPECT_EQ(report->runs[0].samples.size(), i);
    EXPECT_EQ(report->runs[0].peak_rss_bytes, 99U);
  }
  // 1 MiB a second, and 15 of 20 are left.
  const auto report = read_batch(plan_path_, plan_, now_);
  EXPECT_DOUBLE_EQ(report->bytes_per_second.value_or(0), 1.0 * kMiB);
  EXPECT_EQ(report->eta_ms, now_ + 15'000);
  EXPECT_EQ(catalogue->report(now_).eta_ms, now_ + 15'000);
  EXPECT_TRUE(IsOk(catalogue->end_run(now_)));
  EXPECT_FALSE(read_batch(plan_path_, plan_, now_)->eta_ms);
}

TEST_F(JobCatalogueTest, KeepsFewPointsOfALongRun) {
  BatchState state;
  state.begin_run({});
  for (std::int64_t i = 0; i < 100'000; ++i)
    state.add_sample({i * 1000, static_cast<std::uint64_t>(i), 0, 0});
  const std::vector<BatchSample>& samples = state.runs.back().samples;
  EXPECT_LT(samples.size(), 2000U);
  EXPECT_GE(samples.size(), 700U);
  EXPECT_EQ(samples.front().time_ms, 0);
  EXPECT_GE(samples.back().time_ms, 99'800'000);
}

TEST_F(JobCatalogueTest, RefusesWhatIsNotItsOwn) {
  add("a", 1);
  {
    auto database = Database::open(plan_path_ + ".db");
    EXPECT_TRUE(IsOk(database->run_all("CREATE TABLE foreign_one(a)")));
  }
  EXPECT_TRUE(HasError(JobCatalogue::open(posix_file_system(), plan_path_, plan_),
                       ErrorKind::unsupported, "another program"));
  {
    auto database = Database::open(plan_path_ + ".db");
    EXPECT_TRUE(IsOk(database->run_all("PRAGMA user_version = 9")));
  }
  EXPECT_TRUE(HasError(JobCatalogue::open(posix_file_system(), plan_path_, plan_),
                       ErrorKind::unsupported, "version 9"));
}

}  // namespace
}  // namespace grainmill::testing
