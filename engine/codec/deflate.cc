// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/deflate.h"

#include "engine/base/byte_order.h"
#include "engine/codec/level_word.h"

#include <isa-l/igzip_lib.h>
#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>

namespace grainmill {
namespace {

constexpr std::size_t kHeaderBytes = 2;
constexpr std::size_t kAdlerBytes = 4;
constexpr std::size_t kStoredBlock = 65535;

void put_header(std::span<std::byte> out) {
  out[0] = std::byte{0x78};  // deflate, a window of 32 KiB
  out[1] = std::byte{0x01};  // made the quickest way; and makes the two a multiple of 31
}

void put_adler(std::byte* out, std::span<const std::byte> plain) {
  store_be(out, libdeflate_adler32(1, plain.data(), plain.size()));
}

// ISA-L's quickest level that looks for matches. Its buffer holds the symbols of one deflate block:
// with room for those of 64 KiB, a grain gets one Huffman code of its own.
class IsalDeflater {
 public:
  std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out);

 private:
  isal_zstream stream_{};
  std::array<std::uint8_t, ISAL_DEF_LVL1_LARGE> symbols_{};
};

std::size_t IsalDeflater::compress(std::span<const std::byte> in, std::span<std::byte> out) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (in.size() > kMost) return 0;
  isal_deflate_stateless_init(&stream_);
  stream_.level = 1;
  stream_.level_buf = symbols_.data();
  stream_.level_buf_size = static_cast<std::uint32_t>(symbols_.size());
  stream_.end_of_stream = 1;
  // The library takes what it only reads as a pointer to what it might write.
  stream_.next_in = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(in.data()));
  stream_.avail_in = static_cast<std::uint32_t>(in.size());
  stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
  stream_.avail_out = static_cast<std::uint32_t>(std::min(out.size(), kMost));
  return isal_deflate_stateless(&stream_) == COMP_OK ? stream_.total_out : 0;
}

// The wrapper around ISA-L's streams is ours: that of 2.30 names a window that does not exist.
std::size_t compress_zlib(IsalDeflater& deflater, std::span<const std::byte> in,
                          std::span<std::byte> out) {
  if (out.size() < kHeaderBytes + kAdlerBytes) return 0;
  const std::size_t size =
      deflater.compress(in, out.subspan(kHeaderBytes, out.size() - kHeaderBytes - kAdlerBytes));
  if (size == 0) return 0;
  put_header(out);
  put_adler(out.data() + kHeaderBytes + size, in);
  return kHeaderBytes + size + kAdlerBytes;
}

struct FreeCompressor {
  void operator()(libdeflate_compressor* compressor) const {
    libdeflate_free_compressor(compressor);
  }
};

}  // namespace

std::optional<DeflateLevel> deflate_level_by_name(std::string_view name) {
  if (name == "fast") return DeflateLevel::fast;
  if (name == "default") return DeflateLevel::standard;
  const std::optional<int> level = level_from_digits(name, static_cast<int>(DeflateLevel::highest));
  if (!level) return std::nullopt;
  return static_cast<DeflateLevel>(*level);
}

// One of the two, by the level.
struct Deflater::State {
  DeflateWrapper wrapper;
  std::unique_ptr<libdeflate_compressor, FreeCompressor> compressor;
  std::unique_ptr<IsalDeflater> fast;
};

Deflater::Deflater(DeflateWrapper wrapper, DeflateLevel level)
    : state_(std::make_unique<State>(wrapper, nullptr, nullptr)) {
  if (level == DeflateLevel::fast) {
    state_->fast = std::make_unique<IsalDeflater>();
    return;
  }
  state_->compressor.reset(libdeflate_alloc_compressor(static_cast<int>(level)));
  if (!state_->compressor) throw std::bad_alloc();
}
Deflater::~Deflater() = default;
Deflater::Deflater(Deflater&&) noexcept = default;
Deflater& Deflater::operator=(Deflater&&) noexcept = default;

std::size_t Deflater::compress(std::span<const std::byte> in, std::span<std::byte> out) {
  const bool zlib = state_->wrapper == DeflateWrapper::zlib;
  if (state_->fast)
    return zlib ? compress_zlib(*state_->fast, in, out) : state_->fast->compress(in, out);
  const auto deflate = zlib ? libdeflate_zlib_compress : libdeflate_deflate_compress;
  return deflate(state_->compressor.get(), in.data(), in.size(), out.data(), out.size());
}

std::size_t store_zlib(std::span<const std::byte> in, std::span<std::byte> out) {
  const std::size_t size = deflate_bound(in.size());
  if (out.size() < size) return 0;
  put_header(out);
  std::byte* to = out.data() + kHeaderBytes;
  std::span<const std::byte> left = in;
  do {
    const std::span<const std::byte> block = left.first(std::min(left.size(), kStoredBlock));
    left = left.subspan(block.size());
    const auto length = static_cast<std::uint16_t>(block.size());
    *to = left.empty() ? std::byte{1} : std::byte{0};  // the last block; type 0
    store_le(to + 1, length);
    store_le(to + 3, static_cast<std::uint16_t>(~length));
    to = std::ranges::copy(block, to + 5).out;
  } while (!left.empty());
  put_adler(to, in);
  return size;
}

}  // namespace grainmill
