// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/inflate.h"

#include <libdeflate.h>

#include <new>

namespace grainmill {

struct Inflater::State {
  struct Free {
    void operator()(libdeflate_decompressor* decompressor) const {
      libdeflate_free_decompressor(decompressor);
    }
  };
  std::unique_ptr<libdeflate_decompressor, Free> decompressor{libdeflate_alloc_decompressor()};
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
  switch (result) {
    case LIBDEFLATE_SUCCESS:
      return produced == out.size() ? InflateResult::ok : InflateResult::cut_short;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
      return InflateResult::too_long;
    case LIBDEFLATE_BAD_DATA:
    case LIBDEFLATE_SHORT_OUTPUT:
      break;
  }
  return InflateResult::damaged;
}

}  // namespace grainmill
