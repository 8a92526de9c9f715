// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace grainmill {

// The program that runs, whatever became of its name since it was started.
inline constexpr const char* kOwnProgram = "/proc/self/exe";

struct ProcessOptions {
  std::vector<std::string> command{};  // a path, then its arguments
  std::string input{};                 // on its standard input, which then ends
  // Its own private memory (RLIMIT_DATA): beyond that, allocating fails in it. 0: no limit.
  std::uint64_t data_limit_bytes = 0;
  // How much rather than others the kernel kills it when memory runs out: 0 to 1000.
  int expendability = 0;
};

// How a process ended, and what it took.
struct ProcessEnd {
  int exit_status = 0;  // if no signal ended it
  int signal = 0;       // that ended it, or 0
  std::uint64_t cpu_ms = 0;
  // Never below what the program that started it had resident then: the kernel counts the moment
  // before the new program begins as well.
  std::uint64_t peak_rss_bytes = 0;
};

// "SIGSEGV"; "signal 77" for what has no name.
[[nodiscard]] std::string signal_name(int signal);

// A child process. It never outlives the thread that started it, and is killed with this object.
// Threads: one at a time.
class Process {
 public:
  // Of standard error the end is kept, and of standard output so much at most while nobody takes
  // it; what is more waits in the pipe, and the child with it.
  static constexpr std::size_t kMostOutput = std::size_t{1} << 20;
  static constexpr std::size_t kMostErrors = std::size_t{4} << 10;

  [[nodiscard]] static Result<std::unique_ptr<Process>> start(const ProcessOptions& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Asks it to end (SIGTERM), or ends it (SIGKILL). Nothing where it has ended.
  void ask_to_end() const;
  void kill() const;

  // What it printed since, as far as it was read while waiting.
  [[nodiscard]] std::string take_output();
  // The last kMostErrors of what it printed to standard error.
  [[nodiscard]] const std::string& errors() const;

  // Set while waiting. All that it printed was read then.
  [[nodiscard]] const std::optional<ProcessEnd>& end() const;

  [[nodiscard]] std::uint64_t resident_bytes() const;

  // Returns when any of them printed something or ended, a signal came to this program, or the time
  // is over.
  static void wait_for_any(std::span<Process* const> processes, std::chrono::milliseconds most);

 private:
  struct State;
  explicit Process(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// Memory of this program that is resident now.
[[nodiscard]] std::uint64_t own_resident_bytes();

}  // namespace grainmill
