// SPDX-License-Identifier: Apache-2.0
//
// Deflate, zstd and the guess that spares them. What one library wrote, another one reads: ISA-L
// what libdeflate wrote and the other way about, and zlib itself, through Python, what both wrote.
#include "engine/codec/deflate.h"
#include "engine/codec/incompressible.h"
#include "engine/codec/inflate.h"
#include "engine/codec/zstd.h"
#include "tests/support/layout.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {
namespace {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

constexpr std::size_t kGrain = 65536;
constexpr std::byte kGuard{0xa5};

// ---- What is compressed.

Bytes noise(std::size_t size, std::uint64_t seed = 0) {
  Bytes bytes(size);
  testing::fill_pattern('r', seed << 32U, bytes);
  return bytes;
}

// Lines that are alike and never the same, with a number in each.
Bytes prose(std::size_t size) {
  std::string text;
  for (std::uint64_t i = 0; text.size() < size; ++i)
    text += "grain " + std::to_string(testing::mix(i) % 4096) + " of the table is stored at " +
            std::to_string(i * 128) + (i % 3 == 0 ? ", as before\n" : "\n");
  const View view = std::as_bytes(std::span(text)).first(size);
  return {view.begin(), view.end()};
}

// Half of it noise, a quarter each of prose and zeros.
Bytes mixture(std::size_t size) {
  Bytes bytes = noise(size);
  std::ranges::copy(prose(size / 4), bytes.begin());
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(size / 2), size / 4, std::byte{0});
  return bytes;
}

// The chunk again and again, after some bytes so that it is aligned to nothing.
Bytes repeated(View chunk, std::size_t size) {
  Bytes bytes = noise(13, 77);
  while (bytes.size() < size) bytes.insert(bytes.end(), chunk.begin(), chunk.end());
  bytes.resize(size);
  return bytes;
}

constexpr std::array<std::size_t, 10> kSizes = {1,     2,     511,    4096,   65535,
                                                65536, 65537, 131071, 300000, 1048576};

std::vector<Bytes> blocks_of(std::size_t size) {
  return {Bytes(size), prose(size), noise(size), mixture(size)};
}

// ---- Ours there and back.

Bytes deflated(Deflater& deflater, View plain, std::size_t room) {
  Bytes stream(room);
  stream.resize(deflater.compress(plain, stream));
  return stream;
}

Bytes deflated(DeflateWrapper wrapper, DeflateLevel level, View plain) {
  Deflater deflater(wrapper, level);
  return deflated(deflater, plain, plain.size() + plain.size() / 100 + 1000);
}

InflateResult inflate(DeflateWrapper wrapper, View stream, std::span<std::byte> out,
                      std::size_t& produced) {
  Inflater inflater;
  return wrapper == DeflateWrapper::zlib ? inflater.inflate_zlib(stream, out, produced)
                                         : inflater.inflate_raw(stream, out, produced);
}

void expect_inflates(DeflateWrapper wrapper, View stream, const Bytes& plain) {
  Bytes out(plain.size());
  std::size_t produced = 0;
  EXPECT_EQ(inflate(wrapper, stream, out, produced), InflateResult::ok);
  EXPECT_EQ(produced, plain.size());
  EXPECT_TRUE(out == plain);
}

// ISA-L's answer.
void expect_isal_inflates(DeflateWrapper wrapper, Bytes stream, const Bytes& plain) {
  Bytes out(plain.size() + 64);
  inflate_state state{};
  isal_inflate_init(&state);
  state.crc_flag = wrapper == DeflateWrapper::zlib ? ISAL_ZLIB : ISAL_DEFLATE;
  state.next_in = reinterpret_cast<std::uint8_t*>(stream.data());
  state.avail_in = static_cast<std::uint32_t>(stream.size());
  state.next_out = reinterpret_cast<std::uint8_t*>(out.data());
  state.avail_out = static_cast<std::uint32_t>(out.size());
  EXPECT_EQ(isal_inflate(&state), ISAL_DECOMP_OK);
  EXPECT_EQ(state.block_state, ISAL_BLOCK_FINISH);
  out.resize(state.total_out);
  EXPECT_TRUE(out == plain);
}

constexpr std::array kWrappers = {DeflateWrapper::raw, DeflateWrapper::zlib};

