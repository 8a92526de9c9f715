// SPDX-License-Identifier: Apache-2.0
#include "tools/command_line.h"
#include "tools/host.h"
#include "tools/printable_stream.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <ostream>
#include <string_view>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

std::atomic<bool> cancelled = false;

// The first signal asks for a clean end; the default action is back for the second.
extern "C" void on_signal(int /*number*/) { cancelled.store(true); }

void install_handlers() {
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
  // A reader of our output that goes away must not kill a conversion before it has cleaned up.
  std::signal(SIGPIPE, SIG_IGN);
}

// The next file to be opened would get the number of a standard stream that was closed, and what is
// printed would go into it. In its place comes one that still fails to be read or written.
void keep_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int access = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", access) < 0) return;
  }
}

// A split disk of terabytes has more files than the 1024 that programs may usually have open.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

struct RunCommand {
  grainmill::Host& host;
  int operator()(const grainmill::ConvertArgs& args) const { return run_convert(args, host); }
  int operator()(const grainmill::VerifyArgs& args) const { return run_verify(args, host); }
  int operator()(const grainmill::MeasureArgs& args) const { return run_measure(args, host); }
  int operator()(const grainmill::CheckArgs& args) const { return run_check(args, host); }
  int operator()(const grainmill::ScrubArgs& args) const { return run_scrub(args, host); }
  int operator()(const grainmill::BatchCommand& args) const { return run_batch(args, host); }
  int operator()(const grainmill::CompareArgs& args) const { return run_compare(args, host); }
  int operator()(const grainmill::InfoArgs& args) const { return run_info(args, host); }
  int operator()(const grainmill::MapArgs& args) const { return run_map(args, host); }
  int operator()(const grainmill::CreateArgs& args) const { return run_create(args, host); }
  int operator()(const grainmill::CommitArgs& args) const { return run_commit(args, host); }
  int operator()(const grainmill::RebaseArgs& args) const { return run_rebase(args, host); }
};

}  // namespace

// Errors are values; an exception that gets here is want of memory or a bug.
int main(int argc, char** argv) try {
  keep_standard_streams();
  install_handlers();
  allow_many_files();
  grainmill::PrintableBuffer printable(std::cout);
  std::ostream out(&printable);
  grainmill::Host host{grainmill::posix_file_system(), out, std::cerr, isatty(STDERR_FILENO) == 1,
                       &cancelled};
  const grainmill::ParsedCommandLine parsed = grainmill::parse_command_line(argc, argv, host);
  return parsed.command ? std::visit(RunCommand{host}, *parsed.command) : parsed.exit_status;
} catch (const std::exception& error) {
  std::fprintf(stderr, "grainmill: stopped by an internal error: %s\n", error.what());
  const bool compares = argc > 1 && std::string_view(argv[1]) == "compare";
  return compares ? grainmill::kExitNotCompared : grainmill::kExitFailed;
}
