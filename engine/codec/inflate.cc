// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/inflate.h"

#include "engine/codec/zstd.h"

#include <libdeflate.h>

#include <new>
#include <optional>

namespace grainmill {
namespace {

InflateResult result_of(libdeflate_result result, std::size_t produced, std::size_t wanted) {
  switch (result) {
    case LIBDEFLATE_SUCCESS:
      return produced == wanted ? InflateResult::ok : InflateResult::cut_short;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
      return InflateResult::too_long;
    case LIBDEFLATE_BAD_DATA:
    case LIBDEFLATE_SHORT_OUTPUT:
      break;
  }
  return InflateResult::damaged;
}

}  // namespace

struct Inflater::State {
  struct Free {
    void operator()(libdeflate_decompressor* owned) const { libdeflate_free_decompressor(owned); }
  };
  std::unique_ptr<libdeflate_decompressor, Free> decompressor{libdeflate_alloc_decompressor()};
  std::optional<ZstdDecompressor> zstd;  // made when it is first needed: few images do
};

Inflater::Inflater() : state_(std::make_unique<State>()) {
  if (!state_->decompressor) throw std::bad_alloc();
}
Inflater::~Inflater() = default;
Inflater::Inflater(Inflater&&) noexcept = default;
Inflater& Inflater::operator=(Inflater&&) noexcept = default;

InflateResult Inflater::inflate_zlib(std::span<const std::byte> in, std::span<std::byte> out,
                                     std::size_t& produced) {
  produced = 0;
  const libdeflate_result result = libdeflate_zlib_decompress(
      state_->decompressor.get(), in.data(), in.size(), out.data(), out.size(), &produced);
  return result_of(result, produced, out.size());
}

InflateResult Inflater::inflate_raw(std::span<const std::byte> in, std::span<std::byte> out,
                                    std::size_t& produced) {
  produced = 0;
  const libdeflate_result result = libdeflate_deflate_decompress(
      state_->decompressor.get(), in.data(), in.size(), out.data(), out.size(), &produced);
  return result_of(result, produced, out.size());
}

InflateResult Inflater::inflate_zstd(std::span<const std::byte> in, std::span<std::byte> out,
                                     std::size_t& produced) {
  if (!state_->zstd) state_->zstd.emplace();
  return state_->zstd->decompress(in, out, produced);
}

std::size_t Inflater::zlib_length(std::span<const std::byte> in, std::span<std::byte> out,
                                  std::size_t& produced) {
  produced = 0;
  std::size_t length = 0;
  const libdeflate_result result = libdeflate_zlib_decompress_ex(
      state_->decompressor.get(), in.data(), in.size(), out.data(), out.size(), &length, &produced);
  return result == LIBDEFLATE_SUCCESS ? length : 0;
}

}  // namespace grainmill
