// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/perf_counters.h"

#include <array>
#include <cstdint>

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace grainmill::bench {
namespace {

struct Event {
  const char* name;
  std::uint32_t type;
  std::uint64_t config;
};

constexpr std::uint64_t kDtlbLoadMisses = PERF_COUNT_HW_CACHE_DTLB |
                                          (PERF_COUNT_HW_CACHE_OP_READ << 8) |
                                          (PERF_COUNT_HW_CACHE_RESULT_MISS << 16);

constexpr std::array kEvents = {
    Event{"cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    Event{"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    Event{"cache-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    Event{"dTLB-load-misses", PERF_TYPE_HW_CACHE, kDtlbLoadMisses},
};

int open_event(const Event& event) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = event.type;
  attributes.config = event.config;
  attributes.disabled = 1;
  attributes.exclude_kernel = 1;
  attributes.exclude_hv = 1;
  return static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

PerfCounters::PerfCounters() {
  for (const Event& event : kEvents)
    if (const int descriptor = open_event(event); descriptor >= 0)
      counters_.push_back({event.name, descriptor});
}

PerfCounters::~PerfCounters() {
  for (const Counter& counter : counters_) ::close(counter.descriptor);
}

void PerfCounters::start() {
  for (const Counter& counter : counters_) ::ioctl(counter.descriptor, PERF_EVENT_IOC_ENABLE, 0);
}

void PerfCounters::report(benchmark::State& state, double lookups) {
  for (const Counter& counter : counters_) ::ioctl(counter.descriptor, PERF_EVENT_IOC_DISABLE, 0);
  for (const Counter& counter : counters_) {
    std::uint64_t count = 0;
    if (::read(counter.descriptor, &count, sizeof count) == sizeof count)
      state.counters[counter.name] = static_cast<double>(count) / lookups;
  }
}

}  // namespace grainmill::bench
