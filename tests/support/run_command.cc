// SPDX-License-Identifier: Apache-2.0
#include "tests/support/run_command.h"

#include <spawn.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) fail("pipe2");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void close_end(std::size_t end) {
    if (ends_[end] >= 0) ::close(std::exchange(ends_[end], -1));
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

struct Child {
  Pipe in;
  Pipe out;
  Pipe err;
  pid_t pid = -1;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> whole_environment(const std::vector<std::string>& added) {
  std::vector<std::string> all = added;  // the first of a name wins in getenv
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const auto same = [name](const std::string& other) { return other.starts_with(name); };
    if (std::ranges::none_of(added, same)) all.emplace_back(text);
  }
  return all;
}

// What a command that could not be started would have said and ended with in a shell.
void note_failure(CommandResult& result, const std::string& program, int error_number) {
  result.exit_status = 127;
  result.err = program + ": " + std::generic_category().message(error_number) + "\n";
}

// posix_spawn, not fork: a sanitized process has so much mapped that a copy of its page tables
// costs more than most commands. False: it could not be started.
bool start(Child& child, const std::vector<std::string>& argv, const CommandOptions& options,
           CommandResult& result) {
  const std::vector<std::string> environment = whole_environment(options.environment);
  const std::vector<char*> argv_pointers = pointers(argv);
  const std::vector<char*> env_pointers = pointers(environment);
  const std::string working_dir = options.working_dir.string();
  posix_spawn_file_actions_t actions;
  if (::posix_spawn_file_actions_init(&actions) != 0) fail("posix_spawn_file_actions_init");
  ::posix_spawn_file_actions_adddup2(&actions, child.in.read_end(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, child.out.write_end(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, child.err.write_end(), STDERR_FILENO);
  if (!working_dir.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, working_dir.c_str());
  const int failed = ::posix_spawnp(&child.pid, argv[0].c_str(), &actions, nullptr,
                                    argv_pointers.data(), env_pointers.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) note_failure(result, argv[0], failed);
  child.in.close_end(0);
  child.out.close_end(1);
  child.err.close_end(1);
  return failed == 0;
}

// A pipe takes 64 KiB before anyone reads, so one write needs no waiting.
void give_input(Child& child, const std::string& input) {
  if (!input.empty()) {
    const sighandler_t before = ::signal(SIGPIPE, SIG_IGN);
    const ssize_t written = ::write(child.in.write_end(), input.data(), input.size());
    ::signal(SIGPIPE, before);
    if (written < 0 && errno != EPIPE) fail("write to a command");
  }
  child.in.close_end(1);
}

// Reads what is there; false at the end.
bool drain(int fd, std::string& text) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR;
  text.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 60'000));
}

// Collects both outputs until the command closes them or the time is up.
void collect(Child& child, CommandResult& result, Clock::time_point deadline) {
  std::array<pollfd, 2> fds{pollfd{child.out.read_end(), POLLIN, 0},
                            pollfd{child.err.read_end(), POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const int ready = ::poll(fds.data(), fds.size(), milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) fail("poll");
    if (ready <= 0 && Clock::now() >= deadline) {
      result.timed_out = true;
      ::kill(child.pid, SIGKILL);
      return;
    }
    if (ready <= 0) continue;
    if (fds[0].revents != 0 && !drain(fds[0].fd, result.out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !drain(fds[1].fd, result.err)) fds[1].fd = -1;
  }
}

std::chrono::microseconds duration_of(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

void reap(const Child& child, CommandResult& result) {
  int status = 0;
  rusage usage{};
  while (::wait4(child.pid, &status, 0, &usage) < 0) {
    if (errno != EINTR) fail("wait4");
  }
  result.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  result.cpu_time = duration_of(usage.ru_utime) + duration_of(usage.ru_stime);
  result.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options) {
  if (argv.empty()) throw std::invalid_argument("run_command: no program");
  if (options.input.size() > 65536) throw std::invalid_argument("run_command: too much input");
  CommandResult result;
  Child child;
  if (!start(child, argv, options, result)) return result;
  give_input(child, options.input);
  collect(child, result, Clock::now() + options.timeout);
  reap(child, result);
  return result;
}

bool has_command(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    if (!folder.empty() && ::access((std::string(folder) + "/" + name).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace grainmill::testing
