// SPDX-License-Identifier: Apache-2.0
//
// What a rotten block says of its own length may be what rotted. A block that is written over its
// real end destroys its neighbour, which nobody would look at again; so how much room it has is
// taken from what surrounds it, and its own header only believed where all of that agrees.
#include "engine/format/vmdk/block_in_place.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/codec/deflate.h"
#include "engine/codec/zero_scan.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace grainmill::vmdk {
namespace {

// RFC 1950, 2.2: deflate, and a check over both bytes.
bool begins_zlib(std::span<const std::byte> stream) {
  const auto first = std::to_integer<unsigned>(stream[0]);
  return (first & 0xfU) == 8 && (first * 256 + std::to_integer<unsigned>(stream[1])) % 31 == 0;
}

class Place {
 public:
  Place(const LinkMap& link, const Extent& extent, const BlockNeighbours& beside)
      : link_(link), extent_(extent), beside_(beside) {}

  // How many bytes from the beginning of the block on are its own: whole sectors, but at the end of
  // a file.
  Result<std::size_t> room() {
    GM_CHECK(read());
    GM_TRY(const std::size_t end, find_end());
    return static_cast<std::size_t>(std::min<std::uint64_t>(end, behind_ - extent_.file_offset));
  }

  [[nodiscard]] std::unexpected<Error> fail(const std::string& what) const {
    return grainmill::fail(ErrorKind::corrupt, extent_.file->path(), extent_.file_offset,
                           "the compressed grain stored here " + what);
  }

 private:
  Result<std::size_t> find_end() {
    const BlockHeader header = parse_block_header(bytes_);
    const bool ours = header.size != 0 && header.address == extent_.grain_address / kSectorBytes;
    if (ours && is_sound_end(header.size))
      return align_up(kGrainHeaderBytes + header.size, kSectorBytes);
    if (!whole_)
      return fail(
          "cannot be read everywhere, and its header is damaged, so how much room it has "
          "is not known");
    if (!ours) GM_CHECK(check_previous());
    std::size_t end = first_foreign(bytes_.size());
    if (end < bytes_.size()) return end;
    if (extent_.file_offset + end < behind_)
      return fail("has a damaged header, and nothing behind it says where it ends");
    // The end of a stream is a sector of zeros.
    while (!beside_.next && end > kSectorBytes && is_zero(sector(end - kSectorBytes)))
      end -= kSectorBytes;
    return end;
  }

  // Sectors that cannot be read count as zeros.
  Status read() {
    GM_TRY(const FileInfo info, extent_.file->info());
    behind_ = beside_.next.value_or(info.size_bytes);
    const std::uint64_t most = align_up(max_block_bytes(extent_.grain_bytes), kSectorBytes);
    bytes_.resize(std::min(align_up(behind_ - extent_.file_offset, kSectorBytes), most));
    for (std::size_t at = 0; at < bytes_.size(); at += kSectorBytes)
      if (!extent_.file->read_at(extent_.file_offset + at, sector(at))) whole_ = false;
    return {};
  }

  [[nodiscard]] std::span<std::byte> sector(std::size_t at) {
    return std::span(bytes_).subspan(at, kSectorBytes);
  }

  [[nodiscard]] std::span<const std::byte> sector(std::size_t at) const {
    return std::span(bytes_).subspan(at, kSectorBytes);
  }

  // Whether a block of this size would end where one can: zeros up to the end of a sector that has
  // something, nothing else begun before, and behind it something else, or zeros.
  [[nodiscard]] bool is_sound_end(std::uint32_t size) const {
    if (!range_within(kGrainHeaderBytes, size, bytes_.size())) return false;
    const std::size_t used = kGrainHeaderBytes + size;
    const std::size_t end = align_up(used, kSectorBytes);
    if (!is_zero(std::span(bytes_).subspan(used, end - used))) return false;
    if (whole_ && is_zero(sector(end - kSectorBytes))) return false;
    if (first_foreign(end) != end) return false;
    return end == bytes_.size() || is_foreign(end) || is_zero(sector(end));
  }

  // The first sector before `end` where something else begins that was not overwritten.
  [[nodiscard]] std::size_t first_foreign(std::size_t end) const {
    for (std::size_t at = kSectorBytes; at < end; at += kSectorBytes)
      if (is_foreign(at)) return at;
    return end;
  }

