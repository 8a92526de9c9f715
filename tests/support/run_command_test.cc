// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run_command.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

namespace grainmill::testing {
namespace {

TEST(RunCommand, CapturesBothOutputsAndTheStatus) {
  const CommandResult result = run_command({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(result.exit_status, 3);
  EXPECT_FALSE(result.ok());
}

TEST(RunCommand, PassesArgumentsAsTheyAre) {
  const CommandResult result = run_command({"printf", "%s|", "a b", "$HOME", "*", ""});
  EXPECT_EQ(result.out, "a b|$HOME|*||");
  EXPECT_TRUE(result.ok());
}

TEST(RunCommand, TakesMoreThanAPipeHolds) {
  const CommandResult result =
      run_command({"sh", "-c", "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"});
  EXPECT_EQ(result.out.size(), 1000000U);
  EXPECT_EQ(result.err.size(), 1000000U);
}

TEST(RunCommand, GivesInputEnvironmentAndFolder) {
  const TempDir dir;
  const CommandResult result = run_command(
      {"sh", "-c", "cat; echo $HOME-$GM_TEST; pwd -P"},
      {.working_dir = dir.path(), .environment = {"GM_TEST=x", "HOME=here"}, .input = "in\n"});
  EXPECT_EQ(result.out, "in\nhere-x\n" + std::filesystem::canonical(dir.path()).string() + "\n");
  EXPECT_TRUE(run_command({"true"}, {.input = "nobody reads this"}).ok());
}

TEST(RunCommand, TellsSignalsAndTimeouts) {
  EXPECT_EQ(run_command({"sh", "-c", "kill -TERM $$"}).exit_status, 128 + 15);
  const CommandResult slow =
      run_command({"sleep", "60"}, {.timeout = std::chrono::milliseconds(50)});
  EXPECT_TRUE(slow.timed_out);
  EXPECT_FALSE(slow.ok());
}

TEST(RunCommand, ReportsWhatCannotBeStarted) {
  const CommandResult result = run_command({"no-such-program-here"});
  EXPECT_EQ(result.exit_status, 127);
  EXPECT_EQ(result.err, "no-such-program-here: No such file or directory\n");
  EXPECT_TRUE(has_command("sh"));
  EXPECT_FALSE(has_command("no-such-program-here"));
}

TEST(RunCommand, MeasuresMemoryAndTime) {
  // dd's buffer is the memory; reading zeros into it is the work.
  const CommandResult result =
      run_command({"dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=4"});
  ASSERT_TRUE(result.ok()) << result.err;
  EXPECT_GT(result.peak_rss_bytes, 64U << 20);
  EXPECT_GT(result.cpu_time.count(), 0);
}

}  // namespace
}  // namespace grainmill::testing
