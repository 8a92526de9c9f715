// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/stream_walk.h"

#include "engine/base/arith.h"
#include "engine/codec/inflate.h"

#include <algorithm>
#include <span>

namespace grainmill::vmdk {
namespace {

class Walker {
 public:
  Walker(const File& file, const HostedHeader& header, const std::set<std::uint64_t>& known)
      : file_(file),
        header_(header),
        known_(known),
        stored_(align_up(max_block_bytes(header.grain_bytes()), kSectorBytes)),
        grain_(header.grain_bytes()) {}

  Result<StreamWalk> run() {
    GM_TRY(const FileInfo info, file_.info());
    std::uint64_t at = header_.overhead_sectors;
    if (at == 0 || at * kSectorBytes >= info.size_bytes) {
      walk_.whole = false;
      if (known_.empty()) return std::move(walk_);
      at = *known_.begin();
    }
    const std::uint64_t end = info.size_bytes / kSectorBytes;
    while (at < end && !at_end_) {
      GM_TRY(const std::size_t got, file_.read_at(at * kSectorBytes, stored_));
      if (got < kMarkerHeaderBytes) break;
      at += take_block(at, std::span(stored_).first(got));
      if (!gap_) walk_.end_byte = at * kSectorBytes;
    }
    return std::move(walk_);
  }

 private:
  // Returns how many sectors it takes.
  std::uint64_t take_block(std::uint64_t at, std::span<const std::byte> stored) {
    const BlockHeader block = parse_block_header(stored);
    if (const std::uint64_t sectors = take_grain(at, block, stored); sectors != 0) return sectors;
    if (block.size == 0 && block.type <= marker_progress) {
      const std::uint64_t payload = block.type == marker_progress ? 0 : block.address;
      constexpr std::uint64_t kMostPayload = 1 << 24;
      if (block.type == marker_end_of_stream && payload == 0 && !known_behind(at)) {
        at_end_ = true;
        walk_.ended = true;
        return 1;
      }
      if (block.type != marker_end_of_stream && payload <= kMostPayload) {
        gap_ = false;
        walk_.markers.push_back({at, block.type, payload});
        return 1 + payload;
      }
    }
    // Go on at the next sector where something can be read.
    walk_.whole = false;
    gap_ = true;
    return 1;
  }

  [[nodiscard]] bool known_behind(std::uint64_t at) const {
    return known_.upper_bound(at) != known_.end();
  }

  std::uint64_t take_grain(std::uint64_t at, const BlockHeader& block,
                           std::span<const std::byte> stored) {
    std::size_t produced = 0;
    const std::span<const std::byte> payload = stored.subspan(kGrainHeaderBytes);
    // A zlib stream says what it is in its first two bytes (RFC 1950, 2.2).
    constexpr unsigned kDeflate = 8;
    constexpr unsigned kCheck = 31;
    const unsigned first = payload.size() < 2 ? 0U : std::to_integer<unsigned>(payload[0]);
    const bool zlib = (first & 0xfU) == kDeflate &&
                      ((first << 8U) + std::to_integer<unsigned>(payload[1])) % kCheck == 0;
    const std::size_t length = zlib ? inflater_.zlib_length(payload, grain_, produced) : 0;
    const bool sized = block.size != 0 && block.size <= 2 * header_.grain_bytes();
    if (length != 0) {
      // Some writers count the padding too.
      const bool padded = sized && block.size > length &&
                          block.size <= align_up(kGrainHeaderBytes + length, kSectorBytes);
      const bool differs = block.size != length && !padded;
      return add(at, block, static_cast<std::uint32_t>(differs ? length : block.size), differs);
    }
    // Damaged inside, but known or marked as what it is.
    const bool marked = sized && block.address < header_.capacity_sectors &&
                        block.address % header_.grain_sectors == 0;
    return marked && (zlib || known_.contains(at)) ? add(at, block, block.size, false) : 0;
  }

  std::uint64_t add(std::uint64_t at, const BlockHeader& block, std::uint32_t size, bool differs) {
    gap_ = false;
    walk_.grains.push_back({at, block.address, size, differs});
    return ceil_div(kGrainHeaderBytes + size, kSectorBytes);
  }

  const File& file_;
  const HostedHeader& header_;
  const std::set<std::uint64_t>& known_;
  std::vector<std::byte> stored_;
  std::vector<std::byte> grain_;
  Inflater inflater_;
  StreamWalk walk_;
  bool gap_ = false;
  bool at_end_ = false;
};

}  // namespace

Result<StreamWalk> walk_stream(const File& file, const HostedHeader& header,
                               const std::set<std::uint64_t>& known) {
  return Walker(file, header, known).run();
}

}  // namespace grainmill::vmdk
