// SPDX-License-Identifier: Apache-2.0
//
// Deflate gains in two ways: from bytes that are more frequent than others, and from strings that
// come again. Both are looked for in samples, spread over the block so that a part of it that would
// shrink is met.
#include "engine/codec/incompressible.h"

#include "engine/base/byte_order.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace grainmill {
namespace {

constexpr std::size_t kPiece = std::size_t{64} << 10;  // what is judged at a time
constexpr std::size_t kLeast = kPiece / 4;             // too few bytes to judge by, below this

// ---- Frequencies, in 64 samples of 256 bytes.

constexpr std::size_t kSamples = 64;
constexpr std::size_t kSampleBytes = 256;
constexpr std::size_t kFirstBytes = 16;  // of each sample, in a first look

// Neighbours are counted apart: an increment need not wait for the one before it.
using Counts = std::array<std::array<std::uint16_t, 256>, 4>;

// Counts the bytes `from` to `to` of every sample.
void count_samples(std::span<const std::byte> piece, std::size_t from, std::size_t to,
                   Counts& counts) {
  const std::size_t stride = piece.size() / kSamples;
  for (std::size_t sample = 0; sample < kSamples; ++sample) {
    const std::byte* bytes = piece.data() + sample * stride;
    for (std::size_t i = from; i < to; i += 4)
      for (std::size_t j = 0; j < 4; ++j) ++counts[j][std::to_integer<std::size_t>(bytes[i + j])];
  }
}

// Pearson's chi-squared of the counts against equal frequencies: 255 for noise, give or take 23.
std::uint64_t chi_squared(const Counts& counts, std::size_t counted) {
  std::uint64_t squares = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    const std::uint32_t count = counts[0][i] + counts[1][i] + counts[2][i] + counts[3][i];
    squares += std::uint64_t{count} * count;
  }
  return squares * 256 / counted - counted;
}

// The first look is there to be quick about the usual block, which is far above any limit.
constexpr std::uint64_t kFirstLimit = 600;
constexpr std::uint64_t kLimit = 600;

bool bytes_are_even(std::span<const std::byte> piece) {
  Counts counts{};
  count_samples(piece, 0, kFirstBytes, counts);
  if (chi_squared(counts, kSamples * kFirstBytes) > kFirstLimit) return false;
  count_samples(piece, kFirstBytes, kSampleBytes, counts);
  return chi_squared(counts, kSamples * kSampleBytes) <= kLimit;
}

// ---- Strings that come again: the four bytes at every 23rd place go into a table, then runs of 22
// places between two of those are looked up. Whatever the distance between two equal strings, some
// place of a run lies so to a place of the table; the step is odd because what is in records is
// aligned.

constexpr std::size_t kStep = 23;
constexpr std::size_t kRuns = 128;
constexpr unsigned kTableBits = 13;
constexpr int kMatches = 3;  // fewer may be chance

bool strings_come_again(std::span<const std::byte> piece) {
  std::array<std::uint32_t, std::size_t{1} << kTableBits> table{};
  const auto slot = [&](std::uint32_t word) -> std::uint32_t& {
    return table[(word * 0x9E3779B1U) >> (32 - kTableBits)];
  };
  const auto word_at = [&](std::size_t place) {
    return load_le<std::uint32_t>(piece.data() + place);
  };
  const std::size_t steps = (piece.size() - sizeof(std::uint32_t)) / kStep;
  int matches = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    const std::uint32_t word = word_at(i * kStep);
    matches += slot(word) == word ? 1 : 0;
    slot(word) = word;
  }
  for (std::size_t run = 0; run < kRuns && matches < kMatches; ++run) {
    const std::size_t place = run * steps / kRuns * kStep;
    for (std::size_t i = 1; i < kStep; ++i) {
      const std::uint32_t word = word_at(place + i);
      matches += slot(word) == word ? 1 : 0;
    }
  }
  return matches >= kMatches;
}

}  // namespace

bool looks_incompressible(std::span<const std::byte> bytes) {
  if (bytes.size() < kLeast) return false;
  while (bytes.size() >= kLeast) {
    const std::span<const std::byte> piece = bytes.first(std::min(bytes.size(), kPiece));
    if (!bytes_are_even(piece) || strings_come_again(piece)) return false;
    bytes = bytes.subspan(piece.size());
  }
  return true;
}

}  // namespace grainmill
