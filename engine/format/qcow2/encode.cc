// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/encode.h"

#include "engine/base/byte_order.h"

#include <algorithm>

namespace grainmill::qcow2 {
namespace {

constexpr std::uint32_t kMagicNumber = 0x514649fb;  // "QFI\xfb"
constexpr std::uint32_t kHeaderBytes = 112;         // with the compression type
constexpr std::uint32_t kEndExtensionBytes = 8;

}  // namespace

std::vector<std::byte> encode_header(const Header& header) {
  std::vector<std::byte> bytes(kHeaderBytes + kEndExtensionBytes);
  std::byte* const at = bytes.data();
  store_be(at, kMagicNumber);
  store_be(at + 4, header.version);
  store_be(at + 20, std::uint32_t{header.cluster_bits});
  store_be(at + 24, header.size_bytes);
  store_be(at + 36, header.l1_entries);
  store_be(at + 40, header.l1_offset);
  store_be(at + 48, header.refcount_table_offset);
  store_be(at + 56, header.refcount_table_clusters);
  store_be(at + 72, header.incompatible);
  store_be(at + 80, header.compatible);
  store_be(at + 88, header.autoclear);
  store_be(at + 96, std::uint32_t{header.refcount_order});
  store_be(at + 100, kHeaderBytes);
  at[104] = std::byte{static_cast<std::uint8_t>(header.compression)};
  return bytes;
}

std::optional<std::uint64_t> encode_entry(const Mapping& mapping, const Header& header) {
  constexpr std::uint64_t kSectorBits = 9;
  if (mapping.kind == Mapping::Kind::data) {
    if ((mapping.offset & ~kOffsetMask) != 0) return std::nullopt;
    return mapping.offset | kCopied;
  }
  // "Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8).
  const unsigned sectors_at = 62 - (header.cluster_bits - 8);
  const std::uint64_t limit =
      std::min<std::uint64_t>(std::uint64_t{1} << sectors_at, std::uint64_t{1} << 56);
  if (mapping.offset >= limit) return std::nullopt;
  const std::uint64_t last = mapping.offset + mapping.stored_bytes - 1;
  const std::uint64_t more_sectors = (last >> kSectorBits) - (mapping.offset >> kSectorBits);
  return kCompressed | more_sectors << sectors_at | mapping.offset;
}

}  // namespace grainmill::qcow2