  // A marker, or a grain that no table knows.
  [[nodiscard]] bool is_foreign(std::size_t at) const {
    const std::span<const std::byte> bytes = sector(at);
    const BlockHeader header = parse_block_header(bytes);
    if (header.size == 0) {
      constexpr std::uint64_t kMostPayload = 1 << 24;
      return header.type != marker_end_of_stream && header.type <= marker_progress &&
             header.address <= kMostPayload && is_zero(bytes.subspan(kMarkerHeaderBytes));
    }
    return header.size <= 2 * std::uint64_t{extent_.grain_bytes} &&
           header.address < ceil_div(link_.size_bytes(), kSectorBytes) &&
           header.address % (extent_.grain_bytes / kSectorBytes) == 0 &&
           begins_zlib(bytes.subspan(kGrainHeaderBytes));
  }

  // The header says nothing, so it may be the table entry that is wrong. Then it points into
  // another block, and that one says so.
  [[nodiscard]] Status check_previous() const {
    if (!beside_.previous) return {};
    std::array<std::byte, kMarkerHeaderBytes> bytes{};
    GM_CHECK(extent_.file->read_exact_at(*beside_.previous, bytes));
    const BlockHeader previous = parse_block_header(bytes);
    const std::uint64_t end =
        *beside_.previous + align_up(kGrainHeaderBytes + previous.size, kSectorBytes);
    if (previous.size != 0 && end <= extent_.file_offset) return {};
    return fail(
        fmt::format("has no header of its own, and may be a part of the one at {:#x}: "
                    "`grainmill check --repair` first",
                    *beside_.previous));
  }

  const LinkMap& link_;
  const Extent& extent_;
  const BlockNeighbours& beside_;
  std::uint64_t behind_ = 0;      // where something else is known to begin
  std::vector<std::byte> bytes_;  // from the block on up to there
  bool whole_ = true;             // all of them could be read
};

// Lengthens a zlib stream to at least this size by empty blocks. Sectors left over behind a grain
// would be the end of the stream to those who read it from its beginning.
void lengthen(std::vector<std::byte>& stream, std::size_t least) {
  constexpr std::array<std::byte, 5> kEmpty = {std::byte{0}, std::byte{0}, std::byte{0},
                                               std::byte{0xff}, std::byte{0xff}};
  if (stream.size() >= least) return;
  constexpr std::size_t kZlibHeader = 2;
  const std::size_t blocks = ceil_div(least - stream.size(), kEmpty.size());
  std::vector<std::byte> empty;
  for (std::size_t i = 0; i < blocks; ++i) empty.insert(empty.end(), kEmpty.begin(), kEmpty.end());
  stream.insert(stream.begin() + kZlibHeader, empty.begin(), empty.end());
}

// Empty where none is so short.
std::vector<std::byte> deflate_to(std::span<const std::byte> grain, std::size_t most) {
  std::vector<std::byte> stream;
  for (const DeflateLevel level : {DeflateLevel::standard, DeflateLevel::highest}) {
    stream.resize(deflate_bound(grain.size()));
    std::size_t size = Deflater(DeflateWrapper::zlib, level).compress(grain, stream);
    if (size == 0) size = store_zlib(grain, stream);
    stream.resize(size);
    if (size <= most) return stream;
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> deflate_grain_in_place(const LinkMap& link, const Extent& extent,
                                                      const BlockNeighbours& beside,
                                                      std::span<const std::byte> grain) {
  Place place(link, extent, beside);
  GM_TRY(const std::size_t room, place.room());
  std::vector<std::byte> stream = deflate_to(grain, room - kGrainHeaderBytes);
  if (stream.empty())
    return place.fail(
        fmt::format("has {} bytes of room, and the right data needs more: convert "
                    "the image that it is healed from, to have a new one",
                    room));
  if (room > kSectorBytes) lengthen(stream, room - kSectorBytes - kGrainHeaderBytes + 1);
  std::vector<std::byte> block(room);
  store_le(block.data(), extent.grain_address / kSectorBytes);
  store_le(block.data() + 8, static_cast<std::uint32_t>(stream.size()));
  std::ranges::copy(stream, block.begin() + kGrainHeaderBytes);
  return block;
}

}  // namespace grainmill::vmdk
