// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/tables.h"

#include "engine/base/byte_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace grainmill::qcow2 {
namespace {

Status read_quads(const File& file, std::uint64_t offset, std::span<std::uint64_t> out) {
  GM_CHECK(file.read_exact_at(offset, std::as_writable_bytes(out)));
  for (std::uint64_t& quad : out) quad = swap_if(quad, std::endian::big);
  return {};
}

}  // namespace

Result<MappingTables> MappingTables::open(const File& file, Header header) {
  GM_TRY(const FileInfo info, file.info());
  const std::uint64_t bytes = std::uint64_t{header.l1_entries} * 8;
  if (header.l1_entries != 0 && !range_within(header.l1_offset, bytes, info.size_bytes))
    return fail(ErrorKind::corrupt, file.path(), header.l1_offset,
                fmt::format("L1 table of {} bytes does not fit in the file of {} bytes: it is "
                            "truncated, or its header is damaged",
                            bytes, info.size_bytes));
  MappingTables tables(file, std::move(header));
  tables.l1_.resize(bytes / 8);
  GM_CHECK(read_quads(file, tables.header_.l1_offset, tables.l1_));
  GM_CHECK(tables.check_l1(info.size_bytes));
  return tables;
}

Status MappingTables::check_l1(std::uint64_t file_bytes) const {
  for (std::uint64_t i = 0; i < l1_.size(); ++i) {
    const auto offset = decode_table_entry(l1_[i], header_);
    if (!offset)
      return fail(ErrorKind::corrupt, file_->path(), l1_entry_offset(i),
                  fmt::format("L1 entry {} is {:#x}, {}", i, l1_[i], offset.error()));
    if (*offset == 0 || range_within(*offset, header_.cluster_bytes(), file_bytes)) continue;
    return fail(ErrorKind::corrupt, file_->path(), l1_entry_offset(i),
                fmt::format("L1 entry {} points at offset {:#x}, past the end of the file ({:#x}): "
                            "the file is truncated or the entry is damaged",
                            i, *offset, file_bytes));
  }
  return {};
}

std::uint64_t MappingTables::entry_offset(std::uint64_t cluster) const {
  const std::uint64_t per_table = header_.entries_per_table();
  return table_offset(cluster / per_table) + cluster % per_table * 8;
}

Status MappingTables::load(std::uint64_t first, std::span<std::uint64_t> out) const {
  const std::uint64_t offset = entry_offset(first);
  GM_TRY(const bool stored, file_->stores_any(offset, out.size_bytes()));
  if (stored) return read_quads(*file_, offset, out);
  std::ranges::fill(out, std::uint64_t{0});
  return {};
}

std::string MappingTables::entry_name(std::uint64_t cluster) const {
  return fmt::format("L2 entry for address {:#x}", cluster * header_.cluster_bytes());
}

Result<Mapping> MappingTables::mapping(std::uint64_t cluster, std::uint64_t entry,
                                       std::uint64_t file_bytes) const {
  const auto decoded = decode_entry(entry, header_);
  if (!decoded)
    return fail(ErrorKind::corrupt, file_->path(), entry_offset(cluster),
                fmt::format("{} is {:#x}, {}", entry_name(cluster), entry, decoded.error()));
  Mapping mapping = *decoded;
  if (mapping.kind == Mapping::Kind::none || mapping.kind == Mapping::Kind::zero) return mapping;
  const std::uint64_t cluster_bytes = header_.cluster_bytes();
  const std::uint64_t guest_offset = cluster * cluster_bytes;
  const std::uint64_t left =
      guest_offset < header_.size_bytes ? header_.size_bytes - guest_offset : 1;
  const bool compressed = mapping.kind == Mapping::Kind::compressed;
  const std::uint64_t needed = compressed ? 1 : std::min(cluster_bytes, left);
  if (mapping.offset < cluster_bytes || !range_within(mapping.offset, needed, file_bytes))
    return fail(ErrorKind::corrupt, file_->path(), entry_offset(cluster),
                fmt::format("{} points at offset {:#x}, {}", entry_name(cluster), mapping.offset,
                            mapping.offset < cluster_bytes
                                ? std::string("inside the header")
                                : fmt::format("past the end of the file ({:#x}): the file is "
                                              "truncated or the entry is damaged",
                                              file_bytes)));
  mapping.stored_bytes = std::min(mapping.stored_bytes, file_bytes - mapping.offset);
  return mapping;
}

}  // namespace grainmill::qcow2
