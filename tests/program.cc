// SPDX-License-Identifier: Apache-2.0
#include "tests/program.h"

#include "tests/support/layout.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> command_line(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {program_path().string()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

}  // namespace

fs::path program_path() {
  const char* folder = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (folder == nullptr || workspace == nullptr) return fs::absolute("tools/grainmill");
  return fs::absolute(fs::path(folder) / workspace / "tools/grainmill");
}

CommandResult run_program(const fs::path& folder, const std::vector<std::string>& arguments) {
  CommandOptions options;
  options.working_dir = folder;
  return run_command(command_line(arguments), options);
}

StartedProgram::StartedProgram(const fs::path& folder, const std::vector<std::string>& arguments) {
  std::vector<std::string> strings = command_line(arguments);
  std::vector<char*> argv;
  argv.reserve(strings.size() + 1);
  for (std::string& text : strings) argv.push_back(text.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ != 0) return;
  const int nowhere = ::open("/dev/null", O_RDWR);
  if (nowhere < 0) ::_exit(127);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere, stream);
  if (::chdir(folder.c_str()) == 0) ::execv(argv[0], argv.data());
  ::_exit(127);
}

StartedProgram::~StartedProgram() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void StartedProgram::signal(int number) const { ::kill(pid_, number); }

int StartedProgram::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0)
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  pid_ = -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void StartedProgram::wait_for_handler(int number) const {
  const fs::path status = fs::path("/proc") / std::to_string(pid_) / "status";
  const std::string field = "SigCgt:";
  for (bool caught = false; !caught;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::ifstream lines(status);
    if (!lines.is_open()) throw std::runtime_error("the program has ended");
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(field))
        caught = (std::stoull(line.substr(field.size()), nullptr, 16) >> (number - 1) & 1) != 0;
  }
}

void build_long_disk(const fs::path& path, std::uint64_t mebibytes) {
  std::vector<char> piece(1 << 20);
  std::ofstream file(path, std::ios::binary);
  for (std::uint64_t i = 0; i < mebibytes; ++i) {
    fill_pattern('r', i * piece.size(), std::as_writable_bytes(std::span(piece)));
    file.write(piece.data(), std::ssize(piece));
  }
  file.close();
  if (!file.good()) throw std::runtime_error(path.string() + ": cannot be written");
}

}  // namespace grainmill::testing
