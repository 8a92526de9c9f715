// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/findings.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/graph.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

struct CheckOptions {
  std::string image;
  DiskOptions disk;
  bool quick = false;  // structure only: leave stored grains alone
  GraphOptions graph;  // threads, memory_bytes, cancelled and on_progress
  // Each finding, neighbours of a kind as one, from one thread at a time.
  std::function<void(const Finding&)> on_finding = [](const Finding&) {};
};

// The image that has to be checked for `path` to be: its descriptor, where `path` is only a part of
// a disk that cannot be read by itself; `path` otherwise.
[[nodiscard]] std::string image_to_check(FileSystem& files, const std::string& path,
                                         const DiskOptions& disk);

struct CheckReport {
  std::string format;  // of the top link; empty where it could not be opened
  std::uint64_t disk_bytes = 0;
  std::uint64_t links = 0;   // of the chain, that could be opened
  std::uint64_t damage = 0;  // findings, before neighbours were joined
  std::uint64_t unchecked = 0;
  std::uint64_t suspicious = 0;
  std::uint64_t cosmetic = 0;
  std::uint64_t leaked_bytes = 0;  // of all files
  // Of the guest disk, in images with compressed grains: what was read, and inflated, without
  // error.
  std::uint64_t read_bytes = 0;

  [[nodiscard]] bool sound() const { return damage == 0 && unchecked == 0 && leaked_bytes == 0; }
};

// Looks for all that is wrong with an image and its ancestors, as far as it can be known without a
// manifest: structure, chain, and (unless quick) every compressed grain. Goes on behind each
// finding. Writes nothing. Fails only when it is cancelled.
[[nodiscard]] Result<CheckReport> check(FileSystem& files, const CheckOptions& options);

}  // namespace grainmill
