// SPDX-License-Identifier: Apache-2.0
#include "pipeline/run_encoder.h"

#include "engine/base/byte_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

namespace grainmill {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kDigestBytes = 16;
constexpr std::uint64_t kMaxZeros = 0xffffffffU;
constexpr std::uint32_t kMaxRecord = RunEncoder::kMaxRecordGrains;

// An encoder and all that it gave, with the two numbers of each record.
class Encoded {
 public:
  void zeros(std::uint64_t grains) { encoder_.add_zeros(grains); }
  void data(std::uint64_t grains) {
    std::array<std::byte, kDigestBytes> digest{};
    for (std::uint64_t i = 0; i < grains; ++i) {
      store_le(digest.data(), ++last_digest_);
      encoder_.add(digest);
    }
  }
  Encoded& finish() {
    encoder_.finish();
    return *this;
  }

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  // "3+2 0+1": three zeros, two digests; one digest.
  [[nodiscard]] const std::string& records() const { return records_; }

 private:
  void take(std::span<const std::byte> record) {
    const auto zeros = load_le<std::uint32_t>(record.data());
    const auto data = load_le<std::uint32_t>(record.data() + 4);
    EXPECT_EQ(record.size(), RunEncoder::kRecordHeaderBytes + data * kDigestBytes);
    records_.append(records_.empty() ? "" : " ");
    records_.append(std::to_string(zeros)).append("+").append(std::to_string(data));
    bytes_.insert(bytes_.end(), record.begin(), record.end());
  }

  Bytes bytes_;
  std::string records_;
  std::uint64_t last_digest_ = 0;
  RunEncoder encoder_{kDigestBytes, [this](std::span<const std::byte> record) { take(record); }};
};

TEST(RunEncoder, NothingGivesNothing) {
  Encoded encoded;
  encoded.zeros(0);
  EXPECT_EQ(encoded.finish().records(), "");
}

TEST(RunEncoder, RecordsHoldZerosThenData) {
  Encoded encoded;
  encoded.data(2);
  encoded.zeros(3);
  encoded.data(1);
  encoded.zeros(4);
  EXPECT_EQ(encoded.finish().records(), "0+2 3+1 4+0");
}

TEST(RunEncoder, FullRecordsAreClosed) {
  Encoded encoded;
  encoded.zeros(1);
  encoded.data(2 * kMaxRecord + 1);
  encoded.zeros(1);
  EXPECT_EQ(encoded.finish().records(), "1+4096 0+4096 0+1 1+0");
}

TEST(RunEncoder, AFullRecordAtTheEndIsNotFollowedByAnEmptyOne) {
  Encoded encoded;
  encoded.data(kMaxRecord);
  EXPECT_EQ(encoded.finish().records(), "0+4096");
}

TEST(RunEncoder, ZerosOfAnyNumberAreSplit) {
  Encoded encoded;
  encoded.zeros(kMaxZeros);
  encoded.data(1);
  encoded.zeros(2 * kMaxZeros + 5);
  encoded.data(1);
  EXPECT_EQ(encoded.finish().records(), "4294967295+1 4294967295+0 4294967295+0 5+1");
}

TEST(RunEncoder, ZerosThatFitExactlyMakeOneRecord) {
  Encoded encoded;
  encoded.zeros(2 * kMaxZeros);
  EXPECT_EQ(encoded.finish().records(), "4294967295+0 4294967295+0");
}

// What a random sequence of runs gives, each run added in pieces of at most `piece` grains.
Bytes encode_random(std::uint64_t seed, std::uint64_t piece) {
  std::mt19937_64 random(seed);
  Encoded encoded;
  for (int run = 0; run < 40; ++run) {
    const bool zero = random() % 2 == 0;
    const std::uint64_t scale =
        std::array<std::uint64_t, 4>{3, 100, 5000, 3 * kMaxZeros}[random() % 4];
    std::uint64_t left = random() % (zero ? scale : std::min<std::uint64_t>(scale, 5000));
    // Billions are cut in three, not into ones.
    const std::uint64_t most = left > 100000 ? left / 3 + piece : piece;
    while (left > 0) {
      const std::uint64_t grains = std::min(left, most);
      zero ? encoded.zeros(grains) : encoded.data(grains);
      left -= grains;
    }
  }
  return encoded.finish().bytes();
}

TEST(RunEncoder, AnyCuttingGivesTheSameBytes) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Bytes whole = encode_random(seed, ~std::uint64_t{0} / 2);
    for (const std::uint64_t piece : {1ULL, 2ULL, 7ULL, 4095ULL, 4096ULL, 4097ULL})
      EXPECT_TRUE(encode_random(seed, piece) == whole) << "seed " << seed << " piece " << piece;
  }
}

}  // namespace
}  // namespace grainmill
