// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace grainmill {

// Zeroed memory that costs nothing until it is touched: address space, which the operating system
// fills page by page. Tables that may grow large stay in one piece, without being copied.
class HugeMemory {
 public:
  static constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20;

  // Aligned to a huge page. REQUIRES: bytes != 0.
  [[nodiscard]] static Result<HugeMemory> reserve(std::uint64_t bytes);

  HugeMemory() = default;
  HugeMemory(HugeMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  HugeMemory& operator=(HugeMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HugeMemory();

  // Makes what lies at `offset` one huge page, whatever of it has been touched: random access to
  // much memory then misses the TLB less. Keeps the contents; other threads may be using them.
  // Returns false where the system cannot. REQUIRES: offset is a multiple of kHugePageBytes.
  [[nodiscard]] bool make_huge(std::uint64_t offset) const;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  HugeMemory(std::byte* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace grainmill
