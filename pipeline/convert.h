// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/graph.h"
#include "pipeline/manifest.h"

#include <string>
#include <vector>

namespace grainmill {

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
  std::string manifest;          // where to write it; empty: no manifest
  std::string stale_manifest{};  // of an older output of this name: removed, if it is a manifest
  Durability durability = Durability::synced;
  GraphOptions graph;  // graph.crypto also chooses the manifest's cryptographic root
};

struct ConvertReport {
  std::uint64_t disk_bytes = 0;
  std::uint64_t data_bytes = 0;  // of the disk, that are not zero; whole digest grains
  ManifestRoots roots;
  std::vector<std::string> warnings;
};

// The manifest's name where none is given.
[[nodiscard]] std::string default_manifest_path(const std::string& output);

// Makes a disk of another kind of any disk that can be read. The output has its name only when it
// is whole; a failure or a cancellation leaves nothing, and an older output of that name as it was.
// An output that is written in place, or to a stream, is half written then.
[[nodiscard]] Result<ConvertReport> convert(FileSystem& files, const ConvertOptions& options);

}  // namespace grainmill