std::vector<DeflateLevel> all_levels() {
  std::vector<DeflateLevel> levels;
  for (int level = 0; level <= static_cast<int>(DeflateLevel::highest); ++level)
    levels.push_back(static_cast<DeflateLevel>(level));
  return levels;
}

TEST(DeflateLevel, Words) {
  EXPECT_EQ(deflate_level_by_name("fast"), DeflateLevel::fast);
  EXPECT_EQ(deflate_level_by_name("default"), DeflateLevel::standard);
  EXPECT_EQ(deflate_level_by_name("1"), DeflateLevel::lowest);
  EXPECT_EQ(deflate_level_by_name("12"), DeflateLevel::highest);
  for (const std::string_view word :
       {"", "0", "13", "-1", "+1", "1 ", " 1", "1x", "best", "Fast", "99999999999999999999"})
    EXPECT_EQ(deflate_level_by_name(word), std::nullopt) << word;
}

TEST(Deflate, EveryLevelAndSizeComesBack) {
  for (const DeflateLevel level : all_levels())
    for (const std::size_t size : kSizes) {
      if (level > DeflateLevel::standard && size > 300000) continue;  // slow, and nothing new
      SCOPED_TRACE(::testing::Message() << "level " << int(level) << ", size " << size);
      for (const Bytes& plain : blocks_of(size))
        for (const DeflateWrapper wrapper : kWrappers) {
          const Bytes stream = deflated(wrapper, level, plain);
          ASSERT_FALSE(stream.empty());
          expect_inflates(wrapper, stream, plain);
          expect_isal_inflates(wrapper, stream, plain);
        }
    }
}

TEST(Deflate, LevelsAreOrdered) {
  const Bytes plain = mixture(kGrain);
  const auto size = [&](DeflateLevel level) {
    return deflated(DeflateWrapper::zlib, level, plain).size();
  };
  EXPECT_LE(size(DeflateLevel::highest), size(DeflateLevel::standard));
  EXPECT_LE(size(DeflateLevel::standard), size(DeflateLevel::lowest));
  EXPECT_LT(size(DeflateLevel::fast), kGrain * 2 / 3);
}

// Writers in parallel would otherwise give another image on every run.
TEST(Deflate, ABlockGivesTheSameStreamWhateverCameBefore) {
  for (const DeflateLevel level : all_levels()) {
    Deflater used(DeflateWrapper::zlib, level);
    for (const Bytes& before : {noise(100000), prose(kGrain), Bytes(kGrain), mixture(5000)}) {
      EXPECT_FALSE(deflated(used, before, 200000).empty());
      for (const Bytes& plain : blocks_of(kGrain)) {
        Deflater fresh(DeflateWrapper::zlib, level);
        EXPECT_TRUE(deflated(used, plain, 70000) == deflated(fresh, plain, 70000)) << int(level);
      }
    }
  }
}

// How near the end of its room a stream may be said not to fit.
constexpr std::size_t kSlack = 16;

template <typename Compress>
void expect_keeps_to_its_room(const Bytes& plain, std::size_t needed, Compress&& compress) {
  for (std::size_t room = 0; room <= needed + 32; room += room + 40 < needed ? 37 : 1) {
    Bytes out(room + 64, kGuard);
    const std::size_t size = compress(plain, std::span(out).first(room));
    EXPECT_LE(size, room);
    if (room < needed) {
      EXPECT_EQ(size, 0U) << room << " of " << needed;
    } else if (room >= needed + kSlack) {
      EXPECT_EQ(size, needed) << room;
    }
    EXPECT_TRUE(std::ranges::all_of(std::span(out).subspan(room),
                                    [](std::byte byte) { return byte == kGuard; }))
        << "wrote behind " << room << " bytes";
  }
}

TEST(Deflate, KeepsToItsRoomOrSaysThatItDoesNotFit) {
  for (const DeflateLevel level :
       {DeflateLevel::fast, DeflateLevel::lowest, DeflateLevel::standard, DeflateLevel::highest})
    for (const DeflateWrapper wrapper : kWrappers)
      for (const Bytes& plain : {prose(8192), noise(2048), Bytes(8192)}) {
        SCOPED_TRACE(::testing::Message() << "level " << int(level));
        Deflater deflater(wrapper, level);
        const std::size_t needed = deflated(deflater, plain, 20000).size();
        expect_keeps_to_its_room(plain, needed, [&](View in, std::span<std::byte> out) {
          const std::size_t size = deflater.compress(in, out);
          if (size != 0) expect_inflates(wrapper, out.first(size), Bytes(in.begin(), in.end()));
          return size;
        });
      }
}

