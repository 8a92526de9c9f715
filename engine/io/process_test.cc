// SPDX-License-Identifier: Apache-2.0
#include "engine/io/process.h"

#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

using std::chrono::milliseconds;

ProcessOptions shell(const std::string& script, const std::string& input = {}) {
  ProcessOptions options;
  options.command = {"/bin/sh", "-c", script};
  options.input = input;
  return options;
}

// Waits for its end, a minute at most; returns what it printed.
std::string finish(Process& process) {
  std::string output;
  Process* const one = &process;
  for (int i = 0; i < 6000 && !process.end(); ++i) {
    Process::wait_for_any({&one, 1}, milliseconds(10));
    output += process.take_output();
  }
  EXPECT_TRUE(process.end().has_value());
  return output;
}

TEST(Process, TellsHowItEndedAndWhatItPrinted) {
  auto process = Process::start(shell("cat; echo oops >&2; exit 7", "some\ninput"));
  ASSERT_TRUE(IsOk(process));
  EXPECT_EQ(finish(**process), "some\ninput");
  EXPECT_EQ((*process)->errors(), "oops\n");
  EXPECT_EQ((*process)->end()->exit_status, 7);
  EXPECT_EQ((*process)->end()->signal, 0);
  EXPECT_GT((*process)->end()->peak_rss_bytes, 100'000U);
}

TEST(Process, TellsTheSignalThatEndedIt) {
  auto process = Process::start(shell("kill -SEGV $$"));
  ASSERT_TRUE(IsOk(process));
  finish(**process);
  EXPECT_EQ((*process)->end()->signal, SIGSEGV);
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV");
}

TEST(Process, FailsToStartWhatIsNoProgram) {
  ProcessOptions options;
  options.command = {"/nonexistent/program"};
  EXPECT_TRUE(HasError(Process::start(options), ErrorKind::not_found, "start the program"));
}

TEST(Process, TakesALongInputThatNobodyReads) {
  auto process = Process::start(shell("exit 0", std::string(std::size_t{4} << 20, 'x')));
  ASSERT_TRUE(IsOk(process));
  finish(**process);
  EXPECT_EQ((*process)->end()->exit_status, 0);
}

TEST(Process, PassesAllOfALongOutputOn) {
  auto process = Process::start(shell("head -c 5000000 /dev/zero; head -c 100000 /dev/zero >&2"));
  ASSERT_TRUE(IsOk(process));
  EXPECT_EQ(finish(**process).size(), 5'000'000U);
  EXPECT_EQ((*process)->errors().size(), Process::kMostErrors);
}

TEST(Process, KeepsNoMoreThanItMayOfWhatNobodyTakes) {
  auto process = Process::start(shell("exec cat /dev/zero"));
  ASSERT_TRUE(IsOk(process));
  Process* const one = process->get();
  for (int i = 0; i < 100; ++i) Process::wait_for_any({&one, 1}, milliseconds(2));
  EXPECT_LE((*process)->take_output().size(), Process::kMostOutput);
  (*process)->kill();
  finish(**process);
  EXPECT_EQ((*process)->end()->signal, SIGKILL);
}

// Nor for what its own children hold open.
TEST(Process, EndsWhateverItLeavesBehind) {
  auto process = Process::start(shell("sleep 60 & echo $!; exit 3"));
  ASSERT_TRUE(IsOk(process));
  const std::string child = finish(**process);
  EXPECT_EQ((*process)->end()->exit_status, 3);
  ::kill(std::stoi(child), SIGKILL);
}

TEST(Process, IsAskedToEnd) {
  auto process =
      Process::start(shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"));
  ASSERT_TRUE(IsOk(process));
  Process* const one = process->get();
  while ((*process)->take_output().empty()) Process::wait_for_any({&one, 1}, milliseconds(1000));
  EXPECT_GT((*process)->resident_bytes(), 100'000U);
  (*process)->ask_to_end();
  finish(**process);
  EXPECT_EQ((*process)->end()->exit_status, 5);
  EXPECT_EQ((*process)->resident_bytes(), 0U);
}

TEST(Process, IsKilledWithItsObject) {
  pid_t child = 0;
  {
    auto process = Process::start(shell("echo $$; exec sleep 60"));
    ASSERT_TRUE(IsOk(process));
    Process* const one = process->get();
    std::string output;
    for (; output.find('\n') == std::string::npos; output += (*process)->take_output())
      Process::wait_for_any({&one, 1}, milliseconds(1000));
    child = std::stoi(output);
  }
  EXPECT_EQ(::kill(child, 0), -1);
}

TEST(Process, MemoryIsLimitedForItAlone) {
  ProcessOptions options = shell("ulimit -d; cat /proc/self/oom_score_adj");
  options.data_limit_bytes = std::uint64_t{64} << 20;
  options.expendability = 500;
  auto process = Process::start(options);
  ASSERT_TRUE(IsOk(process));
  EXPECT_EQ(finish(**process), "65536\n500\n");
}

TEST(Process, WaitsForAnyOfThem) {
  auto slow = Process::start(shell("sleep 60"));
  auto fast = Process::start(shell("exit 0"));
  ASSERT_TRUE(IsOk(slow));
  ASSERT_TRUE(IsOk(fast));
  const std::array<Process*, 2> both = {slow->get(), fast->get()};
  while (!(*fast)->end()) Process::wait_for_any(both, milliseconds(10'000));
  EXPECT_FALSE((*slow)->end());
  Process::wait_for_any({}, milliseconds(1));
}

// The program that started it is killed: here a child of the test, which starts one and waits.
TEST(Process, DoesNotOutliveWhoStartedIt) {
  const TempDir dir;
  const std::string name = (dir / "pid").string();
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto process = Process::start(shell("echo $$ > " + name + "; exec sleep 60"));
    ::sleep(60);
    ::_exit(process ? 0 : 1);
  }
  pid_t child = 0;
  for (int i = 0; i < 3000 && child == 0; ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    std::ifstream(name) >> child;
  }
  ASSERT_NE(child, 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  bool gone = false;
  for (int i = 0; i < 1000 && !gone; ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string number;
    std::string program;
    std::string state = "X";
    stat >> number >> program >> state;
    gone = state == "X" || state == "Z";  // one that nobody waits for
  }
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace grainmill::testing
