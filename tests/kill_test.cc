// SPDX-License-Identifier: Apache-2.0
//
// The program is killed at random moments: what then has the final name is complete and right, and
// there is nothing else. GRAINMILL_KILLS says how often (default: 30).
#include "tests/conversion.h"
#include "tests/outputs.h"
#include "tests/program.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::uint64_t kills() {
  const char* text = std::getenv("GRAINMILL_KILLS");
  return text == nullptr ? 30 : std::stoull(text);
}

// Without files that have no name, a kill must leave the temporary one.
bool has_nameless_files(const fs::path& folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR, 0600);
  if (file >= 0) ::close(file);
  return file >= 0;
}

class Kill : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(out_);
    build_long_disk(dir_ / "long.raw", 128);
    build_long_disk(dir_ / "older.raw", 1);
    ASSERT_TRUE(run_program(dir_.path(), {"convert", "-f", "raw", "older.raw", "older.img"}).ok());
    const Clock::time_point start = Clock::now();
    ASSERT_TRUE(run_program(dir_.path(), arguments("long.raw", "whole.img")).ok());
    duration_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  }

  virtual std::vector<std::string> arguments(const std::string& source,
                                             const std::string& output) const {
    return {"convert", "--no-sync", "--threads", "2", "-f", "raw", source, output};
  }

  // Half of the kills come around the end, where files get their names.
  std::chrono::microseconds moment(std::uint64_t number) const {
    const auto whole = static_cast<std::uint64_t>(duration_.count());
    const std::uint64_t place = mix(number);
    if (number % 2 == 0) return std::chrono::microseconds(place % whole);
    return std::chrono::microseconds(whole * 4 / 5 + place % (whole * 2 / 5));
  }

  void kill_once(std::uint64_t number, const std::string& output = "out/out.img") {
    StartedProgram program(dir_.path(), arguments("long.raw", output));
    std::this_thread::sleep_for(moment(number));
    program.signal(SIGKILL);
    const int status = program.wait();
    finished_ += status == 0 ? 1 : 0;
    EXPECT_TRUE(status == 0 || status == 128 + SIGKILL) << status;
  }

  // `older`: what was under the final name before, if anything.
  void expect_whole_or(const fs::path& older) {
    const bool has_output = fs::exists(out_ / "out.img");
    EXPECT_TRUE(has_output || older.empty());
    EXPECT_TRUE(has_output || !fs::exists(out_ / "out.img.manifest"));
    if (!has_output) return;
    const bool is_older = !older.empty() && fs::file_size(out_ / "out.img") == fs::file_size(older);
    expect_same_disks(out_ / "out.img", is_older ? older : dir_ / "long.raw");
    if (!fs::exists(out_ / "out.img.manifest")) return;
    const Verification found = verify_image(out_ / "out.img", out_ / "out.img.manifest");
    EXPECT_TRUE(found.same()) << found;
  }

  void expect_no_strays() {
    for (const std::string& name : names_in(out_))
      EXPECT_TRUE(name == "out.img" || name == "out.img.manifest") << name;
  }

  TempDir dir_;
  fs::path out_ = dir_ / "out";
  std::chrono::microseconds duration_{};
  std::uint64_t finished_ = 0;
};

TEST_F(Kill, LeavesNothingOrAWholeDisk) {
  for (std::uint64_t i = 0; i < (kills() + 1) / 2; ++i) {
    SCOPED_TRACE(i);
    kill_once(i);
    expect_whole_or({});
    if (has_nameless_files(out_)) expect_no_strays();
    for (const std::string& name : names_in(out_)) fs::remove(out_ / name);
  }
  RecordProperty("finished", std::to_string(finished_));
}

// A file without a name cannot replace another in one step: a kill between its temporary name and
// its final one leaves that name. So strays are not looked for here.
TEST_F(Kill, LeavesTheOlderDiskOrAWholeOne) {
  const auto copy = [&](const std::string& from, const std::string& to) {
    fs::copy_file(dir_ / from, out_ / to, fs::copy_options::overwrite_existing);
  };
  for (std::uint64_t i = 0; i < kills() / 2; ++i) {
    SCOPED_TRACE(i);
    copy("older.img", "out.img");
    copy("older.img.manifest", "out.img.manifest");
    kill_once(i + 1000);
    expect_whole_or(dir_ / "older.img");
  }
  RecordProperty("finished", std::to_string(finished_));
}

// Other outputs, of which some are made of more than one file: those get their names one after the
// other, but never so that the one to open speaks for others than its own.
class KillOutput : public Kill, public ::testing::WithParamInterface<Output> {
 protected:
  std::vector<std::string> arguments(const std::string& source,
                                     const std::string& output) const override {
    std::vector<std::string> arguments = convert_arguments(GetParam());
    arguments.insert(arguments.end(), {"--no-sync", "--threads", "2", "-f", "raw", source, output});
    return arguments;
  }

  std::uint64_t rounds() const { return (kills() + 2) / 3; }

  void expect_whole_older_or_none(bool may_be_older) {
    const bool has_output = fs::exists(path_);
    const fs::path manifest = path_.string() + ".manifest";
    EXPECT_TRUE(has_output || !fs::exists(manifest));
    for (const std::string& name : names_in(out_)) {
      const std::vector<std::string> expected = output_names(GetParam());
      EXPECT_TRUE(may_be_older || std::ranges::count(expected, name) == 1) << name;
    }
    if (!has_output) return;
    const DiskOptions options = disk_options(GetParam());
    const Verification whole = verify_image(path_, whole_manifest_, options);
    const Verification older = verify_image(path_, older_manifest_, options);
    EXPECT_TRUE(whole.same() || (may_be_older && older.same())) << whole;
    if (!fs::exists(manifest)) return;
    const Verification own = verify_image(path_, manifest, options);
    EXPECT_TRUE(own.same()) << own;
  }

  fs::path path_ = output_path(GetParam(), out_);
  fs::path whole_manifest_ = dir_ / "whole.img.manifest";
  fs::path older_manifest_ = dir_ / "older.img.manifest";
};

TEST_P(KillOutput, LeavesNothingOrAWholeDisk) {
  if (!has_nameless_files(out_)) GTEST_SKIP() << "a kill must leave temporary files here";
  for (std::uint64_t i = 0; i < rounds(); ++i) {
    SCOPED_TRACE(i);
    kill_once(i + 2000, path_.string());
    expect_whole_older_or_none(false);
    for (const std::string& name : names_in(out_)) fs::remove(out_ / name);
  }
  RecordProperty("finished", std::to_string(finished_));
}

TEST_P(KillOutput, LeavesTheOlderDiskOrAWholeOneOrNoneToOpen) {
  for (std::uint64_t i = 0; i < rounds(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(run_program(dir_.path(), arguments("older.raw", path_.string())).ok());
    kill_once(i + 3000, path_.string());
    expect_whole_older_or_none(true);
  }
  RecordProperty("finished", std::to_string(finished_));
}

INSTANTIATE_TEST_SUITE_P(Kinds, KillOutput,
                         ::testing::Values(output_named("twoGbMaxExtentSparse"),
                                           output_named("monolithicFlat"), output_named("qcow2")),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