// ---- Stored.

static_assert(deflate_bound(0) == 11);
static_assert(deflate_bound(65535) == 65535 + 5 + 6);
static_assert(deflate_bound(65536) == 65536 + 10 + 6);
// What readers of streamOptimized images have room for: a grain's marker and stream.
static_assert(12 + deflate_bound(65536) <= std::size_t{129} * 512);

TEST(StoreZlib, AnyBytesInExactlyTheBound) {
  std::vector<std::size_t> sizes(kSizes.begin(), kSizes.end());
  sizes.push_back(0);
  sizes.push_back(131070);
  for (const std::size_t size : sizes) {
    SCOPED_TRACE(size);
    const Bytes plain = noise(size);
    Bytes out(deflate_bound(size) + 64, kGuard);
    const std::size_t stored = store_zlib(plain, out);
    EXPECT_EQ(stored, deflate_bound(size));
    EXPECT_EQ(out[stored], kGuard);
    out.resize(stored);
    expect_inflates(DeflateWrapper::zlib, out, plain);
    expect_isal_inflates(DeflateWrapper::zlib, out, plain);
    EXPECT_EQ(store_zlib(plain, std::span(out).first(stored - 1)), 0U);
  }
}

// ---- zlib itself.

constexpr const char* kAskZlib = R"(
import struct, sys, zlib
data = open(sys.argv[1], 'rb').read()
at = streams = 0
while at < len(data):
    bits, size, stored = struct.unpack_from('<iII', data, at)
    plain, stream = data[at + 12:at + 12 + size], data[at + 12 + size:at + 12 + size + stored]
    inflater = zlib.decompressobj(bits)
    if inflater.decompress(stream) != plain or not inflater.eof or inflater.unused_data:
        sys.exit(f'stream {streams}: wrong')
    at += 12 + size + stored
    streams += 1
print(streams)
)";

class StreamFile {
 public:
  explicit StreamFile(const std::filesystem::path& path) : file_(path, std::ios::binary) {}

  void add(DeflateWrapper wrapper, const Bytes& plain, const Bytes& stream) {
    put(wrapper == DeflateWrapper::zlib ? 15 : -15);
    put(static_cast<std::int32_t>(plain.size()));
    put(static_cast<std::int32_t>(stream.size()));
    put(plain);
    put(stream);
    ++streams_;
  }
  [[nodiscard]] int streams() const { return streams_; }

 private:
  void put(std::int32_t number) {
    file_.write(reinterpret_cast<const char*>(&number), sizeof number);
  }
  void put(const Bytes& bytes) {
    file_.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
  }
  std::ofstream file_;
  int streams_ = 0;
};

TEST(Deflate, ZlibReadsEveryLevel) {
  if (!testing::has_command("python3")) GTEST_SKIP() << "no python3, which has zlib";
  const testing::TempDir folder;
  const std::filesystem::path path = folder / "streams";
  int streams = 0;
  {
    StreamFile file(path);
    for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, kGrain})
      for (const Bytes& plain : blocks_of(size)) {
        for (const DeflateLevel level : all_levels())
          for (const DeflateWrapper wrapper : kWrappers)
            file.add(wrapper, plain, deflated(wrapper, level, plain));
        Bytes stored(deflate_bound(size));
        stored.resize(store_zlib(plain, stored));
        file.add(DeflateWrapper::zlib, plain, stored);
      }
    streams = file.streams();
  }
  const testing::CommandResult result =
      testing::run_command({"python3", "-c", kAskZlib, path.string()});
  EXPECT_TRUE(result.ok()) << result.err;
  EXPECT_EQ(result.out, std::to_string(streams) + "\n");
}

// ---- Bare deflate back.

