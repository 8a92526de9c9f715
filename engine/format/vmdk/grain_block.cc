// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/grain_block.h"

#include "engine/base/arith.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace grainmill::vmdk {
namespace {

std::unexpected<Error> block_error(const Extent& extent, std::string message) {
  return fail(ErrorKind::corrupt, extent.file->path(), extent.file_offset, std::move(message));
}

// The header of the block behind an extent, checked against what the map promised.
Result<BlockHeader> check_block(const Extent& extent, std::span<const std::byte> stored) {
  const BlockHeader block = parse_block_header(stored);
  const std::uint64_t address = block.address * kSectorBytes;
  if (block.size == 0)
    return block_error(
        extent,
        fmt::format("a marker of type {} is stored here; expected the grain for address {:#x}",
                    block.type, extent.grain_address));
  if (block.address > ~std::uint64_t{0} / kSectorBytes || address != extent.grain_address)
    return block_error(extent, fmt::format("the grain stored here is marked as sector {} of the "
                                           "disk; expected sector {}: the grain "
                                           "table entry or the marker is damaged",
                                           block.address, extent.grain_address / kSectorBytes));
  if (!range_within(kGrainHeaderBytes, block.size, stored.size()))
    return block_error(extent,
                       fmt::format("the grain stored here claims {} bytes of compressed data; at "
                                   "most {} can be before the "
                                   "next grain or the end of the file: it is damaged or truncated",
                                   block.size, stored.size() - kGrainHeaderBytes));
  return block;
}

// A grain block behind another one that the tables do not point to: a lost table entry.
Status check_stray(const Extent& extent, std::uint64_t stray_offset, const BlockHeader& stray,
                   const LinkMap& link) {
  const std::uint64_t base = extent.guest_offset - extent.grain_skip - extent.grain_address;
  const std::optional<std::uint64_t> address = checked_mul(stray.address, kSectorBytes);
  if (!address || *address % extent.grain_bytes != 0 ||
      stray.size > 2 * std::uint64_t{extent.grain_bytes})
    return {};
  const std::uint64_t guest_offset = base + *address;
  if (guest_offset >= link.size_bytes()) return {};
  ExtentList known;
  GM_CHECK(link.map(guest_offset,
                    std::min<std::uint64_t>(extent.grain_bytes, link.size_bytes() - guest_offset),
                    known));
  if (known.front().kind == ExtentKind::deflated && known.front().file_offset == stray_offset)
    return {};
  return fail(ErrorKind::corrupt, extent.file->path(), stray_offset,
              fmt::format("a grain for sector {} is stored here, but the grain tables do not know "
                          "it: a table entry is lost or points "
                          "elsewhere",
                          stray.address));
}

// Looks through what follows a block, up to the next block known: markers and their payload, the
// end of the stream.
Status check_behind(const Extent& extent, std::span<const std::byte> stored, std::uint32_t size,
                    const LinkMap& link) {
  std::uint64_t at = align_up(kGrainHeaderBytes + size, kSectorBytes);
  while (range_within(at, kMarkerHeaderBytes, stored.size())) {
    const BlockHeader next = parse_block_header(stored.subspan(at));
    if (next.size != 0) return check_stray(extent, extent.file_offset + at, next, link);
    if (next.type == marker_end_of_stream || next.type > marker_progress) return {};
    const std::uint64_t payload = next.type == marker_progress ? 0 : next.address;
    if (payload > stored.size() / kSectorBytes) return {};
    at += (1 + payload) * kSectorBytes;
  }
  return {};
}

Status inflate_stream(const Extent& extent, std::span<const std::byte> stream, Inflater& inflater,
                      std::span<std::byte> out) {
  std::size_t produced = 0;
  switch (inflater.inflate_zlib(stream, out, produced)) {
    case InflateResult::ok:
      return {};
    case InflateResult::cut_short:
      // Some writers cut the last grain at the end of the disk, others pad it.
      if (produced == extent.grain_valid) return {};
      return block_error(extent, fmt::format("grain inflates to {} bytes; expected {}", produced,
                                             extent.grain_bytes));
    case InflateResult::too_long:
      return block_error(
          extent, fmt::format("grain inflates to more than its {} bytes", extent.grain_bytes));
    case InflateResult::damaged:
      break;
  }
  return block_error(extent, fmt::format("compressed data of the grain for address {:#x} is "
                                         "damaged (not a valid zlib stream, or its "
                                         "Adler-32 is wrong)",
                                         extent.grain_address));
}

}  // namespace

Status inflate_grain(const LinkMap& link, const Extent& extent, std::span<const std::byte> stored,
                     Inflater& inflater, std::span<std::byte> out) {
  GM_TRY(const BlockHeader block, check_block(extent, stored));
  GM_CHECK(inflate_stream(extent, stored.subspan(kGrainHeaderBytes, block.size), inflater, out));
  return check_behind(extent, stored, block.size, link);
}

}  // namespace grainmill::vmdk
