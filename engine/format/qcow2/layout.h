// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/arith.h"
#include "engine/base/error.h"
#include "engine/base/units.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace grainmill::qcow2 {

// The structures of a qcow2 image, as bytes and as structs. Pure: nothing here opens or reads a
// file. All numbers are big-endian in the file, and bytes unless their names say otherwise. Source:
// QEMU, docs/interop/qcow2.txt.

inline constexpr unsigned kMinClusterBits = 9;
inline constexpr unsigned kMaxClusterBits = 21;
// Enough of a file to know how long its first cluster is, which holds the header and all that
// belongs to it.
inline constexpr std::size_t kHeaderStartBytes = 24;

// Bits of Header::incompatible.
inline constexpr std::uint64_t kDirty = 1U << 0;  // refcounts may be too low
inline constexpr std::uint64_t kCorrupt = 1U << 1;
inline constexpr std::uint64_t kExternalData = 1U << 2;
inline constexpr std::uint64_t kCompressionType = 1U << 3;
inline constexpr std::uint64_t kExtendedL2 = 1U << 4;
// Of Header::compatible and Header::autoclear.
inline constexpr std::uint64_t kLazyRefcounts = 1U << 0;
inline constexpr std::uint64_t kBitmapsValid = 1U << 0;

enum class Compression : std::uint8_t { zlib = 0, zstd = 1 };

struct Header {
  std::uint32_t version = 0;
  unsigned cluster_bits = 0;
  std::uint64_t size_bytes = 0;  // of the guest disk
  std::uint32_t l1_entries = 0;
  std::uint64_t l1_offset = 0;
  std::uint64_t refcount_table_offset = 0;
  std::uint32_t refcount_table_clusters = 0;
  unsigned refcount_order = 4;  // a count has 1 << refcount_order bits
  std::uint32_t snapshots = 0;
  std::uint64_t snapshots_offset = 0;
  std::uint64_t incompatible = 0;
  std::uint64_t compatible = 0;
  std::uint64_t autoclear = 0;
  Compression compression = Compression::zlib;
  std::string backing_file;    // empty: none
  std::string backing_format;  // empty: not stated
  std::uint32_t bitmaps = 0;
  std::uint64_t bitmap_directory_offset = 0;
  std::uint64_t bitmap_directory_bytes = 0;

  [[nodiscard]] std::uint64_t cluster_bytes() const { return std::uint64_t{1} << cluster_bits; }
  [[nodiscard]] std::uint64_t clusters() const { return ceil_div(size_bytes, cluster_bytes()); }
  [[nodiscard]] std::uint64_t entries_per_table() const { return cluster_bytes() / 8; }
  // How many entries of the L1 table the disk needs; it may have more.
  [[nodiscard]] std::uint64_t tables() const { return ceil_div(clusters(), entries_per_table()); }
  [[nodiscard]] std::uint64_t refcounts_per_block() const {
    return cluster_bytes() * 8 >> refcount_order;
  }
  [[nodiscard]] bool dirty() const { return (incompatible & kDirty) != 0; }
  [[nodiscard]] bool corrupt() const { return (incompatible & kCorrupt) != 0; }
};

[[nodiscard]] bool has_magic(std::span<const std::byte> head);
// The version of a file that has_magic(); nullopt if the file ends before it.
[[nodiscard]] std::optional<std::uint32_t> version_of(std::span<const std::byte> head);

// The length of the first cluster. `head`: kHeaderStartBytes of the file, or all it has.
[[nodiscard]] Result<std::uint64_t> parse_cluster_bytes(std::span<const std::byte> head,
                                                        std::string_view path);

// Reads and checks the header with its extensions: every field by itself and against the others, so
// that later arithmetic on them cannot overflow. Features that are not read are refused by name.
// `head`: the first cluster, or as much of it as the file has. `path` is for messages.
[[nodiscard]] Result<Header> parse_header(std::span<const std::byte> head, std::string_view path);

// Where an entry of the L1 table, the refcount table or a standard L2 entry points.
inline constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;
inline constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kZero = 1;

// What an L2 entry says of a guest cluster.
struct Mapping {
  enum class Kind : std::uint8_t { none, zero, data, compressed };
  Kind kind = Kind::none;
  std::uint64_t offset = 0;        // zero: of a cluster that is kept for later, or 0
  std::uint64_t stored_bytes = 0;  // compressed: up to the end of its last sector
};

// An entry that is not valid gives what is wrong with it, as the end of a sentence.
[[nodiscard]] std::expected<Mapping, std::string_view> decode_entry(std::uint64_t entry,
                                                                    const Header& header);
// The same for an L1 entry: where the L2 table is, 0 for none.
[[nodiscard]] std::expected<std::uint64_t, std::string_view> decode_table_entry(
    std::uint64_t entry, const Header& header);

// How many L2 entries from `first` on are of one run: all missing, or each going on in the file
// where the one before ends. Compressed ones are alone.
[[nodiscard]] std::size_t run_length(std::span<const std::uint64_t> entries, std::size_t first,
                                     std::uint64_t cluster_bytes);

// The count number `index` of a refcount block. REQUIRES: the block holds it.
[[nodiscard]] std::uint64_t refcount_at(std::span<const std::byte> block, std::size_t index,
                                        unsigned order);

// An entry of the snapshot table: only what tells which clusters it takes.
struct SnapshotEntry {
  std::uint64_t l1_offset = 0;
  std::uint32_t l1_entries = 0;
  std::uint64_t bytes = 0;  // of the entry itself, with its padding
};
inline constexpr std::size_t kSnapshotEntryBytes = 40;
// REQUIRES: kSnapshotEntryBytes bytes.
[[nodiscard]] SnapshotEntry parse_snapshot_entry(std::span<const std::byte> bytes);

// The largest L1 table that is read, qemu's own limit: 2 PiB of disk in clusters of 64 KiB.
inline constexpr std::uint64_t kMaxL1Bytes = 32 * kMiB;

}  // namespace grainmill::qcow2