Bytes followed_by_another(const Bytes& stream) {
  Bytes bytes = stream;
  const Bytes next = deflated(DeflateWrapper::raw, DeflateLevel::standard, prose(2000));
  bytes.insert(bytes.end(), next.begin(), next.end());
  const Bytes rest = noise(511);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

TEST(InflateRaw, FillsExactlyOrSaysWhyNot) {
  const Bytes plain = mixture(kGrain);
  for (const DeflateLevel level : {DeflateLevel::fast, DeflateLevel::standard}) {
    const Bytes stream = deflated(DeflateWrapper::raw, level, plain);
    for (const Bytes& in : {stream, followed_by_another(stream)}) {
      expect_inflates(DeflateWrapper::raw, in, plain);
      std::size_t produced = 0;
      Bytes small(plain.size() - 1);
      EXPECT_EQ(inflate(DeflateWrapper::raw, in, small, produced), InflateResult::too_long);
      Bytes large(plain.size() + 1);
      EXPECT_EQ(inflate(DeflateWrapper::raw, in, large, produced), InflateResult::cut_short);
      EXPECT_EQ(produced, plain.size());
    }
  }
}

TEST(InflateRaw, EveryCutIsSeen) {
  const Bytes plain = mixture(4096);
  const Bytes stream = deflated(DeflateWrapper::raw, DeflateLevel::standard, plain);
  Bytes out(plain.size());
  std::size_t produced = 0;
  for (std::size_t size = 0; size < stream.size(); ++size)
    EXPECT_NE(inflate(DeflateWrapper::raw, View(stream).first(size), out, produced),
              InflateResult::ok)
        << size;
}

// Bare deflate has no checksum: a flip may go unseen, but nothing may be written elsewhere.
TEST(InflateRaw, DamageStaysInItsRoom) {
  const Bytes plain = mixture(4096);
  const Bytes stream = deflated(DeflateWrapper::raw, DeflateLevel::standard, plain);
  int seen = 0;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    Bytes bad = stream;
    bad[i] ^= static_cast<std::byte>(1U << i % 8);
    Bytes out(plain.size() + 64, kGuard);
    std::size_t produced = 0;
    const std::span<std::byte> room = std::span(out).first(plain.size());
    if (inflate(DeflateWrapper::raw, bad, room, produced) != InflateResult::ok ||
        !std::ranges::equal(room, plain))
      ++seen;
    EXPECT_LE(produced, plain.size());
    EXPECT_TRUE(std::ranges::all_of(std::span(out).subspan(plain.size()),
                                    [](std::byte byte) { return byte == kGuard; }));
  }
  EXPECT_GT(seen, 0);
}

// ---- zstd.

Bytes frame_of(View plain, int level = kZstdDefaultLevel) {
  ZstdCompressor compressor(level);
  Bytes frame(plain.size() + plain.size() / 100 + 1000);
  frame.resize(compressor.compress(plain, frame));
  return frame;
}

// A frame as another program might write it.
Bytes foreign_frame(const Bytes& plain, ZSTD_cParameter parameter, int value) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, parameter, value);
  Bytes frame(ZSTD_compressBound(plain.size()));
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);
  return frame;
}

InflateResult unpack(View in, std::span<std::byte> out, std::size_t& produced) {
  ZstdDecompressor decompressor;
  return decompressor.decompress(in, out, produced);
}

void expect_unpacks(View in, const Bytes& plain) {
  Bytes out(plain.size());
  std::size_t produced = 0;
  EXPECT_EQ(unpack(in, out, produced), InflateResult::ok);
  EXPECT_EQ(produced, plain.size());
  EXPECT_TRUE(out == plain);
}

TEST(Zstd, Words) {
  EXPECT_EQ(zstd_level_by_name("fast"), 1);
  EXPECT_EQ(zstd_level_by_name("default"), ZSTD_defaultCLevel());
  EXPECT_EQ(zstd_level_by_name("22"), ZSTD_maxCLevel());
  for (const std::string_view word : {"", "0", "23", "-1", "ultra"})
    EXPECT_EQ(zstd_level_by_name(word), std::nullopt) << word;
}

TEST(Zstd, EveryLevelAndSizeComesBack) {
  for (int level = 1; level <= kZstdHighestLevel; ++level)
    for (const std::size_t size : kSizes) {
      if (level > kZstdDefaultLevel && size > kGrain) continue;  // slow, and nothing new
      SCOPED_TRACE(::testing::Message() << "level " << level << ", size " << size);
      for (const Bytes& plain : blocks_of(size)) {
        const Bytes frame = frame_of(plain, level);
        ASSERT_FALSE(frame.empty());
        expect_unpacks(frame, plain);
        EXPECT_EQ(ZSTD_getFrameContentSize(frame.data(), frame.size()), size);
        EXPECT_EQ(ZSTD_findFrameCompressedSize(frame.data(), frame.size()), frame.size());
      }
    }
}

