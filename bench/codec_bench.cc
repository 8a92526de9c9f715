// SPDX-License-Identifier: Apache-2.0
//
// What a grain costs in the codecs: zero scan, digests, inflate, deflate. Beside each is a
// baseline: the library alone, without our wrapper, or a mere copy of the bytes. Every benchmark
// compares what it computed with what is known, and throws if it is wrong.
#include "engine/codec/deflate.h"
#include "engine/codec/digest.h"
#include "engine/codec/incompressible.h"
#include "engine/codec/inflate.h"
#include "engine/codec/zero_scan.h"
#include "engine/codec/zstd.h"
#include "tests/support/layout.h"

#include <benchmark/benchmark.h>
#include <libdeflate.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kGrain = std::size_t{64} << 10;
constexpr std::size_t kBlock = std::size_t{256} << 10;
constexpr std::size_t kStream = std::size_t{1} << 20;
constexpr std::size_t kGrains = 16;
constexpr int kDeflateLevel = 6;

void require(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string("wrong result: ") + what);
}

std::size_t size_of(const benchmark::State& state) {
  return static_cast<std::size_t>(state.range(0));
}

void count_bytes(benchmark::State& state, std::size_t bytes_an_iteration) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes_an_iteration));
}

// Bytes that look like nothing in particular.
Bytes noise(std::size_t size) {
  Bytes bytes(size);
  testing::fill_pattern('r', 0, bytes);
  return bytes;
}

// ---- Copy: how fast bytes move at all.

void BM_Copy(benchmark::State& state) {
  const Bytes from = noise(size_of(state));
  Bytes to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  require(to == from, "copy");
  count_bytes(state, from.size());
}
BENCHMARK(BM_Copy)->Arg(kGrain)->Arg(kBlock);

// ---- Zero scan.

void scan(benchmark::State& state, const Bytes& bytes, bool expected) {
  bool all_right = true;
  for (auto _ : state) {
    std::span<const std::byte> view = bytes;
    benchmark::DoNotOptimize(view);
    all_right &= is_zero(view) == expected;
  }
  require(all_right, "is_zero");
}

void BM_IsZero_Zeros(benchmark::State& state) {
  scan(state, Bytes(size_of(state)), true);
  count_bytes(state, size_of(state));
}
BENCHMARK(BM_IsZero_Zeros)->Arg(kGrain)->Arg(kBlock);

// The dearest "no": only the last byte tells.
void BM_IsZero_LastByte(benchmark::State& state) {
  Bytes bytes(size_of(state) - 1);
  bytes.push_back(std::byte{1});
  scan(state, bytes, false);
  count_bytes(state, size_of(state));
}
BENCHMARK(BM_IsZero_LastByte)->Arg(kGrain);

// The usual "no". Looks at a few bytes, so there is no throughput to count.
void BM_IsZero_Data(benchmark::State& state) { scan(state, noise(size_of(state)), false); }
BENCHMARK(BM_IsZero_Data)->Arg(kGrain);

// ---- Digests.

Digest128 library_digest(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = hash.high64, .low = hash.low64};
}

template <typename Function>
void digest_blocks(benchmark::State& state, Function&& function) {
  const Bytes bytes = noise(size_of(state));
  const Digest128 expected = library_digest(bytes);
  bool all_right = true;
  for (auto _ : state) {
    std::span<const std::byte> view = bytes;
    benchmark::DoNotOptimize(view);
    all_right &= function(view) == expected;
  }
  require(all_right, "digest");
  count_bytes(state, bytes.size());
}

void BM_Xxh3(benchmark::State& state) {
  digest_blocks(state, [](std::span<const std::byte> bytes) { return xxh3_128(bytes); });
}
BENCHMARK(BM_Xxh3)->Arg(kGrain)->Arg(kBlock);

