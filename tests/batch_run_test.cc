// SPDX-License-Identifier: Apache-2.0
//
// `grainmill batch run` as its operator sees it: images of many kinds, some of them broken, and
// runs that are killed on their way. GRAINMILL_KILLS says how often (default: 10).
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/plan.h"
#include "tests/fakes/outcome.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

// A run of the program, all its processes in a group of their own.
class StartedGroup {
 public:
  explicit StartedGroup(Strings arguments) {
    arguments.insert(arguments.begin(), program_path().string());
    std::vector<char*> argv;
    for (std::string& text : arguments) argv.push_back(text.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::setpgid(0, 0);
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere, stream);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  // The first process alone: the others must go with it.
  int kill_first() {
    return end([this] { ::kill(pid_, SIGKILL); });
  }
  int kill_all() {
    return end([this] { ::kill(-pid_, SIGKILL); });
  }

 private:
  template <typename Kill>
  int end(const Kill& kill) {
    kill();
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  pid_t pid_ = -1;
};

class BatchRun : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_);
    plan_.output.format = "qcow2";
  }

  PlannedImage& add(const fs::path& source) {
    PlannedImage image;
    image.source = source.string();
    image.target = (dir_ / "out" / "deep" / source.stem()).string() + ".qcow2";
    image.chain = {image.source};
    image.disk_bytes = 1 << 20;
    image.source_bytes = fs::exists(source) ? fs::file_size(source) : 0;
    plan_.images.push_back(image);
    return plan_.images.back();
  }
  PlannedImage& add(const std::string& name, const std::string& layout,
                    const LinkOptions& options = {}) {
    const BuiltDisk disk = build_disk(folder_, name, parse_layout(layout), options);
    PlannedImage& image = add(disk.path());
    image.source_bytes = 0;
    for (const fs::path& file : disk.files()) image.source_bytes += fs::file_size(file);
    image.disk_bytes = parse_layout(layout).size_bytes();
    return image;
  }

  void write() { ASSERT_TRUE(IsOk(write_plan(posix_file_system(), plan_path_, plan_))); }
  Strings arguments(Strings more = {}) const {
    Strings all = {"batch", "run", plan_path_, "--jobs", "2", "--threads", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  CommandResult run(const Strings& more = {}) { return run_program(dir_.path(), arguments(more)); }
  BatchReport report() {
    auto found = read_batch(plan_path_, plan_, 0);
    EXPECT_TRUE(IsOk(found));
    return found ? *found : BatchReport();
  }
  JobRecord job(const std::string& name) {
    for (const JobRecord& record : report().jobs)
      if (fs::path(record.image.source).filename() == name) return record;
    ADD_FAILURE() << name;
    return {};
  }
  void expect_failed(const std::string& name, const std::string& kind, const std::string& reason) {
    const JobRecord record = job(name);
    EXPECT_EQ(record.state, JobState::failed) << name;
    EXPECT_EQ(record.verdict.error_kind, kind) << name << ": " << record.verdict.reason;
    EXPECT_NE(record.verdict.reason.find(reason), std::string::npos)
        << name << ": " << record.verdict.reason;
  }
  // Someone else reads both.
  static void expect_same_contents(const PlannedImage& image) {
    if (!has_qemu_img()) return;
    const CommandResult compared = run_command(
        {"qemu-img", "compare", "-f", image.source_format.empty() ? "vmdk" : image.source_format,
         "-F", "qcow2", image.source, image.target});
    EXPECT_EQ(compared.exit_status, 0) << image.source << ": " << compared.out << compared.err;
  }

  TempDir dir_;
  fs::path folder_ = dir_ / "images";
  std::string plan_path_ = (dir_ / "batch.plan").string();
  BatchPlan plan_;
};

TEST_F(BatchRun, ConvertsWhatCanBeAndTellsWhatCannot) {
  add("sparse", "1m:A 1m:- 512k:r");
  add("split", "1m:A 1m:- 512k:r", {.kind = Kind::two_gb_sparse, .split_size_bytes = 1 << 20});
  add("flat", "1m:A 1m:- 512k:r", {.kind = Kind::monolithic_flat});
  add("stream", "1m:A 1m:- 512k:r", {.kind = Kind::stream_optimized});
  add("snapshot", "1m:A 1m:- 512k:r | 1m:^ 1m:B 512k:^");
  add("cowd", "1m:A 1m:- 512k:r", {.kind = Kind::vmfs_sparse});
  std::ofstream(folder_ / "bare.img") << std::string(1 << 20, 'x');
  add(folder_ / "bare.img").source_format = "raw";
  // Broken ones.
  fs::resize_file(add("truncated", "1m:r").source, 700'000);
  add("orphan", "1m:A | 1m:^");
  fs::remove(folder_ / "orphan.vmdk");
  add(folder_ / "gone.vmdk");
  std::ofstream(folder_ / "text.vmdk") << "not a disk at all";
  add(folder_ / "text.vmdk");
  const PlannedImage taken = add("taken", "1m:A");
  fs::create_directories(fs::path(taken.target).parent_path());
  std::ofstream(taken.target) << "someone's";
  PlannedImage& skipped = add("skipped", "1m:A");
  skipped.state = PlannedState::skipped;
  skipped.reason = "not of a kind that is known";
  write();

  const CommandResult result = run({"--verify"});
  EXPECT_EQ(result.exit_status, 2) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_NE(result.out.find("13 images: 7 done, 5 failed, 1 skipped"), std::string::npos)
      << result.out;
  for (const char* name : {"sparse.vmdk", "split.vmdk", "flat.vmdk", "stream.vmdk",
                           "snapshot-000001.vmdk", "cowd.vmdk", "bare.img"}) {
    const JobRecord record = job(name);
    EXPECT_EQ(record.state, JobState::done) << name << ": " << record.verdict.reason;
    EXPECT_TRUE(record.verdict.verified) << name;
    EXPECT_EQ(record.attempts, 1U) << name;
    EXPECT_EQ(record.verdict.root.size(), 32U) << name;
    EXPECT_GT(record.verdict.output_bytes, 100'000U) << name;
    EXPECT_TRUE(fs::exists(record.image.target + ".manifest")) << name;
    expect_same_contents(record.image);
  }
  expect_failed("truncated.vmdk", "corrupt", "truncated.vmdk: offset ");
  expect_failed("orphan-000001.vmdk", "not_found", "orphan.vmdk");
  expect_failed("gone.vmdk", "not_found", "gone.vmdk: cannot open");
  expect_failed("text.vmdk", "unsupported", "text.vmdk");
  expect_failed("taken.vmdk", "invalid_argument", "exists already");
  EXPECT_EQ(fs::file_size(taken.target), 9U);
  EXPECT_EQ(job("skipped.vmdk").verdict.reason, "not of a kind that is known");

  // There is nothing left to be done, until what failed is put right.
  EXPECT_EQ(run().exit_status, 2);
  fs::remove(taken.target);
  EXPECT_EQ(run({"--retry-failed"}).exit_status, 2);
  EXPECT_EQ(job("taken.vmdk").state, JobState::done);
  EXPECT_EQ(job("taken.vmdk").attempts, 2U);
  EXPECT_EQ(job("sparse.vmdk").attempts, 1U);
}

TEST_F(BatchRun, ReplacesOnlyIfThePlanSaysSo) {
  const PlannedImage image = add("disk", "1m:A");
  fs::create_directories(fs::path(image.target).parent_path());
  std::ofstream(image.target) << "someone's";
  plan_.allow_replace = true;
  write();
  EXPECT_EQ(run({"-q"}).exit_status, 0);
  expect_same_contents(image);
}

// What has become of an older plan says nothing of a new one: other settings, sources written
// since.
TEST_F(BatchRun, APlanThatReplacesAnotherIsBegunAnew) {
  add("disk", "1m:A 1m:-");
  const Strings plan = {"batch", "plan", folder_, "--to", dir_.path(), "-O", "qcow2", "-q"};
  const fs::path target = dir_ / "disk.qcow2";
  EXPECT_EQ(run_program(dir_.path(), plan).exit_status, 0);
  EXPECT_EQ(run({"-q"}).exit_status, 0);
  const std::uintmax_t plain = fs::file_size(target);
  Strings again = plan;
  again.insert(again.end(), {"--force", "-c"});
  {
    const auto busy = JobCatalogue::open(posix_file_system(), plan_path_, plan_);
    ASSERT_TRUE(IsOk(busy));
    const CommandResult refused = run_program(dir_.path(), again);
    EXPECT_EQ(refused.exit_status, 1);
    EXPECT_NE(refused.err.find("another `batch run`"), std::string::npos) << refused.err;
  }
  const CommandResult planned = run_program(dir_.path(), again);
  EXPECT_EQ(planned.exit_status, 0) << planned.err;
  EXPECT_EQ(run({"-q"}).exit_status, 0);
  EXPECT_LT(fs::file_size(target), plain);
}

TEST_F(BatchRun, VerifiesWhatWasDoneWithoutIt) {
  const PlannedImage first = add("first", "1m:A");
  const PlannedImage second = add("second", "1m:A 512k:r");
  write();
  EXPECT_EQ(run({"-q"}).exit_status, 0);
  EXPECT_FALSE(job("first.vmdk").verdict.verified);
  fs::rename(second.source, second.source + ".moved");  // as after a migration
  const fs::file_time_type time = fs::last_write_time(first.target);
  EXPECT_EQ(run({"-q", "--verify"}).exit_status, 0);
  EXPECT_TRUE(job("first.vmdk").verdict.verified);
  EXPECT_TRUE(job("second.vmdk").verdict.verified);
  EXPECT_EQ(fs::last_write_time(first.target), time) << "written again";
  EXPECT_EQ(run({"-q", "--verify"}).exit_status, 0);
  EXPECT_EQ(job("first.vmdk").attempts, 2U) << "what is verified stays so";
}

// A machine may have been started on it.
TEST_F(BatchRun, NeverReplacesWhatWasDone) {
  const PlannedImage disk = add("disk", "1m:A 512k:r");
  plan_.allow_replace = true;  // of what was there before
  write();
  EXPECT_EQ(run({"-q"}).exit_status, 0);
  std::fstream(disk.target, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(65536)  // where its data begins
      .write("written by a guest", 18);
  const fs::file_time_type time = fs::last_write_time(disk.target);
  for (const Strings& more :
       {Strings{"-q", "--verify"}, Strings{"-q", "--verify", "--retry-failed"}}) {
    EXPECT_EQ(run(more).exit_status, 2);
    expect_failed("disk.vmdk", "mismatch", "65536 of 1572864 bytes; differs guest offset 0x0 to ");
    expect_failed("disk.vmdk", "mismatch", "move it away");
    EXPECT_EQ(fs::last_write_time(disk.target), time) << "written again";
  }
  fs::remove(disk.target);
  EXPECT_EQ(run({"-q", "--verify", "--retry-failed"}).exit_status, 0);
  expect_same_contents(disk);
}

TEST_F(BatchRun, ReadsAChainWhoseContentIdsDifferIfThePlanSaysSo) {
  add("disk", "1m:A | 512k:B 512k:^");
  const fs::path base = folder_ / "disk.vmdk";
  const std::vector<std::byte> bytes = file_bytes(base);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  patch_file(base, text.find("\nCID=") + 5, "0badc1d0");
  write();
  EXPECT_EQ(run({"-q"}).exit_status, 2);
  expect_failed("disk-000001.vmdk", "mismatch", "expects content ID");
  plan_.images[0].ignore_content_ids = true;
  write();
  EXPECT_EQ(run({"-q", "--retry-failed"}).exit_status, 0);
  EXPECT_EQ(job("disk-000001.vmdk").state, JobState::done);
}

TEST_F(BatchRun, CountsADiskOnceThoughItIsReadBack) {
  add("disk", "3m:A");
  write();
  EXPECT_EQ(run({"--verify"}).exit_status, 0);
  const BatchReport ended = report();
  ASSERT_EQ(ended.runs.size(), 1U);
  ASSERT_FALSE(ended.runs[0].samples.empty());
  EXPECT_EQ(ended.runs[0].samples.back().guest_bytes, 3U << 20);
  EXPECT_EQ(ended.runs[0].samples.back().data_bytes, 6U << 20);
}

TEST_F(BatchRun, MakesAgainWhatWasRemoved) {
  const PlannedImage kept = add("kept", "1m:A");
  const PlannedImage removed = add("removed", "1m:A");
  write();
  EXPECT_EQ(run().exit_status, 0);
  fs::remove(removed.target);
  const CommandResult result = run();
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.err,
            "grainmill: warning: " + removed.target + ": was done and is gone: it is made again\n");
  expect_same_contents(removed);
  EXPECT_EQ(job("kept.vmdk").attempts, 1U);
  EXPECT_EQ(job("removed.vmdk").attempts, 2U);
}

TEST_F(BatchRun, IsForOneAtATime) {
  add("disk", "1m:A");
  write();
  auto catalogue = JobCatalogue::open(posix_file_system(), plan_path_, plan_);
  ASSERT_TRUE(IsOk(catalogue));
  const CommandResult second = run();
  EXPECT_EQ(second.exit_status, 1);
  EXPECT_NE(second.err.find("another `batch run`"), std::string::npos) << second.err;
  EXPECT_EQ(run_program(dir_.path(), {"batch", "status", plan_path_}).exit_status, 3);
  catalogue->reset();
  EXPECT_EQ(run().exit_status, 0);
  const CommandResult status = run_program(dir_.path(), {"batch", "status", "--watch", plan_path_});
  EXPECT_EQ(status.exit_status, 0);
  EXPECT_NE(status.out.find("1 done"), std::string::npos) << status.out;
}

TEST_F(BatchRun, SaysWhatItCannotDo) {
  EXPECT_EQ(run().exit_status, 1);
  for (const std::string verb : {"run", "status", "report"})
    for (const fs::path& plan : {fs::path("none.plan"), folder_}) {
      const CommandResult none = run_program(dir_.path(), {"batch", verb, plan.string()});
      EXPECT_EQ(none.exit_status, 1);
      EXPECT_NE(none.err.find("there is no plan"), std::string::npos) << none.err;
      EXPECT_NE(none.err.find("grainmill batch plan"), std::string::npos) << none.err;
    }
  add("disk", "1m:A");
  write();
  const CommandResult small = run({"--memory", "16M"});
  EXPECT_EQ(small.exit_status, 1);
  EXPECT_NE(small.err.find("raise --memory"), std::string::npos) << small.err;
}

TEST_F(BatchRun, KnowsAPlanByItsFolder) {
  add("disk", "1m:A");
  write();
  EXPECT_EQ(run_program(dir_.path(), {"batch", "run", dir_.path().string()}).exit_status, 0);
  const CommandResult status = run_program(dir_.path(), {"batch", "status", "."});
  EXPECT_EQ(status.exit_status, 0);
  EXPECT_NE(status.out.find("1 done"), std::string::npos) << status.out;
}

TEST_F(BatchRun, TriesItsReportsBeforeItBegins) {
  add("disk", "1m:A");
  write();
  for (const std::string option : {"--html", "--metrics-file"}) {
    const CommandResult result = run({option, "no/such/folder/report"});
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find("no/such/folder"), std::string::npos) << result.err;
    EXPECT_EQ(job("disk.vmdk").state, JobState::queued);
  }
  EXPECT_EQ(run({"--html", "report.html"}).exit_status, 0);
  EXPECT_TRUE(fs::exists(dir_ / "report.html"));
}

TEST_F(BatchRun, ItsReportsReplaceOnlyOlderOnes) {
  add("disk", "1m:A");
  write();
  ASSERT_EQ(run().exit_status, 0);
  const std::string disk = plan_.images.front().source;
  std::ofstream(dir_ / "index.html") << "<!DOCTYPE html>\n<html lang=\"en\">\n<p>mine";
  std::ofstream(dir_ / "other.prom") << "# HELP node_load1 1m load average.\n";
  for (const std::string verb : {"run", "report"})
    for (const std::string option : {"--html", "--metrics-file"})
      for (const std::string& file :
           {disk, plan_path_, plan_path_ + ".db", (dir_ / "index.html").string(),
            (dir_ / "other.prom").string()}) {
        const std::vector<std::byte> before = file_bytes(file);
        const CommandResult result =
            run_program(dir_.path(), {"batch", verb, plan_path_, option, file});
        EXPECT_EQ(result.exit_status, 1) << file;
        for (const std::string& words : {file + ": exists already, and is no ",
                                         std::string("name another file, or remove this one")})
          EXPECT_NE(result.err.find(words), std::string::npos) << result.err;
        EXPECT_TRUE(file.ends_with(".db") || file_bytes(file) == before) << file;
      }
}

TEST_F(BatchRun, ItsReportsReplaceOlderOnesAndEmptyFiles) {
  add("disk", "1m:A");
  write();
  std::ofstream(dir_ / "page.html").flush();
  std::ofstream(dir_ / "batch.prom").flush();
  for (const std::string verb : {"run", "run", "report", "report"})
    EXPECT_EQ(run_program(dir_.path(), {"batch", verb, plan_path_, "--html", "page.html",
                                        "--metrics-file", "batch.prom"})
                  .exit_status,
              0);
  EXPECT_NE(fs::file_size(dir_ / "page.html"), 0U);
  // The one is no older one of the other.
  EXPECT_EQ(run({"--html", "batch.prom"}).exit_status, 1);
  EXPECT_EQ(run({"--metrics-file", "page.html"}).exit_status, 1);
}

TEST_F(BatchRun, ItsReportsGoToNoStream) {
  add("disk", "1m:A");
  write();
  for (const std::string name : {"-", "/dev/stdout", "/dev/fd/1"}) {
    const CommandResult result = run({"--html", name});
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find("./- is one called -"), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(dir_ / "-"));
  }
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  const CommandResult fifo = run({"--html", "fifo"});
  EXPECT_EQ(fifo.exit_status, 1);
  EXPECT_NE(fifo.err.find("is a FIFO"), std::string::npos) << fifo.err;
  EXPECT_EQ(run({"--html", "./-"}).exit_status, 0);
  EXPECT_TRUE(fs::exists(dir_ / "-"));
}

TEST_F(BatchRun, SaysHowAFailedImageIsBegunAgain) {
  add(folder_ / "gone.vmdk");
  write();
  const CommandResult result = run();
  EXPECT_EQ(result.exit_status, 2);
  const std::string again = "`grainmill batch run --retry-failed " + plan_path_ + "`";
  EXPECT_NE(result.out.find(again), std::string::npos) << result.out;
}

// Ten images that take their time.
class BatchKill : public BatchRun {
 protected:
  void SetUp() override {
    BatchRun::SetUp();
    plan_.output.compress = true;
    build_long_disk(folder_ / "long0.raw", 48);
    for (int i = 1; i < 4; ++i)
      build_long_disk(folder_ / ("long" + std::to_string(i) + ".raw"), 16);
    for (int i = 0; i < 4; ++i) {
      PlannedImage& image = add(folder_ / ("long" + std::to_string(i) + ".raw"));
      image.source_format = "raw";
      image.disk_bytes = image.source_bytes;
    }
    for (int i = 0; i < 4; ++i) add("disk" + std::to_string(i), "8m:A 1m:- 2m:r");
    add(folder_ / "gone.vmdk");
    fs::resize_file(add("truncated", "1m:r").source, 700'000);
    write();
  }

  // Which file a finished image is: none of them is ever written again.
  struct Stamp {
    ino_t inode = 0;
    std::int64_t mtime_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return {status.st_ino, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
  }
  void expect_finished_ones_as_they_were() {
    for (const JobRecord& record : report().jobs) {
      if (record.state != JobState::done) continue;
      const Stamp now = stamp_of(record.image.target);
      const auto [before, is_new] = finished_.try_emplace(record.image.target, now);
      EXPECT_TRUE(is_new || before->second == now) << record.image.target;
    }
  }
  void expect_end_state() {
    const BatchReport end = report();
    EXPECT_EQ(end.count(JobState::done), 8U);
    for (const JobRecord& record : end.jobs) {
      if (record.state != JobState::done) continue;
      EXPECT_TRUE(record.verdict.verified);
      expect_same_contents(record.image);
    }
    expect_failed("gone.vmdk", "not_found", "gone.vmdk");
    expect_failed("truncated.vmdk", "corrupt", "truncated.vmdk");
    // Eight images with their manifests, and nothing else.
    const auto files = fs::directory_iterator(dir_ / "out" / "deep");
    EXPECT_EQ(std::distance(fs::begin(files), fs::end(files)), 16);
  }

  std::map<std::string, Stamp> finished_;
};

TEST_F(BatchKill, KilledOnItsWayItEndsTheSame) {
  const char* const text = std::getenv("GRAINMILL_KILLS");
  const std::uint64_t kills = text == nullptr ? 10 : std::stoull(text);
  std::uint64_t on_its_way = 0;
  for (std::uint64_t i = 0; i < kills; ++i) {
    StartedGroup program(arguments({"--verify"}));
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + mix(i) % 500));
    const int status = i % 2 == 0 ? program.kill_all() : program.kill_first();
    on_its_way += status == 128 + SIGKILL ? 1 : 0;
    expect_finished_ones_as_they_were();
  }
  EXPECT_GT(on_its_way, 0U);
  const CommandResult last = run({"--verify"});
  EXPECT_EQ(last.exit_status, 2) << last.err;
  expect_finished_ones_as_they_were();
  expect_end_state();
  RecordProperty("on_its_way", std::to_string(on_its_way));
}

TEST_F(BatchKill, ASignalStopsItCleanly) {
  StartedProgram program(dir_.path(), arguments({"--verify"}));
  program.wait_for_handler(SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 3);
  const BatchReport stopped = report();
  EXPECT_FALSE(stopped.is_running);
  EXPECT_EQ(stopped.count(JobState::running), 0U);
  EXPECT_GT(stopped.count(JobState::queued), 0U);
  EXPECT_TRUE(stopped.runs.back().ended_ms);
  EXPECT_EQ(run({"--verify"}).exit_status, 2);
  expect_end_state();
}

}  // namespace
}  // namespace grainmill::testing
