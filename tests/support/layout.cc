// SPDX-License-Identifier: Apache-2.0
#include "tests/support/layout.h"

#include "tests/support/little_endian.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace grainmill::testing {
namespace {

// A line of the compressible pattern: a word that tells letter and place, then the letter. One
// distinct word in 64 bytes deflates to about a fifth, and a grain moved by any multiple of 64
// bytes differs in every line.
constexpr std::size_t kPatternLine = 64;
constexpr std::size_t kPatternWord = 8;

struct Suffix {
  char letter;
  std::uint64_t bytes;
};
constexpr std::array<Suffix, 5> kSuffixes = {{{'t', 1ULL << 40},
                                              {'g', 1ULL << 30},
                                              {'m', 1ULL << 20},
                                              {'k', 1ULL << 10},
                                              {'s', kSectorSize}}};

[[noreturn]] void reject(std::string_view text, const char* why) {
  throw std::invalid_argument("layout '" + std::string(text) + "': " + why);
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = text.find_first_not_of(" \t\n", at)) != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::uint64_t parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number == 0) reject(text, "the size is not a positive number");
  if (end + 1 != text.data() + text.size()) reject(text, "the size needs one suffix of s k m g t");
  const auto suffix = std::ranges::find(kSuffixes, *end, &Suffix::letter);
  if (suffix == kSuffixes.end()) reject(text, "the size needs one suffix of s k m g t");
  // 2^60 leaves room for the sum of many segments.
  if (number > (1ULL << 60) / suffix->bytes) reject(text, "the size is too large");
  return number * suffix->bytes;
}

bool is_kind(std::string_view text) {
  return text.size() == 1 &&
         ((text[0] >= 'A' && text[0] <= 'Z') || std::string_view("rz0-^").contains(text[0]));
}

LinkLayout parse_link(std::span<const std::string_view> words, bool is_base) {
  LinkLayout link;
  for (const std::string_view word : words) {
    const std::size_t colon = word.find(':');
    if (colon == std::string_view::npos) reject(word, "a segment is SIZE:KIND");
    const std::string_view kind = word.substr(colon + 1);
    if (!is_kind(kind)) reject(word, "the kind is not one of A..Z r z 0 - ^");
    if (is_base && kind == "^") reject(word, "a base has no parent to inherit from");
    link.segments.push_back({link.size_bytes(), parse_size(word.substr(0, colon)), kind[0]});
  }
  if (link.segments.empty()) reject("", "a link is empty");
  return link;
}

std::string size_text(std::uint64_t size_bytes) {
  for (const Suffix& suffix : kSuffixes) {
    if (size_bytes % suffix.bytes == 0)
      return std::to_string(size_bytes / suffix.bytes) + suffix.letter;
  }
  throw std::invalid_argument("a segment is not a multiple of 512 bytes");
}

// Deterministic on every platform, unlike the standard distributions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed + 1)) {}
  std::uint64_t below(std::uint64_t bound) {
    return (state_ = mix(state_ + 0x9e3779b97f4a7c15)) % bound;
  }

 private:
  std::uint64_t state_;
};

char random_kind(Random& random, bool is_base) {
  constexpr std::string_view kBaseKinds = "ABCDEFr-----z0";
  constexpr std::string_view kDeltaKinds = "GHIJr^^^^^^^-z0";
  const std::string_view kinds = is_base ? kBaseKinds : kDeltaKinds;
  return kinds[random.below(kinds.size())];
}

LinkLayout random_link(Random& random, std::uint64_t size_bytes, std::uint64_t grain_bytes,
                       bool is_base) {
  LinkLayout link;
  const std::uint64_t grains = std::max<std::uint64_t>(size_bytes / grain_bytes, 1);
  const std::uint64_t longest = std::max<std::uint64_t>(grains / 8, 2);
  while (link.size_bytes() < size_bytes) {
    const std::uint64_t at = link.size_bytes();
    const bool on_sectors = random.below(8) == 0;
    const std::uint64_t unit = on_sectors ? kSectorSize : grain_bytes;
    const std::uint64_t most = on_sectors ? 2 * grain_bytes / kSectorSize : longest;
    // Back onto a grain after a stray sector, so that whole grains stay the common case.
    const std::uint64_t astray = on_sectors ? 0 : at % grain_bytes;
    const std::uint64_t size = (1 + random.below(most)) * unit - astray;
    link.segments.push_back({at, std::min(size, size_bytes - at), random_kind(random, is_base)});
  }
  return link;
}

