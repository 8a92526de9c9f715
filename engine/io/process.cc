// SPDX-License-Identifier: Apache-2.0
#include "engine/io/process.h"

#include "engine/io/posix_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace grainmill {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int get() const { return value_; }
  void close() {
    if (value_ >= 0) ::close(value_);
    value_ = -1;
  }

 private:
  int value_;
};

struct Pipe {
  Descriptor reader;
  Descriptor writer;
};

std::unexpected<Error> start_error(const ProcessOptions& options, std::string_view action) {
  return std::unexpected(os_error(errno, options.command.front(), action));
}

Result<Pipe> make_pipe(const ProcessOptions& options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return start_error(options, "make a pipe for it");
  Pipe pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  // Of the reading end alone: the child's is another open file.
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return pipe;
}

// A file in memory: however long the input is, and whether or not it is read, nobody waits.
Result<Descriptor> make_input(const ProcessOptions& options) {
  Descriptor file(::memfd_create("input", MFD_CLOEXEC));
  if (file.get() < 0) return start_error(options, "make its input");
  for (std::size_t done = 0; done < options.input.size();) {
    const ssize_t put = ::pwrite(file.get(), options.input.data() + done,
                                 options.input.size() - done, static_cast<off_t>(done));
    if (put < 0) return start_error(options, "make its input");
    done += static_cast<std::size_t>(put);
  }
  return file;
}

// Everything that the child needs, made before the fork: after it, only calls that are safe in a
// signal handler may be made.
struct Launch {
  std::vector<char*> argv;
  std::string expendability;
  rlimit data{};
  int input = -1;
  int output = -1;
  int errors = -1;
  int report = -1;  // where the errno of a failed start goes
  pid_t parent = 0;
};

[[noreturn]] void fail_in_child(const Launch& launch) {
  const int error = errno;
  // If even that fails, the exit status is all there is.
  static_cast<void>(!::write(launch.report, &error, sizeof error));
  ::_exit(127);
}

[[noreturn]] void run_in_child(const Launch& launch) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have gone before that was set.
  if (::getppid() != launch.parent) ::_exit(127);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(launch.input, STDIN_FILENO) < 0 || ::dup2(launch.output, STDOUT_FILENO) < 0 ||
      ::dup2(launch.errors, STDERR_FILENO) < 0)
    fail_in_child(launch);
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  if (const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0)
    static_cast<void>(!::write(score, launch.expendability.data(), launch.expendability.size()));
  if (launch.data.rlim_cur != 0) ::setrlimit(RLIMIT_DATA, &launch.data);
  ::execv(launch.argv.front(), launch.argv.data());
  fail_in_child(launch);
}

// The errno of a start that failed, or 0. Returns when the child runs its program.
int start_result(const Descriptor& report) {
  int error = 0;
  ssize_t got = 0;
  do got = ::read(report.get(), &error, sizeof error);
  while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof error) ? error : 0;
}

int open_pid(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)); }

std::uint64_t milliseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1000 +
         static_cast<std::uint64_t>(time.tv_usec) / 1000;
}

