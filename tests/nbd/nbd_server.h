// SPDX-License-Identifier: Apache-2.0
//
// nbdkit with our plugin, on a socket of its own.
#pragma once

#include "tests/nbd/process.h"
#include "tests/support/run_command.h"

#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace grainmill::testing {

// The plugin as Bazel built it.
std::filesystem::path plugin_path();

// `nbdkit OPTIONS... plugin PARAMETERS...`
std::vector<std::string> nbdkit_command(const std::vector<std::string>& options,
                                        const std::vector<std::string>& parameters);

// A new folder whose name is short enough for a socket in it; TEST_TMPDIR's is not.
class SocketFolder {
 public:
  SocketFolder();
  ~SocketFolder();
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;

  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  std::string socket() const { return path_ / "socket"; }
  std::string uri() const { return "nbd+unix:///?socket=" + socket(); }

 private:
  std::filesystem::path path_;
};

class NbdServer {
 public:
  // Serves as soon as it returns, if is_up(). It is killed at the end if nobody stopped it.
  explicit NbdServer(const std::vector<std::string>& parameters,
                     const std::vector<std::string>& options = {});

  bool is_up() const { return is_up_; }
  pid_t pid() const { return process_->pid(); }
  std::string socket() const { return folder_.socket(); }
  std::string uri() const { return folder_.uri(); }
  // What it has printed so far.
  std::string log() const { return process_->log(); }

  // Ends it as a user does, and waits. Its exit status, or 128 + the signal that ended it.
  int stop() {
    process_->signal(SIGTERM);
    return wait();
  }
  int wait() { return process_->wait(); }

 private:
  SocketFolder folder_;
  std::optional<Process> process_;
  bool is_up_ = false;
};

}  // namespace grainmill::testing