// The library's plain entry point, which is compiled for the baseline CPU; ours chooses at run
// time.
void BM_Xxh3_PlainEntry(benchmark::State& state) { digest_blocks(state, library_digest); }
BENCHMARK(BM_Xxh3_PlainEntry)->Arg(kGrain)->Arg(kBlock);

// A stream of 1 MiB in pieces of the given size.
void BM_StreamDigest(benchmark::State& state) {
  const std::size_t piece = size_of(state);
  const Bytes bytes = noise(kStream);
  const Digest128 expected = library_digest(bytes);
  bool all_right = true;
  for (auto _ : state) {
    StreamDigest stream;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      stream.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    all_right &= stream.digest() == expected;
  }
  require(all_right, "stream digest");
  count_bytes(state, bytes.size());
}
BENCHMARK(BM_StreamDigest)->Arg(4096)->Arg(kGrain);

// ---- Inflate.

// Words as frequent as in prose: the first often, the last seldom.
Bytes make_text(std::size_t size) {
  constexpr std::array<std::string_view, 24> kWords = {
      "the ",    "of ",     "a ",        "disk ",    "grain ", "is ",     "to ",      "and\n",
      "where ",  "file ",   "offset ",   "table ",   "every ", "sector ", "reads ",   "zero ",
      "stored ", "parent ", "manifest ", "snapshot", "\n\n  ", "0x1f80 ", "between ", "digest, "};
  std::string text;
  for (std::uint64_t i = 0; text.size() < size; ++i) {
    const std::uint64_t random = testing::mix(i);
    text += kWords[std::min(random % kWords.size(), (random >> 32U) % kWords.size())];
    if (random % 11 == 0) text += std::to_string((random >> 16U) % 100000) + ' ';
  }
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text)).first(size);
  return {bytes.begin(), bytes.end()};
}

// The C++ library that this program runs with: a binary that every machine has.
std::filesystem::path cxx_library() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("/libstdc++") != std::string::npos) return line.substr(line.find('/'));
  throw std::runtime_error("this program runs without libstdc++.so");
}

// `size` bytes from the middle of a binary, where the machine code is.
Bytes make_binary(std::size_t size) {
  const std::filesystem::path path = cxx_library();
  const std::uintmax_t file_size = std::filesystem::file_size(path);
  require(file_size > size, "size of libstdc++.so");
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>((file_size - size) / 2));
  std::string content(size, '\0');
  file.read(content.data(), static_cast<std::streamsize>(size));
  require(file.good(), "reading libstdc++.so");
  const std::span<const std::byte> bytes = std::as_bytes(std::span(content));
  return {bytes.begin(), bytes.end()};
}

struct CompressorDeleter {
  void operator()(libdeflate_compressor* compressor) const {
    libdeflate_free_compressor(compressor);
  }
};

struct DecompressorDeleter {
  void operator()(libdeflate_decompressor* decompressor) const {
    libdeflate_free_decompressor(decompressor);
  }
};

// Grains of 64 KiB, each with its zlib stream.
struct Deflated {
  Bytes plain;
  std::vector<Bytes> streams;

  explicit Deflated(Bytes bytes) : plain(std::move(bytes)) {
    const std::unique_ptr<libdeflate_compressor, CompressorDeleter> compressor(
        libdeflate_alloc_compressor(kDeflateLevel));
    for (std::size_t i = 0; i < plain.size() / kGrain; ++i) {
      Bytes stream(libdeflate_zlib_compress_bound(compressor.get(), kGrain));
      stream.resize(libdeflate_zlib_compress(compressor.get(), grain(i).data(), kGrain,
                                             stream.data(), stream.size()));
      streams.push_back(std::move(stream));
    }
  }

  [[nodiscard]] std::span<const std::byte> grain(std::size_t index) const {
    return std::span(plain).subspan(index * kGrain, kGrain);
  }
  [[nodiscard]] double stored_share() const {
    std::size_t stored = 0;
    for (const Bytes& stream : streams) stored += stream.size();
    return static_cast<double>(stored) / static_cast<double>(plain.size());
  }
};