TEST(Zstd, ABlockGivesTheSameFrameWhateverCameBefore) {
  ZstdCompressor used;
  Bytes frame(200000);
  for (const Bytes& before : {noise(100000), prose(kGrain), mixture(5000)}) {
    EXPECT_NE(used.compress(before, frame), 0U);
    for (const Bytes& plain : blocks_of(kGrain)) {
      const std::size_t size = used.compress(plain, frame);
      EXPECT_TRUE(std::ranges::equal(std::span(frame).first(size), frame_of(plain)));
    }
  }
}

TEST(Zstd, KeepsToItsRoomOrSaysThatItDoesNotFit) {
  for (const Bytes& plain : {prose(8192), noise(2048), Bytes(8192)}) {
    ZstdCompressor compressor;
    expect_keeps_to_its_room(plain, frame_of(plain).size(), [&](View in, std::span<std::byte> out) {
      return compressor.compress(in, out);
    });
  }
}

TEST(Zstd, FillsExactlyOrSaysWhyNot) {
  const Bytes plain = mixture(kGrain);
  const Bytes frame = frame_of(plain);
  Bytes tail = frame;
  const Bytes rest = noise(511);
  tail.insert(tail.end(), rest.begin(), rest.end());
  for (const Bytes& in : {frame, tail}) {
    expect_unpacks(in, plain);
    std::size_t produced = 0;
    Bytes small(plain.size() - 1);
    EXPECT_EQ(unpack(in, small, produced), InflateResult::too_long);
    Bytes large(plain.size() + 1);
    EXPECT_EQ(unpack(in, large, produced), InflateResult::cut_short);
    EXPECT_EQ(produced, plain.size());
  }
}

TEST(Zstd, InflaterReadsFramesBesideStreams) {
  const Bytes plain = mixture(kGrain);
  Inflater inflater;
  Bytes out(plain.size());
  std::size_t produced = 0;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(inflater.inflate_zstd(frame_of(plain), out, produced), InflateResult::ok);
    EXPECT_TRUE(out == plain);
    std::ranges::fill(out, kGuard);
    const Bytes stream = deflated(DeflateWrapper::raw, DeflateLevel::fast, plain);
    EXPECT_EQ(inflater.inflate_zstd(stream, out, produced), InflateResult::damaged);
    EXPECT_EQ(inflater.inflate_raw(stream, out, produced), InflateResult::ok);
    EXPECT_TRUE(out == plain);
  }
}

TEST(Zstd, OnlyTheFirstFrameCounts) {
  const Bytes plain = prose(4096);
  Bytes two = frame_of(plain);
  const Bytes second = frame_of(noise(100));
  two.insert(two.end(), second.begin(), second.end());
  expect_unpacks(two, plain);
  Bytes room(4196);
  std::size_t produced = 0;
  EXPECT_EQ(unpack(two, room, produced), InflateResult::cut_short);
  EXPECT_EQ(produced, plain.size());
}

TEST(Zstd, OtherProgramsFramesAreRead) {
  const Bytes plain = mixture(kGrain);
  expect_unpacks(foreign_frame(plain, ZSTD_c_contentSizeFlag, 0), plain);
  Bytes checked = foreign_frame(plain, ZSTD_c_checksumFlag, 1);
  expect_unpacks(checked, plain);
  checked.back() ^= std::byte{1};
  Bytes out(plain.size());
  std::size_t produced = 0;
  EXPECT_EQ(unpack(checked, out, produced), InflateResult::damaged);
}

TEST(Zstd, WhatIsNoFrameIsDamage) {
  const Bytes plain = prose(4096);
  Bytes out(plain.size());
  std::size_t produced = 0;
  const Bytes frame = frame_of(plain);
  for (std::size_t size = 0; size < frame.size(); ++size)
    EXPECT_EQ(unpack(View(frame).first(size), out, produced), InflateResult::damaged) << size;
  EXPECT_EQ(unpack(Bytes(100), out, produced), InflateResult::damaged);
  // Skippable frames are frames, but not of data; version 0.7 had a magic number of its own.
  constexpr std::array<std::array<unsigned, 4>, 2> kOthers = {
      {{0x50, 0x2a, 0x4d, 0x18}, {0x27, 0xb5, 0x2f, 0xfd}}};
  for (const auto& magic : kOthers) {
    Bytes other = frame;
    std::ranges::transform(magic, other.begin(), [](unsigned byte) { return std::byte(byte); });
    EXPECT_EQ(unpack(other, out, produced), InflateResult::damaged) << magic[0];
  }
}

