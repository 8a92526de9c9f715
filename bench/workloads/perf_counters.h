// SPDX-License-Identifier: Apache-2.0
//
// The processor's own counters around a timed loop, where machine and kernel let us have them.
// (Google Benchmark can do it as well, but not as Debian builds it.)
#pragma once

#include <benchmark/benchmark.h>

#include <vector>

namespace grainmill::bench {

// Cycles, instructions, cache misses and dTLB load misses of this thread, in user space.
class PerfCounters {
 public:
  PerfCounters();
  ~PerfCounters();
  PerfCounters(const PerfCounters&) = delete;
  PerfCounters& operator=(const PerfCounters&) = delete;

  void start();
  // Stops, and reports each counter that there is, divided by `lookups`.
  void report(benchmark::State& state, double lookups);

 private:
  struct Counter {
    const char* name;
    int descriptor;
  };
  std::vector<Counter> counters_;
};

}  // namespace grainmill::bench
