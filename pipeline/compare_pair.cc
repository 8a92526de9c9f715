// SPDX-License-Identifier: Apache-2.0
#include "pipeline/compare_pair.h"

#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"
#include "pipeline/stages.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace grainmill {
namespace {

// What the kernel reads at once: a smaller part of a file cannot be told to be unreadable.
constexpr std::uint64_t kPageBytes = 4096;

// The bytes of a part of both disks; no bytes where one reads as zeros.
struct BytePair {
  std::span<const std::byte> one;
  std::span<const std::byte> other;

  [[nodiscard]] BytePair sub(std::uint64_t offset, std::uint64_t length) const {
    return {one.empty() ? one : one.subspan(offset, length),
            other.empty() ? other : other.subspan(offset, length)};
  }
  [[nodiscard]] bool same() const {
    if (one.empty()) return is_zero(other);
    if (other.empty()) return is_zero(one);
    return std::memcmp(one.data(), other.data(), one.size()) == 0;
  }
  // REQUIRES: not the same.
  [[nodiscard]] std::uint64_t first_difference() const {
    std::uint64_t at = 0;
    while (sub(at, 1).same()) ++at;
    return at;
  }
};

// Notes the sectors that differ in [begin, begin + length), neighbours as one; or the first one.
void note_sectors(std::vector<DiskDifference>& found, const BytePair& bytes, std::uint64_t begin,
                  std::uint64_t length, bool all) {
  bool goes_on = false;
  for (std::uint64_t at = 0; at < length;) {
    const std::uint64_t guest_offset = begin + at;
    const std::uint64_t sector_end = align_down(guest_offset, kSectorBytes) + kSectorBytes;
    const std::uint64_t size = std::min(sector_end - guest_offset, length - at);
    const BytePair sector = bytes.sub(at, size);
    const bool same = sector.same();
    if (!same && goes_on)
      found.back().length += size;
    else if (!same)
      found.push_back({.guest_offset = guest_offset,
                       .length = size,
                       .first_byte = guest_offset + sector.first_difference()});
    if (!same && !all) return;
    goes_on = !same;
    at += size;
  }
}

// Compares what has been read, in [begin, end).
void compare_parts(UnitPair& pair, std::uint64_t begin, std::uint64_t end, bool all) {
  const auto bytes_of = [](Unit& unit, std::uint64_t from, std::uint64_t length) {
    return unit.guest.bytes().subspan(from - unit.guest_offset, length);
  };
  for (const ComparedPart& part : pair.parts) {
    const std::uint64_t from = std::max(part.guest_offset, begin);
    const std::uint64_t to = std::min(part.guest_end(), end);
    if (from >= to) continue;
    const std::uint64_t length = to - from;
    BytePair bytes;
    if (part.needs != ComparedPart::Needs::other) bytes.one = bytes_of(pair.one, from, length);
    if (part.needs != ComparedPart::Needs::one) bytes.other = bytes_of(pair.other, from, length);
    if (bytes.same()) continue;
    note_sectors(pair.found, bytes, from, length, all);
    if (!all) return;
  }
}

Status read_unit(Unit& unit, const ChainMap& map) {
  fetch(unit);
  decode(unit, map);
  return unit.status;
}

// Finds out what of a pair cannot be read, and compares the rest.
class Divider {
 public:
  Divider(UnitPair& pair, const ChainMap& one, const ChainMap& other, bool all)
      : pair_(pair),
        one_(one),
        other_(other),
        all_(all),
        extents_of_one_(pair.one.extents),
        extents_of_other_(pair.other.extents) {}

  void run() { divide(pair_.one.guest_offset, pair_.one.guest_offset + pair_.one.length); }

 private:
  void divide(std::uint64_t begin, std::uint64_t end) {
    Status status = read(pair_.one, one_, extents_of_one_, begin, end);
    if (status) status = read(pair_.other, other_, extents_of_other_, begin, end);
    if (status) {
      compare_parts(pair_, begin, end, all_);
    } else if (end - begin > kPageBytes) {
      const std::uint64_t middle = begin + align_up((end - begin) / 2, kPageBytes);
      divide(begin, middle);
      if (all_ || is_clean()) divide(middle, end);
    } else {
      pair_.found.push_back({.kind = DiskDifference::Kind::unreadable,
                             .guest_offset = begin,
                             .length = end - begin,
                             .error = std::move(status).error()});
    }
  }

  // Whether nothing was found yet by reading.
  [[nodiscard]] bool is_clean() const {
    return pair_.found.empty() || pair_.found.back().kind == DiskDifference::Kind::allocation;
  }

  static Status read(Unit& unit, const ChainMap& map, const ExtentList& all, std::uint64_t begin,
                     std::uint64_t end) {
    unit.reset();
    unit.guest_offset = begin;
    unit.length = end - begin;
    for (const Extent& extent : all)
      if (extent.guest_end() > begin && extent.guest_offset < end)
        unit.extents.push_back(clip(extent, begin, end));
    return read_unit(unit, map);
  }

  UnitPair& pair_;
  const ChainMap& one_;
  const ChainMap& other_;
  bool all_;
  ExtentList extents_of_one_;
  ExtentList extents_of_other_;
};

}  // namespace

void UnitPair::reset(std::uint64_t begin) {
  guest_offset = begin;
  length = 0;
  one.reset();
  other.reset();
  parts.clear();
  found.clear();
  status = {};
}

void compare_pair(UnitPair& pair, const ChainMap& one, const ChainMap& other, bool all) {
  if (pair.parts.empty()) return;
  if (read_unit(pair.one, one) && read_unit(pair.other, other))
    compare_parts(pair, pair.guest_offset, pair.guest_offset + pair.length, all);
  else
    Divider(pair, one, other, all).run();
  std::ranges::sort(pair.found, {}, [](const DiskDifference& difference) {
    return std::pair(difference.guest_offset, difference.kind);
  });
}

}  // namespace grainmill