TEST(Zstd, DamageStaysInItsRoom) {
  const Bytes plain = mixture(4096);
  const Bytes frame = frame_of(plain);
  int seen = 0;
  for (std::size_t i = 0; i < frame.size(); ++i) {
    Bytes bad = frame;
    bad[i] ^= static_cast<std::byte>(1U << i % 8);
    Bytes out(plain.size() + 64, kGuard);
    std::size_t produced = 0;
    const std::span<std::byte> room = std::span(out).first(plain.size());
    if (unpack(bad, room, produced) != InflateResult::ok || !std::ranges::equal(room, plain))
      ++seen;
    EXPECT_LE(produced, plain.size());
    EXPECT_TRUE(std::ranges::all_of(std::span(out).subspan(plain.size()),
                                    [](std::byte byte) { return byte == kGuard; }));
  }
  EXPECT_GT(seen, 0);
}

// ---- The guess.

TEST(LooksIncompressible, NoiseAndWhatIsCompressedAlready) {
  int told = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed)
    told += looks_incompressible(noise(kGrain, seed)) ? 1 : 0;
  EXPECT_GE(told, 99);
  for (const std::size_t size : {16384U, 50000U, 100000U, 1048576U})
    EXPECT_TRUE(looks_incompressible(noise(size))) << size;
  // Bytes of seven bits, packed.
  Bytes seven_bits = noise(2 * kGrain);
  for (std::byte& byte : seven_bits) byte &= std::byte{0x7f};
  EXPECT_TRUE(
      looks_incompressible(deflated(DeflateWrapper::zlib, DeflateLevel::standard, seven_bits)));
}

TEST(LooksIncompressible, NotWhatWouldShrink) {
  for (const Bytes& plain : {Bytes(kGrain), prose(kGrain), mixture(kGrain)})
    EXPECT_FALSE(looks_incompressible(plain));
  // Bytes that are all as frequent as the others, in strings that come again.
  for (const std::size_t chunk : {8U, 20U, 100U, 256U, 1000U, 1024U, 4096U, 10000U, 30000U})
    EXPECT_FALSE(looks_incompressible(repeated(noise(chunk, 5), kGrain))) << chunk;
  // 4096 values of eight bytes in a random order, each of them at an odd place.
  Bytes records = noise(5);
  for (std::uint64_t i = 0; records.size() < kGrain; ++i) {
    const Bytes value = noise(8, testing::mix(i) % 4096);
    records.insert(records.end(), value.begin(), value.end());
  }
  EXPECT_FALSE(looks_incompressible(View(records).first(kGrain)));
  // Strings that do not come again, of bytes that are not even.
  Bytes seven_bits = noise(kGrain);
  for (std::byte& byte : seven_bits) byte &= std::byte{0x7f};
  EXPECT_FALSE(looks_incompressible(seven_bits));
}

TEST(LooksIncompressible, NotNoiseWithSomethingInIt) {
  for (std::size_t at = 0; at + 6000 <= kGrain; at += 1777) {
    const std::size_t start = at;
    Bytes zeros = noise(kGrain, at);
    std::fill_n(zeros.begin() + static_cast<std::ptrdiff_t>(start), 3000, std::byte{0});
    EXPECT_FALSE(looks_incompressible(zeros)) << "zeros at " << at;
    Bytes text = noise(kGrain, at);
    std::ranges::copy(prose(6000), text.begin() + static_cast<std::ptrdiff_t>(start));
    EXPECT_FALSE(looks_incompressible(text)) << "prose at " << at;
  }
  Bytes large = noise(262144);
  std::ranges::copy(prose(6000), large.begin() + 200000);
  EXPECT_FALSE(looks_incompressible(large));
}

TEST(LooksIncompressible, SmallBlocksAreNeverTold) {
  for (const std::size_t size : {0U, 1U, 512U, 4096U, 16383U})
    EXPECT_FALSE(looks_incompressible(noise(size))) << size;
}

}  // namespace
}  // namespace grainmill
