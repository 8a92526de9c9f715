// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/graph.h"
#include "pipeline/manifest_comparer.h"

#include <functional>
#include <string>

namespace grainmill {

struct VerifyOptions {
  std::string image;
  DiskOptions disk;  // an image of no known format is read as raw
  std::string manifest;
  GraphOptions graph;  // crypto and collect_errors are set by verify()
  std::function<void(const Difference&)> on_difference;  // in guest order
};

struct VerifyReport {
  std::string format;                 // what the image was read as
  std::uint64_t disk_bytes = 0;       // of the image
  std::uint64_t expected_bytes = 0;   // of the disk in the manifest
  std::uint64_t differing_bytes = 0;  // in whole digest grains
  std::uint64_t unreadable_bytes = 0;
  bool structure_damaged =
      false;  // tables contradict each other or the file; what could be read was compared
  bool crypto_differs =
      false;  // digests agree, the cryptographic root does not: changed on purpose
  CryptoAlgorithm crypto = CryptoAlgorithm::none;
  ManifestRoots expected_roots;

  [[nodiscard]] bool same() const {
    return disk_bytes == expected_bytes && differing_bytes == 0 && unreadable_bytes == 0 &&
           !structure_damaged && !crypto_differs;
  }
};

// Opens an image that is to be held against a manifest: one of no known format is raw.
[[nodiscard]] Result<Disk> open_for_verify(FileSystem& files, const std::string& image,
                                           const DiskOptions& options);
[[nodiscard]] Result<ManifestReader> open_manifest(FileSystem& files, const std::string& path);

// Reads a whole disk, of any format and however it is stored, and holds every 64 KiB of it against
// a manifest. What cannot be read is reported with its range like what differs, and reading goes
// on; only what makes comparing impossible is an error.
[[nodiscard]] Result<VerifyReport> verify(FileSystem& files, const VerifyOptions& options);

}  // namespace grainmill
