// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace grainmill {

// Turns a sequence of digest grains into bytes: the body of a manifest, and what root digests are
// taken of. The bytes depend on the sequence alone, not on how it was cut into calls
// (docs/manifest.md, "Body").
//
// A record is u32 z, u32 d, both little-endian, then d digests: z zero grains, then d grains of
// data. d is kMaxRecordGrains unless zeros or the end follow.
class RunEncoder {
 public:
  static constexpr std::uint32_t kMaxRecordGrains = 4096;
  static constexpr std::size_t kRecordHeaderBytes = 8;

  // `emit` is called with each finished record.
  RunEncoder(std::size_t digest_bytes, std::function<void(std::span<const std::byte>)> emit);

  void add_zeros(std::uint64_t grains);
  // One grain of data. REQUIRES: digest.size() == digest_bytes.
  void add(std::span<const std::byte> digest);
  // Emits what is left.
  void finish();

 private:
  void emit_record();

  std::function<void(std::span<const std::byte>)> emit_;
  std::uint64_t zeros_ = 0;
  std::uint32_t data_ = 0;
  std::vector<std::byte> record_;
};

}  // namespace grainmill
