// SPDX-License-Identifier: Apache-2.0
//
// Stands in for the process that does a job. What becomes of it is the first word of the source's
// name: "crash 1.vmdk". It leaves a line in TARGET.log when it begins: how often it was begun, by
// how many threads, with how much memory.
#include "pipeline/batch/job_json.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

// As without a sanitizer, which would report it and exit.
void crash() {
  std::signal(SIGSEGV, SIG_DFL);
  std::raise(SIGSEGV);
}

using namespace grainmill;  // NOLINT(google-build-using-namespace)

constexpr std::uint64_t kDiskBytes = 1 << 20;

void say(const std::string& text) { std::cout << text << std::flush; }

[[noreturn]] void end(const JobVerdict& verdict) {
  say(verdict_line(verdict));
  std::_Exit(0);
}

[[noreturn]] void succeed() {
  JobVerdict verdict;
  verdict.state = JobState::done;
  verdict.disk_bytes = kDiskBytes;
  verdict.output_bytes = 1000;
  verdict.worked_bytes = kDiskBytes;
  end(verdict);
}

[[noreturn]] void fail_as(ErrorKind kind) { end(failed_verdict({kind, "disk", 512, "is bad"})); }

void sleep_for(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

volatile std::sig_atomic_t told = 0;

void work_until_told(int most_milliseconds) {
  std::signal(SIGTERM, [](int) { told = 1; });
  for (int i = 0; i < most_milliseconds / 10 && told == 0; ++i) {
    say(progress_line({.guest_bytes = kDiskBytes / 2, .data_bytes = 1000, .verifying = false}));
    sleep_for(10);
  }
  if (told != 0) fail_as(ErrorKind::cancelled);
}

void allocate_for_ever() {
  std::vector<std::vector<char>> all;
  try {
    while (true) all.emplace_back(std::size_t{16} << 20, 'x');
  } catch (const std::bad_alloc&) {
    all.clear();
    fail_as(ErrorKind::io);
  }
}

// How often it was begun, this time included.
int begin(const ConvertJob& job) {
  const std::string name = job.job.image.target + ".log";
  std::ofstream(name, std::ios::app)
      << job.threads << ' ' << job.memory_bytes << ' ' << job.job.attempt << std::endl;
  std::ifstream lines(name);
  int count = 0;
  for (std::string line; std::getline(lines, line);) ++count;
  return count;
}

void behave(const std::string& word, int times_begun) {
  if (word == "slow") work_until_told(300);
  if (word == "hang") work_until_told(600'000);
  if (word == "deaf") {
    std::signal(SIGTERM, SIG_IGN);
    sleep_for(600'000);
  }
  if (word == "crash") crash();
  if (word == "killed") std::raise(SIGKILL);
  if (word == "abort") {
    std::cerr << "assertion failed: x == y" << std::endl;
    std::abort();
  }
  if (word == "allocate") allocate_for_ever();
  if (word == "garbage") say("what is this?\n\n{\"event\": \"progress\"}\n\x01\xff\n[]\n");
  if (word == "huge") say(std::string(std::size_t{5} << 20, 'x'));
  if (word == "errors") std::cerr << std::string(std::size_t{5} << 20, 'x') << "the end";
  if (word == "silent") std::_Exit(0);
  if (word == "exit") std::_Exit(9);
  if (word == "corrupt") fail_as(ErrorKind::corrupt);
  if (word == "io" && times_begun < 3) fail_as(ErrorKind::io);
  if (word == "ioalways") fail_as(ErrorKind::io);
  if (word == "lies") {
    say(verdict_line({.state = JobState::done}));
    crash();
  }
}

}  // namespace

int main() {
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  const Result<ConvertJob> job = parse_job(input);
  if (!job) return 1;
  const std::string name = name_of(job->job.image.source);
  behave(name.substr(0, name.find_first_of(" .")), begin(*job));
  succeed();
}
