// SPDX-License-Identifier: Apache-2.0
//
// A small language for disk layouts: what a test disk holds, apart from how a format stores it.
//
//   "64k:A 64k:- 64k:0 | 64k:^ 64k:B"     base first, " | " between the links of a chain
//
// A segment is SIZE:KIND. SIZE is a decimal number with a suffix: s (sectors of 512 bytes), k, m, g
// or t. KIND is one of
//   A..Z  data: compressible, and different for every letter and every guest offset, so that a
//   grain which turns up in
//         the wrong place is noticed
//   r     data that does not compress; differs for every guest offset
//   z     zero bytes that are stored like data
//   0     explicit zeros (a grain table entry of 1): hides what the parent has
//   -     hole: nothing stored; falls to the parent, zeros without one
//   ^     the same as a hole, for deltas: says that the parent is meant to show through
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {

struct Segment {
  std::uint64_t guest_offset = 0;
  std::uint64_t size_bytes = 0;
  char kind = '-';

  std::uint64_t end() const { return guest_offset + size_bytes; }
  bool is_hole() const { return kind == '-' || kind == '^'; }
  bool is_explicit_zero() const { return kind == '0'; }
  bool is_stored() const { return !is_hole() && !is_explicit_zero(); }
  bool operator==(const Segment&) const = default;
};

// One link of a chain. The segments are gapless, ascending, and never empty.
struct LinkLayout {
  std::vector<Segment> segments;

  std::uint64_t size_bytes() const { return segments.empty() ? 0 : segments.back().end(); }
  bool operator==(const LinkLayout&) const = default;
};

// A chain, base first. Links may differ in size.
struct Layout {
  std::vector<LinkLayout> links;

  // The size a guest sees: that of the last link.
  std::uint64_t size_bytes() const { return links.empty() ? 0 : links.back().size_bytes(); }
  bool operator==(const Layout&) const = default;
};

// Throws std::invalid_argument on any text that is not a layout; '^' in the base is an error too.
Layout parse_layout(std::string_view text);

// The inverse of parse_layout, with the largest suffix that fits each size.
std::string to_string(const Layout& layout);

// A layout that depends on nothing but its arguments. Most segments begin and end on grains, some
// on bare sectors; all links have `size_bytes`, a multiple of 512. REQUIRES: grain_bytes is a
// multiple of 512, links >= 1.
Layout random_layout(std::uint64_t seed, std::uint64_t size_bytes, std::uint64_t grain_bytes,
                     std::size_t links = 1);

// The bytes that a guest reads at `guest_offset` from the whole chain, or from the chain whose top
// is `top_link`. Holes fall to the parent; a smaller parent reads as zeros beyond its end; a larger
// one is clipped. Throws std::out_of_range past the end of the top link.
void expected_bytes(const Layout& layout, std::uint64_t guest_offset, std::span<std::byte> out);
void expected_bytes(const Layout& layout, std::size_t top_link, std::uint64_t guest_offset,
                    std::span<std::byte> out);
std::vector<std::byte> expected_bytes(const Layout& layout, std::uint64_t guest_offset,
                                      std::uint64_t size_bytes);

// The bytes of one kind at one place, also at a place that does not begin a line or word of the
// pattern.
void fill_pattern(char kind, std::uint64_t guest_offset, std::span<std::byte> out);

// A mixing function with good avalanche (SplitMix64), for deterministic choices in tests.
std::uint64_t mix(std::uint64_t value);

}  // namespace grainmill::testing
