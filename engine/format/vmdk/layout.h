// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/units.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace grainmill::vmdk {

// The binary structures of VMDK extent files, as bytes and as structs. Pure: nothing here opens or
// reads a file. Sector numbers keep their unit in their name; everything that leaves this folder is
// in bytes. Sources: VMware, "Virtual Disk Format 5.0" (hosted sparse, stream-optimised); the COWD
// layout of VMFS 3 as in libyal's "VMDK format" document.

// Bits of HostedHeader::flags ("Hosted Sparse Extent Header").
inline constexpr std::uint32_t kFlagNewlineTest = 1U << 0;
inline constexpr std::uint32_t kFlagRedundantTables = 1U << 1;
inline constexpr std::uint32_t kFlagZeroedGrain = 1U << 2;
inline constexpr std::uint32_t kFlagCompressed = 1U << 16;
inline constexpr std::uint32_t kFlagMarkers = 1U << 17;

// gdOffset of a header whose real directory position is in the footer ("Stream-Optimized Compressed
// Sparse Extents").
inline constexpr std::uint64_t kDirectoryAtEnd = ~std::uint64_t{0};

// A grain table entry that says "zeros", where the header allows it (version 2).
inline constexpr std::uint32_t kZeroedGrainEntry = 1;

struct HostedHeader {
  std::uint32_t version = 0;
  std::uint32_t flags = 0;
  std::uint64_t capacity_sectors = 0;
  std::uint64_t grain_sectors = 0;
  std::uint64_t descriptor_sector = 0;   // 0: none
  std::uint64_t descriptor_sectors = 0;  // its length
  std::uint32_t entries_per_table = 0;
  std::uint64_t redundant_directory_sector = 0;
  std::uint64_t directory_sector = 0;
  std::uint64_t overhead_sectors = 0;  // the first sector that may hold grains
  bool unclean_shutdown = false;
  std::uint16_t compress_algorithm = 0;  // 0 none, 1 deflate

  [[nodiscard]] bool compressed() const { return (flags & kFlagCompressed) != 0; }
  [[nodiscard]] bool has_redundant_tables() const {
    return (flags & kFlagRedundantTables) != 0 && redundant_directory_sector != 0;
  }
  [[nodiscard]] std::uint64_t grain_bytes() const { return grain_sectors * kSectorBytes; }
  [[nodiscard]] std::uint64_t capacity_bytes() const { return capacity_sectors * kSectorBytes; }
};

// Reads and checks a hosted sparse header or footer: every field by itself and against the others,
// so that later arithmetic on them cannot overflow. `path` and `offset` are for messages. REQUIRES:
// 512 bytes.
[[nodiscard]] Result<HostedHeader> parse_hosted_header(std::span<const std::byte> bytes,
                                                       std::string_view path, std::uint64_t offset);

// The header's bytes; parse_hosted_header() of them gives it back.
[[nodiscard]] std::array<std::byte, kSectorBytes> encode_hosted_header(const HostedHeader& header);

struct CowdHeader {
  std::uint64_t capacity_sectors = 0;
  std::uint64_t grain_sectors = 0;
  std::uint64_t directory_sector = 0;
  std::uint32_t directory_entries = 0;
  std::uint64_t free_sector = 0;
  bool unclean_shutdown = false;
};

inline constexpr std::size_t kCowdHeaderBytes = 2048;
inline constexpr std::uint32_t kCowdEntriesPerTable = 4096;

// REQUIRES: kCowdHeaderBytes bytes.
[[nodiscard]] Result<CowdHeader> parse_cowd_header(std::span<const std::byte> bytes,
                                                   std::string_view path);

// What begins every block of a stream-optimised extent. size > 0: a grain, followed by `size` bytes
// of zlib stream. size == 0: a marker of `type`, one sector long, followed by `address` sectors of
// payload.
struct BlockHeader {
  std::uint64_t address = 0;  // grain: its first guest sector. marker: sectors of payload
  std::uint32_t size = 0;
  std::uint32_t type = 0;
};

inline constexpr std::size_t kGrainHeaderBytes = 12;
inline constexpr std::size_t kMarkerHeaderBytes = 16;
enum MarkerType : std::uint32_t {
  marker_end_of_stream = 0,
  marker_grain_table = 1,
  marker_grain_directory = 2,
  marker_footer = 3,
  marker_progress = 4,  // not in the specification; seen from vSphere, no payload
};

// REQUIRES: kMarkerHeaderBytes bytes.
[[nodiscard]] BlockHeader parse_block_header(std::span<const std::byte> bytes);

// The most bytes a grain block may take: a stream that does not shrink may be longer than its
// grain, and readers since 2010 have accepted up to twice the grain.
[[nodiscard]] constexpr std::uint64_t max_block_bytes(std::uint64_t grain_bytes) {
  return kGrainHeaderBytes + 2 * grain_bytes;
}

// What a file is, by its first bytes.
[[nodiscard]] bool has_hosted_magic(std::span<const std::byte> head);
[[nodiscard]] bool has_cowd_magic(std::span<const std::byte> head);

}  // namespace grainmill::vmdk
