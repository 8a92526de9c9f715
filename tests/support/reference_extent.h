// SPDX-License-Identifier: Apache-2.0
//
// Inside the reference reader: what one extent of a VMDK has at some place.
#pragma once

#include "tests/support/reference_file.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace grainmill::testing {

inline constexpr std::uint32_t kHostedMagic = 0x564d444b;  // "KDMV"
inline constexpr std::uint32_t kCowdMagic = 0x44574f43;    // "COWD"

// What an extent has at some place: bytes of its file, zeros, or nothing (so ask the parent).
struct ReferencePlace {
  enum class Kind { stored, zero, absent } kind = Kind::zero;
  std::uint64_t length = 0;
  std::uint64_t file_offset = 0;  // flat: of the extent; else of the grain
};

struct ReferenceExtent {
  std::uint64_t size = 0;
  std::shared_ptr<ReferenceFile> file{};  // none: reads as zeros
  std::uint64_t file_offset = 0;          // flat
  std::uint64_t grain = 0;                // in bytes; 0: flat
  std::uint64_t gtes = 0;
  std::uint64_t first_data = 0;  // nothing before this offset can be a grain
  bool compressed = false;
  bool has_zero_entries = false;
  std::uint64_t descriptor_offset = 0;
  std::uint64_t descriptor_size = 0;
  std::vector<std::byte> directory{};
  std::vector<std::byte> table{};  // the one used last
  std::uint64_t table_number = ~0ULL;
  std::uint64_t guest_offset = 0;

  void load_directory(std::uint64_t sector);
  ReferencePlace locate(std::uint64_t at);
  void read_stored(const ReferencePlace& place, std::uint64_t at, std::span<std::byte> out);
  std::vector<std::byte> inflate(std::uint64_t offset, std::uint64_t grain_number);
};

// Checks for overflow; `path` is for the message.
std::uint64_t bytes_of(std::uint64_t sectors, const std::filesystem::path& path);

// A file with grain tables; throws if its magic is not the one wanted.
ReferenceExtent open_tables(const std::shared_ptr<ReferenceFile>& file, std::uint32_t magic);

// The extent that a line of a descriptor in `folder` means.
ReferenceExtent open_extent(const ReferenceDescriptor::ExtentLine& line,
                            const std::filesystem::path& folder);

}  // namespace grainmill::testing
