// SPDX-License-Identifier: Apache-2.0
//
// The program as users run it.
#pragma once

#include "tests/support/run_command.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace grainmill::testing {

// Where the test runner put it.
std::filesystem::path program_path();

// Runs it to its end in `folder`.
CommandResult run_program(const std::filesystem::path& folder,
                          const std::vector<std::string>& arguments);

// The program on its way, to send signals to. What it prints goes nowhere.
class StartedProgram {
 public:
  StartedProgram(const std::filesystem::path& folder, const std::vector<std::string>& arguments);
  ~StartedProgram();
  StartedProgram(const StartedProgram&) = delete;
  StartedProgram& operator=(const StartedProgram&) = delete;

  void signal(int number) const;
  // Waits until the program has a handler of its own for this signal.
  void wait_for_handler(int number) const;
  // Its exit status, or 128 + the signal that ended it.
  int wait();

 private:
  pid_t pid_ = -1;
};

// A raw disk of nothing but data, for runs that take their time.
void build_long_disk(const std::filesystem::path& path, std::uint64_t mebibytes);

}  // namespace grainmill::testing
