// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/empty_extent.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"

#include <algorithm>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint32_t kEntriesPerTable = 512;
constexpr std::uint64_t kTableSectors = kEntriesPerTable * sizeof(std::uint32_t) / kSectorBytes;
// Room for a descriptor to grow, as everybody leaves it; qemu rewrites all of it.
constexpr std::uint64_t kDescriptorSectors = 20;

std::uint64_t table_count(const HostedHeader& header) {
  return ceil_div(ceil_div(header.capacity_sectors, header.grain_sectors), kEntriesPerTable);
}

std::uint64_t directory_sectors(const HostedHeader& header) {
  return ceil_div(table_count(header) * sizeof(std::uint32_t), kSectorBytes);
}

// The tables themselves are holes of the file: no grain is stored.
Status write_directory(File& file, const HostedHeader& header, std::uint64_t sector) {
  std::vector<std::byte> bytes(directory_sectors(header) * kSectorBytes);
  const std::uint64_t first = sector + directory_sectors(header);
  for (std::uint64_t i = 0; i < table_count(header); ++i)
    store_le(bytes.data() + i * sizeof(std::uint32_t),
             static_cast<std::uint32_t>(first + i * kTableSectors));
  return file.write_at(sector * kSectorBytes, bytes);
}

}  // namespace

HostedHeader plan_hosted_extent(const EmptyExtentOptions& options) {
  HostedHeader header;
  header.version = options.zeroed_grains ? 2 : 1;
  header.flags = kFlagNewlineTest | kFlagRedundantTables;
  if (options.zeroed_grains) header.flags |= kFlagZeroedGrain;
  header.capacity_sectors = options.capacity_sectors;
  header.grain_sectors = options.grain_sectors;
  header.entries_per_table = kEntriesPerTable;
  std::uint64_t next = 1;
  if (options.text_bytes != 0) {
    header.descriptor_sector = next;
    header.descriptor_sectors =
        std::max(kDescriptorSectors, ceil_div(options.text_bytes, kSectorBytes));
    next += header.descriptor_sectors;
  }
  const std::uint64_t copy = directory_sectors(header) + table_count(header) * kTableSectors;
  header.redundant_directory_sector = next;
  header.directory_sector = next + copy;
  header.overhead_sectors = align_up(next + 2 * copy, header.grain_sectors);
  return header;
}

bool can_be_filled(const HostedHeader& header) {
  constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 32;
  return header.overhead_sectors + align_up(header.capacity_sectors, header.grain_sectors) <=
         kMaxSectors;
}

Status write_empty_extent(File& file, const HostedHeader& header, std::string_view text) {
  GM_TRY(const FileInfo info, file.info());
  if (info.size_bytes < header.overhead_sectors * kSectorBytes)
    GM_CHECK(file.resize(header.overhead_sectors * kSectorBytes));
  GM_CHECK(file.write_at(0, encode_hosted_header(header)));
  if (!text.empty())
    GM_CHECK(
        file.write_at(header.descriptor_sector * kSectorBytes, std::as_bytes(std::span(text))));
  GM_CHECK(write_directory(file, header, header.redundant_directory_sector));
  return write_directory(file, header, header.directory_sector);
}

}  // namespace grainmill::vmdk
