// SPDX-License-Identifier: Apache-2.0
//
// A program that runs beside the test.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace grainmill::testing {

class Process {
 public:
  // Runs command[0], looked up in PATH; what it prints goes to `log`. It is killed with this
  // object, if it still runs then.
  Process(const std::vector<std::string>& command, std::filesystem::path log);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool has_ended();
  void signal(int number) const;
  // Its exit status, or 128 + the signal that ended it.
  int wait();
  // What it has printed so far.
  std::string log() const;

  // Until `path` exists; false if the program ends before.
  bool wait_for_file(const std::filesystem::path& path);

 private:
  std::filesystem::path log_;
  pid_t pid_ = -1;
  bool is_running_ = true;
  int status_ = 0;
};

}  // namespace grainmill::testing
