// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/fakes/memory_file_system.h"
#include "tests/power_cut/change.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace grainmill::testing {

// What is on a device for sure: names, and the files that have or had one.
struct Device {
  std::map<std::string, std::uint64_t> names;  // to inodes
  std::map<std::uint64_t, std::shared_ptr<MemoryContent>> files;
};

// Goes through what was done, step by step, and knows at each what is on the device for sure and
// what may be.
class Replay {
 public:
  // `changes` must outlive it.
  Replay(const Device& start, std::span<const Change> changes);

  [[nodiscard]] std::size_t steps() const { return steps_; }
  // REQUIRES: there is one more.
  void step();

  // The changes that may have arrived or not, in their order; not those of files that surely have
  // no name.
  [[nodiscard]] std::span<const std::size_t> undecided() const { return undecided_; }

  // The files as they are if of each undecided change so much arrived.
  [[nodiscard]] std::unique_ptr<MemoryFileSystem> state(std::span<const Arrival> arrivals) const;

 private:
  void decide(const Change& change);
  void find_undecided();

  Device device_;
  std::span<const Change> changes_;
  std::size_t steps_ = 0;
  std::vector<std::size_t> unsynced_;
  std::vector<std::size_t> undecided_;  // of these
};

}  // namespace grainmill::testing
