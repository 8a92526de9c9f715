// SPDX-License-Identifier: Apache-2.0
//
// Damage without a name: bits and bytes anywhere in what describes a disk, as opposed to what is on
// it.
#pragma once

#include "tests/support/vmdk_builder.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace grainmill::testing {

struct FileRegion {
  std::filesystem::path path;
  std::string what;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// Headers, descriptors, directories, tables, markers, footers, and whole compressed grains, which
// carry a checksum. The files must be healthy.
std::vector<FileRegion> checked_regions(const BuiltDisk& disk);

// The same without the payload of grains, and with what pads descriptors.
std::vector<FileRegion> metadata_regions(const BuiltDisk& disk);

// Turns over one bit in one of the regions. Depends on nothing but its arguments; returns what it
// did.
std::string flip_at_random(const std::vector<FileRegion>& regions, std::uint64_t seed);

// Turns over one bit, or writes up to 16 bytes of garbage, in one of the regions. Depends on
// nothing but its arguments; returns what it did.
std::string damage_at_random(const std::vector<FileRegion>& regions, std::uint64_t seed);

}  // namespace grainmill::testing
