// SPDX-License-Identifier: Apache-2.0
#include "tests/nbd/process.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

// Between fork and exec: nothing but system calls on what was prepared before.
[[noreturn]] void become(char* const* argv, const char* log) {
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int output = ::open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (nowhere >= 0 && output >= 0) {
    ::dup2(nowhere, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::execvp(argv[0], argv);
  }
  ::_exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, std::filesystem::path log)
    : log_(std::move(log)) {
  std::vector<std::string> strings = command;
  std::vector<char*> argv;
  argv.reserve(strings.size() + 1);
  for (std::string& text : strings) argv.push_back(text.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) become(argv.data(), log_.c_str());
}

Process::~Process() {
  if (!is_running_) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Process::has_ended() {
  if (is_running_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) is_running_ = false;
  return !is_running_;
}

void Process::signal(int number) const {
  if (is_running_) ::kill(pid_, number);
}

int Process::wait() {
  while (is_running_) {
    if (::waitpid(pid_, &status_, 0) == pid_) is_running_ = false;
    if (is_running_ && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string Process::log() const {
  std::ostringstream text;
  const std::ifstream file(log_);
  if (file.is_open()) text << file.rdbuf();
  return text.str();
}

bool Process::wait_for_file(const std::filesystem::path& path) {
  std::error_code ignored;
  while (!std::filesystem::exists(path, ignored)) {
    if (has_ended()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace grainmill::testing