std::uint64_t resident_bytes_of(const std::string& process) {
  const Descriptor file(
      ::open(fmt::format("/proc/{}/statm", process).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  if (file.get() < 0 || ::read(file.get(), text.data(), text.size() - 1) <= 0) return 0;
  const char* const second = std::strchr(text.data(), ' ');
  if (second == nullptr) return 0;
  return std::strtoull(second, nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Appends what is there now, `most` at most; closes the descriptor at its end.
void read_what_is_there(Descriptor& from, std::string& to, std::size_t most) {
  std::array<char, std::size_t{64} << 10> piece;
  while (from.get() >= 0 && most != 0) {
    const ssize_t got = ::read(from.get(), piece.data(), std::min(piece.size(), most));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return from.close();
    to.append(piece.data(), static_cast<std::size_t>(got));
    most -= static_cast<std::size_t>(got);
  }
}

}  // namespace

struct Process::State {
  pid_t pid = -1;
  Descriptor alive;  // readable when it has ended
  Descriptor output;
  Descriptor errors;
  std::string output_text;
  std::string errors_text;
  std::optional<ProcessEnd> end;

  void read_output() {
    read_what_is_there(output, output_text,
                       kMostOutput - std::min(output_text.size(), kMostOutput));
  }
  void read_errors() {
    read_what_is_there(errors, errors_text, 16 * kMostErrors);
    if (errors_text.size() > kMostErrors) errors_text.erase(0, errors_text.size() - kMostErrors);
  }
  // Once it has ended: what it started may still hold the pipes open, so their end is not waited
  // for.
  void reap() {
    read_what_is_there(output, output_text, kMostOutput);
    read_errors();
    int status = 0;
    rusage usage{};
    while (::wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    end = ProcessEnd{
        .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .cpu_ms = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime),
        .peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024,
    };
  }
};

std::string signal_name(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

Process::Process(std::unique_ptr<State> state) : state_(std::move(state)) {}

Process::~Process() {
  if (state_->end) return;
  kill();
  state_->reap();
}

Result<std::unique_ptr<Process>> Process::start(const ProcessOptions& options) {
  GM_TRY(const Descriptor input, make_input(options));
  GM_TRY(Pipe output, make_pipe(options));
  GM_TRY(Pipe errors, make_pipe(options));
  GM_TRY(Pipe report, make_pipe(options));
  ::fcntl(report.reader.get(), F_SETFL, 0);
  std::vector<std::string> words = options.command;
  Launch launch{.argv = {},
                .expendability = std::to_string(options.expendability),
                .data = {options.data_limit_bytes, options.data_limit_bytes},
                .input = input.get(),
                .output = output.writer.get(),
                .errors = errors.writer.get(),
                .report = report.writer.get(),
                .parent = ::getpid()};
  for (std::string& word : words) launch.argv.push_back(word.data());
  launch.argv.push_back(nullptr);

  const pid_t pid = ::fork();
  if (pid < 0) return start_error(options, "start a process");
  if (pid == 0) run_in_child(launch);
  auto state = std::make_unique<State>();
  state->pid = pid;
  state->alive = Descriptor(open_pid(pid));
  const int no_pid = state->alive.get() < 0 ? errno : 0;
  state->output = std::move(output.reader);
  state->errors = std::move(errors.reader);
  std::unique_ptr<Process> process(new Process(std::move(state)));
  report.writer.close();
  const int failed = start_result(report.reader);
  errno = failed != 0 ? failed : no_pid;
  if (errno != 0) return start_error(options, "start the program");
  return process;
}

void Process::ask_to_end() const {
  if (!state_->end) ::kill(state_->pid, SIGTERM);
}

void Process::kill() const {
  if (!state_->end) ::kill(state_->pid, SIGKILL);
}

std::string Process::take_output() { return std::exchange(state_->output_text, {}); }

const std::string& Process::errors() const { return state_->errors_text; }

const std::optional<ProcessEnd>& Process::end() const { return state_->end; }

std::uint64_t Process::resident_bytes() const {
  return state_->end ? 0 : resident_bytes_of(std::to_string(state_->pid));
}

void Process::wait_for_any(std::span<Process* const> processes, std::chrono::milliseconds most) {
  // A negative descriptor is passed over.
  std::vector<pollfd> waits;
  for (const Process* const process : processes) {
    const State& state = *process->state_;
    const int output = state.output_text.size() < kMostOutput ? state.output.get() : -1;
    for (const int descriptor : {state.end ? -1 : state.alive.get(), output, state.errors.get()})
      waits.push_back({.fd = state.end ? -1 : descriptor, .events = POLLIN, .revents = 0});
  }
  if (::poll(waits.data(), waits.size(), static_cast<int>(most.count())) <= 0) return;
  for (std::size_t i = 0; i < processes.size(); ++i) {
    State& state = *processes[i]->state_;
    if (waits[3 * i + 1].revents != 0) state.read_output();
    if (waits[3 * i + 2].revents != 0) state.read_errors();
    if (waits[3 * i].revents != 0) state.reap();
  }
}

std::uint64_t own_resident_bytes() { return resident_bytes_of("self"); }

}  // namespace grainmill
