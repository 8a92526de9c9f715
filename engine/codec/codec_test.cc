// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/crypto_digest.h"
#include "engine/codec/digest.h"
#include "engine/codec/inflate.h"
#include "engine/codec/zero_scan.h"

#include <gtest/gtest.h>
#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace grainmill {
namespace {

using Bytes = std::vector<std::byte>;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Bytes zlib_stream(std::span<const std::byte> plain) {
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  Bytes stream(libdeflate_zlib_compress_bound(compressor, plain.size()));
  stream.resize(libdeflate_zlib_compress(compressor, plain.data(), plain.size(), stream.data(),
                                         stream.size()));
  libdeflate_free_compressor(compressor);
  return stream;
}

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * i >> 5);
  return bytes;
}

// The published values of the algorithm for these inputs.
TEST(Digest, KnownValues) {
  EXPECT_EQ(to_hex(xxh3_128({})), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_hex(xxh3_128(bytes_of("abc"))), "06b05ab6733a618578af5f94892f3950");
}

TEST(Digest, StreamEqualsOneShotForAnyCutting) {
  const Bytes bytes = pattern(100'000);
  for (const std::size_t piece : {1U, 7U, 240U, 241U, 4096U, 100'000U}) {
    StreamDigest stream;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      stream.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    EXPECT_EQ(stream.digest(), xxh3_128(bytes)) << piece;
  }
}

TEST(Digest, CanonicalFormSurvives) {
  const Digest128 digest = xxh3_128(bytes_of("abc"));
  std::array<std::byte, kDigest128Bytes> stored{};
  store_digest(stored.data(), digest);
  EXPECT_EQ(load_digest(stored.data()), digest);
  EXPECT_EQ(to_hex(std::span<const std::byte>(stored)), to_hex(digest));
}

// FIPS 180-4 and RFC 7693 examples for "abc".
TEST(CryptoDigest, KnownValues) {
  CryptoDigest sha(CryptoAlgorithm::sha256);
  Bytes out(crypto_digest_bytes(CryptoAlgorithm::sha256));
  for (int round = 0; round < 2; ++round) {
    sha.update(bytes_of("abc"));
    sha.finish(out.data());
    EXPECT_EQ(to_hex(out), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }
  CryptoDigest blake(CryptoAlgorithm::blake2b512);
  Bytes wide(crypto_digest_bytes(CryptoAlgorithm::blake2b512));
  blake.update(bytes_of("abc"));
  blake.finish(wide.data());
  EXPECT_EQ(to_hex(wide).substr(0, 32), "ba80a53f981c4d0d6a2797b69f12f6e9");
}

TEST(CryptoDigest, NamesRoundTrip) {
  EXPECT_EQ(crypto_by_name("sha256"), CryptoAlgorithm::sha256);
  EXPECT_EQ(crypto_by_name("blake2b512"), CryptoAlgorithm::blake2b512);
  EXPECT_EQ(crypto_by_name("md5"), std::nullopt);
}

TEST(ZeroScan, OneByteAnywhereIsSeen) {
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 31U, 64U, 511U, 4096U}) {
    Bytes bytes(size);
    EXPECT_TRUE(is_zero(bytes)) << size;
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = std::byte{1};
      EXPECT_FALSE(is_zero(bytes)) << size << " at " << i;
      bytes[i] = std::byte{0};
    }
  }
}

TEST(Inflate, FillsExactlyOrSaysWhyNot) {
  const Bytes plain = pattern(65536);
  const Bytes stream = zlib_stream(plain);
  Inflater inflater;
  std::size_t produced = 0;

  Bytes out(plain.size());
  EXPECT_EQ(inflater.inflate_zlib(stream, out, produced), InflateResult::ok);
  EXPECT_EQ(out, plain);

  Bytes small(plain.size() - 1);
  EXPECT_EQ(inflater.inflate_zlib(stream, small, produced), InflateResult::too_long);

  Bytes large(plain.size() + 1);
  EXPECT_EQ(inflater.inflate_zlib(stream, large, produced), InflateResult::cut_short);
  EXPECT_EQ(produced, plain.size());
}

TEST(Inflate, EveryFlippedByteIsDamage) {
  const Bytes plain = pattern(4096);
  const Bytes stream = zlib_stream(plain);
  Inflater inflater;
  Bytes out(plain.size());
  for (std::size_t i = 0; i < stream.size(); ++i) {
    Bytes bad = stream;
    bad[i] ^= std::byte{0x40};
    std::size_t produced = 0;
    const InflateResult result = inflater.inflate_zlib(bad, out, produced);
    // A flip may change only how the stream says the same bytes; then they must be the same bytes.
    EXPECT_TRUE(result != InflateResult::ok || out == plain) << "byte " << i;
  }
  std::size_t produced = 0;
  for (std::size_t size = 0; size < stream.size(); ++size)
    EXPECT_NE(inflater.inflate_zlib(std::span(stream).first(size), out, produced),
              InflateResult::ok)
        << size;
}

}  // namespace
}  // namespace grainmill
