// SPDX-License-Identifier: Apache-2.0
//
// Runs a program and tells what it printed, how it ended and what it cost.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace grainmill::testing {

struct CommandOptions {
  std::filesystem::path working_dir{};     // default: that of this process
  std::vector<std::string> environment{};  // "NAME=value", added to the environment of this process
  std::string input{};                     // on its standard input, which then ends; 64 KiB at most
  std::chrono::milliseconds timeout = std::chrono::minutes(2);  // then it is killed
};

struct CommandResult {
  int exit_status = 0;  // 128 + signal if a signal ended it, like a shell says it
  bool timed_out = false;
  std::string out;
  std::string err;
  std::chrono::microseconds cpu_time{};  // user and system
  // The most memory that was resident. Never below what this process had resident at the start:
  // the kernel counts the moment between fork and exec as well.
  std::uint64_t peak_rss_bytes = 0;

  bool ok() const { return exit_status == 0 && !timed_out; }
};

// Runs argv[0], looked up in PATH, without a shell. An exit status of 127 with a message in `err`
// means that it could not be started. Throws std::system_error if the machine is out of processes
// or pipes.
CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options = {});

// Whether PATH has such a program: tests skip what the machine lacks.
bool has_command(const std::string& name);

}  // namespace grainmill::testing
