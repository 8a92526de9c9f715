// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/format/format.h"
#include "pipeline/graph.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

struct MeasureOptions {
  std::optional<std::string> source;        // an image, or
  std::optional<std::uint64_t> size_bytes;  // of a new, empty disk
  DiskOptions disk;
  std::string output_format = "raw";  // a name of the registry
  SinkOptions sink;                   // its path and size do not matter
  bool exact = false;  // read the disk, and compress it, instead of going by what is allocated
  GraphOptions graph;
};

// How much space an output would take on a file system that knows holes.
struct OutputSize {
  std::uint64_t required_bytes = 0;         // exact, or the most that it can be
  std::uint64_t fully_allocated_bytes = 0;  // the most, if every byte of the disk were stored
};

// Makes the output without writing it. Unless options.exact, only tables are read: zeros that are
// stored are then taken for data, and nothing is taken to shrink.
[[nodiscard]] Result<OutputSize> measure(FileSystem& files, const MeasureOptions& options);

// The most that an output of this disk can take, by tables alone. REQUIRES: disk.check().
[[nodiscard]] Result<std::uint64_t> measure_open_disk(const Disk& disk,
                                                      const std::string& output_format,
                                                      const SinkOptions& sink);

// The files that an output would be made of. Nothing is made.
[[nodiscard]] Result<std::vector<std::string>> output_paths(const std::string& output_format,
                                                            const SinkOptions& sink);

}  // namespace grainmill
