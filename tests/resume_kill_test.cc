// SPDX-License-Identifier: Apache-2.0
//
// A conversion that notes every unit is killed at random moments and called again, until it is
// done: it ends with the bytes of one that nobody disturbed, and nothing beside them.
// GRAINMILL_KILLS says how many times it is done over (default: 2).
#include "tests/outputs.h"
#include "tests/support/environment.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kChild = "--convert";

ConvertOptions options_of(const std::string& kind, const fs::path& folder, const fs::path& out) {
  ConvertOptions options = convert_options(folder / "disk.raw", output_named(kind), out);
  options.disk.format = "raw";
  return options;
}

// What the killed process does. 0: done.
int convert_in_child(const std::string& kind, const fs::path& folder) {
  ConvertOptions options = options_of(kind, folder, folder / "out");
  options.resume = true;
  options.checkpoints = {.data_bytes = 1, .interval = std::chrono::milliseconds(0)};
  const Result<ConvertReport> report = convert(posix_file_system(), options);
  if (!report) return 1;
  return report->warnings.empty() ? 0 : 2;
}

class ResumeKill : public ::testing::TestWithParam<std::string> {
 protected:
  static std::map<std::string, std::vector<std::byte>> contents_of(const fs::path& folder) {
    std::map<std::string, std::vector<std::byte>> contents;
    for (const std::string& name : names_in(folder))
      if (!name.ends_with(".manifest"))
        contents[name] = without_random_numbers(file_bytes(folder / name));
    return contents;
  }

  // The exit status, or 128 + SIGKILL.
  int run_for(std::chrono::microseconds time) const {
    const std::string folder = dir_.path().string();
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "resume_kill_test", kChild.data(), GetParam().c_str(),
              folder.c_str(), nullptr);
      ::_exit(127);
    }
    std::this_thread::sleep_for(time);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  TempDir dir_;
};

TEST_P(ResumeKill, GoesOnUntilItIsDone) {
  const Layout layout = parse_layout("6m:A 2m:- 5m:r 64k:B 9m:- 4m:C 3m:r 5s:D");
  const std::vector<std::byte> disk = expected_bytes(layout, 0, layout.size_bytes());
  write_file(dir_ / "disk.raw", {reinterpret_cast<const char*>(disk.data()), disk.size()});
  fs::create_directory(dir_ / "whole");
  ASSERT_TRUE(convert(posix_file_system(), options_of(GetParam(), dir_.path(), dir_ / "whole")));
  const auto whole = contents_of(dir_ / "whole");
  std::uint64_t kills = 0;
  for (std::uint64_t round = 0; round < number_from_environment("GRAINMILL_KILLS", 2); ++round) {
    SCOPED_TRACE(round);
    fs::remove_all(dir_ / "out");
    fs::create_directory(dir_ / "out");
    std::chrono::microseconds most{20000};
    int status = -1;
    for (; status != 0; ++kills) {
      status =
          run_for(std::chrono::microseconds(mix(kills) % static_cast<std::uint64_t>(most.count())));
      ASSERT_TRUE(status == 0 || status == 128 + SIGKILL) << status;
      // Reading back takes longer each time.
      most += std::chrono::microseconds(2000);
    }
    EXPECT_EQ(names_in(dir_ / "out"), output_names(output_named(GetParam())));
    EXPECT_EQ(contents_of(dir_ / "out") == whole, true);
  }
  RecordProperty("kills", std::to_string(kills));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ResumeKill,
                         ::testing::Values("twoGbMaxExtentSparse", "streamOptimized", "qcow2_zlib",
                                           "raw"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace grainmill::testing

int main(int argc, char** argv) {
  using namespace grainmill::testing;
  if (argc == 4 && argv[1] == kChild) return convert_in_child(argv[2], argv[3]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
