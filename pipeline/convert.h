// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/graph.h"
#include "pipeline/manifest.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

// How often a conversion that can be gone on with notes how far it came.
struct CheckpointPolicy {
  std::uint64_t data_bytes = 32 * kMiB;     // at least so much of the disk's data lies in between
  std::chrono::milliseconds interval{100};  // and so much time; 0: nothing but data_bytes counts
};

struct ConvertOptions {
  std::string source;
  DiskOptions disk;
  std::string output;                 // kStandardOutputName: a stream
  std::string output_format = "raw";  // a name of the registry
  std::vector<Setting> settings{};    // of that format
  std::uint64_t hole_bytes = 4096;    // see SinkOptions, as for all of these
  bool compress = false;
  std::string level{};
  bool in_place = false;
  bool resume = false;  // go on where an earlier call was broken off, and leave what lets a later
                        // one do so
  CheckpointPolicy checkpoints{};
  std::string manifest;          // where to write it; empty: no manifest
  std::string stale_manifest{};  // of an older output of this name: removed, if it is a manifest
  Durability durability = Durability::synced;
  GraphOptions graph;  // graph.crypto also chooses the manifest's cryptographic root
};

struct ConvertReport {
  std::uint64_t disk_bytes = 0;
  std::uint64_t data_bytes = 0;     // of the disk, that are not zero; whole digest grains
  std::uint64_t resumed_bytes = 0;  // of the disk, that an earlier call wrote, and are proven
  ManifestRoots roots{};
  std::vector<std::string> warnings{};
};

// The manifest's name where none is given.
[[nodiscard]] std::string default_manifest_path(const std::string& output);

// Makes a disk of another kind of any disk that can be read. The output has its name only when it
// is whole; a failure or a cancellation leaves nothing, and an older output of that name as it was.
// An output that is written in place, or to a stream, is half written then. With `resume`, an error
// of kind io or cancelled leaves hidden files beside the output, if it came to a checkpoint, and
// says so: the same call goes on from there. Any other failure takes them away.
[[nodiscard]] Result<ConvertReport> convert(FileSystem& files, const ConvertOptions& options);

}  // namespace grainmill
