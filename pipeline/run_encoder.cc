// SPDX-License-Identifier: Apache-2.0
#include "pipeline/run_encoder.h"

#include "engine/base/byte_order.h"

#include <limits>
#include <utility>

namespace grainmill {

RunEncoder::RunEncoder(std::size_t digest_bytes,
                       std::function<void(std::span<const std::byte>)> emit)
    : emit_(std::move(emit)), record_(kRecordHeaderBytes) {
  record_.reserve(kRecordHeaderBytes + digest_bytes * kMaxRecordGrains);
}

void RunEncoder::add_zeros(std::uint64_t grains) {
  constexpr std::uint64_t kMaxZeros = std::numeric_limits<std::uint32_t>::max();
  if (data_ != 0 && grains != 0) emit_record();
  zeros_ += grains;
  while (zeros_ > kMaxZeros) {
    const std::uint64_t rest = zeros_ - kMaxZeros;
    zeros_ = kMaxZeros;
    emit_record();
    zeros_ = rest;
  }
}

void RunEncoder::add(std::span<const std::byte> digest) {
  record_.insert(record_.end(), digest.begin(), digest.end());
  if (++data_ == kMaxRecordGrains) emit_record();
}

void RunEncoder::finish() {
  if (zeros_ != 0 || data_ != 0) emit_record();
}

void RunEncoder::emit_record() {
  store_le(record_.data(), static_cast<std::uint32_t>(zeros_));
  store_le(record_.data() + sizeof(std::uint32_t), data_);
  emit_(record_);
  record_.resize(kRecordHeaderBytes);
  zeros_ = 0;
  data_ = 0;
}

}  // namespace grainmill
