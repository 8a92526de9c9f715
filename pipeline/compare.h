// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/compare_pair.h"
#include "pipeline/graph.h"

#include <functional>
#include <optional>
#include <string>

namespace grainmill {

struct CompareOptions {
  std::string one;
  DiskOptions one_disk;
  std::string other;
  DiskOptions other_disk;
  bool strict = false;  // sizes, and how each range is stored, must agree as well
  bool all = false;     // go on behind the first difference, and behind what cannot be read
  GraphOptions graph;   // all but crypto and collect_errors
  // With `all`: every range, neighbours of a kind as one, in guest order, from one thread at a
  // time.
  std::function<void(const DiskDifference&)> on_difference = [](const DiskDifference&) {};
};

struct CompareReport {
  std::string one_format;  // what the images were read as
  std::string other_format;
  std::uint64_t one_bytes = 0;  // of the disks
  std::uint64_t other_bytes = 0;
  bool wrong_size = false;                // strict only: sizes differ
  std::optional<DiskDifference> first{};  // the lowest one of those that could be read
  std::uint64_t differing_bytes = 0;      // all that follow: with `all` only; in whole sectors
  std::uint64_t differently_stored_bytes = 0;
  std::uint64_t unreadable_bytes = 0;
  std::optional<Error> unreadable{};  // the first reason

  [[nodiscard]] bool same() const { return !wrong_size && !first && unreadable_bytes == 0; }
};

// Holds two disks, of any formats and however they are stored, against each other. The tail of the
// larger disk must be zeros to count as the same. The lowest of all differences and of all that
// cannot be read decides, so that runs repeat; without `all` it ends the comparison, as an error
// where it cannot be read.
[[nodiscard]] Result<CompareReport> compare(FileSystem& files, const CompareOptions& options);

}  // namespace grainmill