// Inflates one grain an iteration, each in its turn. `inflate(in, out)` says whether it did.
template <typename Function>
void inflate_grains(benchmark::State& state, const Deflated& deflated, Function&& inflate) {
  Bytes out(kGrain);
  std::size_t next = 0;
  bool all_right = true;
  for (auto _ : state) {
    all_right &= inflate(deflated.streams[next], out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
    next = (next + 1) % deflated.streams.size();
  }
  for (std::size_t i = 0; i < deflated.streams.size(); ++i) {
    std::ranges::fill(out, std::byte{0});
    all_right &= inflate(deflated.streams[i], out) && std::ranges::equal(out, deflated.grain(i));
  }
  require(all_right, "inflate");
  count_bytes(state, kGrain);
  state.counters["stored_share"] = deflated.stored_share();
}

void inflate_with_ours(benchmark::State& state, const Deflated& deflated) {
  Inflater inflater;
  inflate_grains(state, deflated, [&](std::span<const std::byte> in, std::span<std::byte> out) {
    std::size_t produced = 0;
    return inflater.inflate_zlib(in, out, produced) == InflateResult::ok && produced == out.size();
  });
}

void inflate_with_library(benchmark::State& state, const Deflated& deflated) {
  const std::unique_ptr<libdeflate_decompressor, DecompressorDeleter> decompressor(
      libdeflate_alloc_decompressor());
  inflate_grains(state, deflated, [&](std::span<const std::byte> in, std::span<std::byte> out) {
    return libdeflate_zlib_decompress(decompressor.get(), in.data(), in.size(), out.data(),
                                      out.size(), nullptr) == LIBDEFLATE_SUCCESS;
  });
}

void BM_Inflate_Text(benchmark::State& state) {
  inflate_with_ours(state, Deflated(make_text(kGrains * kGrain)));
}
BENCHMARK(BM_Inflate_Text);

void BM_Inflate_Text_LibraryAlone(benchmark::State& state) {
  inflate_with_library(state, Deflated(make_text(kGrains * kGrain)));
}
BENCHMARK(BM_Inflate_Text_LibraryAlone);

void BM_Inflate_Binary(benchmark::State& state) {
  inflate_with_ours(state, Deflated(make_binary(kGrains * kGrain)));
}
BENCHMARK(BM_Inflate_Binary);

void BM_Inflate_Binary_LibraryAlone(benchmark::State& state) {
  inflate_with_library(state, Deflated(make_binary(kGrains * kGrain)));
}
BENCHMARK(BM_Inflate_Binary_LibraryAlone);

// ---- Deflate and zstd: text, code, and noise, a grain an iteration.

Bytes make_noise(std::size_t size) { return noise(size); }

// `compress(in, out)` gives the size of the stream, `inflate(in, out)` says whether it did.
template <typename Compress, typename Inflate>
void compress_grains(benchmark::State& state, const Bytes& plain, Compress&& compress,
                     Inflate&& inflate) {
  Bytes stream(2 * kGrain);
  const auto grain = [&](std::size_t index) {
    return std::span<const std::byte>(plain).subspan(index * kGrain, kGrain);
  };
  std::size_t next = 0;
  bool all_right = true;
  for (auto _ : state) {
    all_right &= compress(grain(next), stream) != 0;
    benchmark::DoNotOptimize(stream.data());
    benchmark::ClobberMemory();
    next = (next + 1) % kGrains;
  }
  Bytes out(kGrain);
  std::size_t stored = 0;
  for (std::size_t i = 0; i < kGrains; ++i) {
    const std::size_t size = compress(grain(i), stream);
    all_right &= inflate(std::span<const std::byte>(stream).first(size), out) &&
                 std::ranges::equal(out, grain(i));
    stored += size;
  }
  require(all_right, "compression");
  count_bytes(state, kGrain);
  state.counters["stored_share"] = static_cast<double>(stored) / static_cast<double>(plain.size());
}

bool inflates_zlib(std::span<const std::byte> in, std::span<std::byte> out) {
  std::size_t produced = 0;
  return Inflater().inflate_zlib(in, out, produced) == InflateResult::ok;
}

// The argument is the level; 0 stands for `fast`.
template <Bytes (*Make)(std::size_t)>
void BM_Deflate(benchmark::State& state) {
  Deflater deflater(DeflateWrapper::zlib, static_cast<DeflateLevel>(state.range(0)));
  compress_grains(
      state, Make(kGrains * kGrain),
      [&](std::span<const std::byte> in, std::span<std::byte> out) {
        return deflater.compress(in, out);
      },
      inflates_zlib);
}
BENCHMARK_TEMPLATE(BM_Deflate, make_text)->Arg(0)->Arg(1)->DenseRange(4, 7)->Arg(9);
BENCHMARK_TEMPLATE(BM_Deflate, make_binary)->Arg(0)->Arg(1)->DenseRange(4, 7)->Arg(9);
BENCHMARK_TEMPLATE(BM_Deflate, make_noise)->Arg(0)->Arg(1)->Arg(6);

void BM_Deflate_Binary_LibraryAlone(benchmark::State& state) {
  const std::unique_ptr<libdeflate_compressor, CompressorDeleter> compressor(
      libdeflate_alloc_compressor(kDeflateLevel));
  compress_grains(
      state, make_binary(kGrains * kGrain),
      [&](std::span<const std::byte> in, std::span<std::byte> out) {
        return libdeflate_zlib_compress(compressor.get(), in.data(), in.size(), out.data(),
                                        out.size());
      },
      inflates_zlib);
}
BENCHMARK(BM_Deflate_Binary_LibraryAlone);

void BM_StoreZlib(benchmark::State& state) {
  compress_grains(state, noise(kGrains * kGrain), store_zlib, inflates_zlib);
}
BENCHMARK(BM_StoreZlib);

template <Bytes (*Make)(std::size_t)>
void BM_Zstd(benchmark::State& state) {
  ZstdCompressor compressor(static_cast<int>(state.range(0)));
  ZstdDecompressor decompressor;
  compress_grains(
      state, Make(kGrains * kGrain),
      [&](std::span<const std::byte> in, std::span<std::byte> out) {
        return compressor.compress(in, out);
      },
      [&](std::span<const std::byte> in, std::span<std::byte> out) {
        std::size_t produced = 0;
        return decompressor.decompress(in, out, produced) == InflateResult::ok;
      });
}
BENCHMARK_TEMPLATE(BM_Zstd, make_text)->Arg(1)->Arg(3);
BENCHMARK_TEMPLATE(BM_Zstd, make_binary)->Arg(1)->Arg(3);
BENCHMARK_TEMPLATE(BM_Zstd, make_noise)->Arg(1)->Arg(3);

// ---- The guess that spares deflate: what it costs where it is right to say no, and yes.

void guess(benchmark::State& state, const Bytes& plain, bool expected) {
  std::size_t next = 0;
  bool all_right = true;
  for (auto _ : state) {
    all_right &= looks_incompressible(std::span(plain).subspan(next * kGrain, kGrain)) == expected;
    next = (next + 1) % kGrains;
  }
  require(all_right, "looks_incompressible");
  count_bytes(state, kGrain);
}

void BM_LooksIncompressible_Binary(benchmark::State& state) {
  guess(state, make_binary(kGrains * kGrain), false);
}
BENCHMARK(BM_LooksIncompressible_Binary);

void BM_LooksIncompressible_Noise(benchmark::State& state) {
  guess(state, noise(kGrains * kGrain), true);
}
BENCHMARK(BM_LooksIncompressible_Noise);

}  // namespace
}  // namespace grainmill