void fill_from_parent(const Layout& layout, std::size_t top_link, std::uint64_t guest_offset,
                      std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
  if (top_link == 0) return;
  const std::uint64_t parent_size = layout.links[top_link - 1].size_bytes();
  if (guest_offset >= parent_size) return;
  const std::uint64_t length = std::min<std::uint64_t>(out.size(), parent_size - guest_offset);
  expected_bytes(layout, top_link - 1, guest_offset, out.first(length));
}

}  // namespace

std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

Layout parse_layout(std::string_view text) {
  const std::vector<std::string_view> words = split_words(text);
  Layout layout;
  for (auto first = words.begin();;) {
    const auto last = std::find(first, words.end(), "|");
    layout.links.push_back(parse_link({first, last}, layout.links.empty()));
    if (last == words.end()) return layout;
    first = last + 1;
  }
}

std::string to_string(const Layout& layout) {
  std::string text;
  for (const LinkLayout& link : layout.links) {
    if (!text.empty()) text += " |";
    for (const Segment& segment : link.segments) {
      if (!text.empty()) text += ' ';
      text += size_text(segment.size_bytes) + ':' + segment.kind;
    }
  }
  return text;
}

Layout random_layout(std::uint64_t seed, std::uint64_t size_bytes, std::uint64_t grain_bytes,
                     std::size_t links) {
  if (size_bytes == 0 || size_bytes % kSectorSize != 0 || grain_bytes == 0 ||
      grain_bytes % kSectorSize != 0) {
    throw std::invalid_argument("random_layout: sizes must be positive multiples of 512");
  }
  Random random(seed);
  Layout layout;
  for (std::size_t i = 0; i < links; ++i) {
    layout.links.push_back(random_link(random, size_bytes, grain_bytes, i == 0));
  }
  return layout;
}

void fill_pattern(char kind, std::uint64_t guest_offset, std::span<std::byte> out) {
  const std::size_t period = kind == 'r' ? kPatternWord : kPatternLine;
  std::array<std::byte, kPatternLine> line{};
  if (kind >= 'A' && kind <= 'Z') line.fill(static_cast<std::byte>(kind));
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t place = guest_offset + done;
    if (kind != 'z') put_le64(line, 0, mix(mix(place / period) + static_cast<std::uint64_t>(kind)));
    const std::size_t skip = place % period;
    const std::size_t length = std::min(period - skip, out.size() - done);
    std::copy_n(line.begin() + static_cast<std::ptrdiff_t>(skip), length,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += length;
  }
}

void expected_bytes(const Layout& layout, std::size_t top_link, std::uint64_t guest_offset,
                    std::span<std::byte> out) {
  const LinkLayout& link = layout.links.at(top_link);
  const std::uint64_t end = guest_offset + out.size();
  if (end > link.size_bytes() || end < guest_offset)
    throw std::out_of_range("expected_bytes: past the end of the disk");
  auto segment = std::ranges::upper_bound(link.segments, guest_offset, {}, &Segment::end);
  for (std::uint64_t at = guest_offset; at < end; ++segment) {
    const std::uint64_t length = std::min(segment->end(), end) - at;
    const std::span<std::byte> piece = out.subspan(at - guest_offset, length);
    if (segment->is_hole()) {
      fill_from_parent(layout, top_link, at, piece);
    } else if (segment->is_explicit_zero()) {
      std::ranges::fill(piece, std::byte{0});
    } else {
      fill_pattern(segment->kind, at, piece);
    }
    at += length;
  }
}

void expected_bytes(const Layout& layout, std::uint64_t guest_offset, std::span<std::byte> out) {
  if (layout.links.empty()) throw std::out_of_range("expected_bytes: the layout has no links");
  expected_bytes(layout, layout.links.size() - 1, guest_offset, out);
}

std::vector<std::byte> expected_bytes(const Layout& layout, std::uint64_t guest_offset,
                                      std::uint64_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  expected_bytes(layout, guest_offset, bytes);
  return bytes;
}

}  // namespace grainmill::testing
