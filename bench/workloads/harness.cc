// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/harness.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <vector>

namespace grainmill::bench {
namespace {

std::string from_environment(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : std::move(otherwise);
}

}  // namespace

Scale scale() {
  const std::string name = from_environment("GRAINMILL_BENCH_SCALE", "short");
  if (name == "tiny") return Scale::tiny;
  if (name == "short") return Scale::brief;
  if (name == "full") return Scale::full;
  throw std::invalid_argument(
      fmt::format("GRAINMILL_BENCH_SCALE is '{}', not tiny, short or full", name));
}

std::string memory_folder() { return from_environment("GRAINMILL_BENCH_MEMORY", "/dev/shm"); }

std::string device_folder() {
  return from_environment("GRAINMILL_BENCH_FOLDER",
                          std::filesystem::temp_directory_path().string());
}

void require(bool right, std::string_view what) {
  if (!right) throw std::runtime_error(fmt::format("wrong result: {}", what));
}

void require(const Status& status) {
  if (!status) throw_error(status.error());
}

void throw_error(const Error& error) { throw std::runtime_error(error.to_string()); }

int run_benchmarks(int argc, char** argv, void (*add_benchmarks)()) {
  // The last of two flags counts.
  std::string min_time = "--benchmark_min_time=0.05";
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1, min_time.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  try {
    add_benchmarks();
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    // Caught, so that what was made in memory is removed at exit.
    fmt::print(stderr, "{}: {}\n", argv[0], error.what());
    return 1;
  }
  return 0;
}

}  // namespace grainmill::bench
