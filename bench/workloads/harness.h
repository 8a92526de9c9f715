// SPDX-License-Identifier: Apache-2.0
//
// What the benchmarks of the map and of the allocator share: how large to make things, where to put
// them, and a main() that ends with a failure when a result was wrong.
//
//   GRAINMILL_BENCH_SCALE   tiny (the smoke test), short (the default) or full
//   GRAINMILL_BENCH_MEMORY  a folder in memory, for what must not wait for a device: /dev/shm
//   GRAINMILL_BENCH_FOLDER  a folder on a real device, for what must
#pragma once

#include "engine/base/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace grainmill::bench {

enum class Scale : std::uint8_t { tiny, brief, full };

[[nodiscard]] Scale scale();
[[nodiscard]] std::string memory_folder();
[[nodiscard]] std::string device_folder();

void require(bool right, std::string_view what);
void require(const Status& status);
[[noreturn]] void throw_error(const Error& error);

// The value, or an exception that says why there is none.
template <typename T>
[[nodiscard]] T value_of(Result<T> result) {
  if (!result) throw_error(result.error());
  return *std::move(result);
}

// Runs what `add_benchmarks` registers, each for 50 milliseconds unless the flags say
// otherwise.
[[nodiscard]] int run_benchmarks(int argc, char** argv, void (*add_benchmarks)());

}  // namespace grainmill::bench
