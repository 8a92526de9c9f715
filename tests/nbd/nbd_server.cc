// SPDX-License-Identifier: Apache-2.0
#include "tests/nbd/nbd_server.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>
#include <system_error>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// The sanitizers' runtimes that this process runs with itself. A plugin needs them to be in nbdkit
// before it is loaded.
std::string sanitizer_runtimes() {
  std::set<std::string> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t path = line.find('/');
    if (path == std::string::npos) continue;
    for (const char* name : {"/libasan.so", "/libubsan.so", "/libtsan.so", "/libclang_rt."})
      if (line.find(name, path) != std::string::npos) found.insert(line.substr(path));
  }
  std::string list;
  for (const std::string& file : found) list += (list.empty() ? "" : ":") + file;
  return list;
}

// A file that this test has as data.
fs::path runfile(const char* name) {
  const char* folder = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (folder == nullptr || workspace == nullptr) return fs::absolute(name);
  return fs::absolute(fs::path(folder) / workspace / name);
}

}  // namespace

fs::path plugin_path() { return runfile("tools/nbdkit-grainmill-plugin.so"); }

std::vector<std::string> nbdkit_command(const std::vector<std::string>& options,
                                        const std::vector<std::string>& parameters) {
  std::vector<std::string> command = {"env"};
  if (const std::string runtimes = sanitizer_runtimes(); !runtimes.empty()) {
    command.push_back("LD_PRELOAD=" + runtimes);
    command.emplace_back("ASAN_OPTIONS=detect_leaks=0");  // nbdkit's own are not for us to find
    command.push_back("TSAN_OPTIONS=halt_on_error=1:suppressions=" +
                      runfile("tests/nbd/tsan_suppressions.txt").string());
  }
  command.emplace_back("nbdkit");
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(plugin_path());
  command.insert(command.end(), parameters.begin(), parameters.end());
  return command;
}

SocketFolder::SocketFolder() {
  std::string name = "/tmp/grainmill-nbd-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "mkdtemp");
  path_ = name;
}

SocketFolder::~SocketFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

NbdServer::NbdServer(const std::vector<std::string>& parameters,
                     const std::vector<std::string>& options) {
  const fs::path pid_file = folder_ / "pid";
  std::vector<std::string> all = {"--foreground", "--exit-with-parent", "--unix",
                                  socket(),       "--pidfile",          pid_file};
  all.insert(all.end(), options.begin(), options.end());
  process_.emplace(nbdkit_command(all, parameters), folder_ / "log");
  is_up_ = process_->wait_for_file(pid_file);  // comes when the socket listens
}

}  // namespace grainmill::testing
