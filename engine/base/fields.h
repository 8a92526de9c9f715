// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/byte_order.h"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace grainmill {

// Puts fields one after the other: integers little-endian, and blocks of bytes with their length.
class FieldWriter {
 public:
  template <std::unsigned_integral Word>
  void word(Word value) {
    bytes_.resize(bytes_.size() + sizeof value);
    store_le(bytes_.data() + bytes_.size() - sizeof value, value);
  }
  void block(std::span<const std::byte> bytes) {
    word<std::uint64_t>(bytes.size());
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  template <std::unsigned_integral Word>
  void words(std::span<const Word> values) {
    word<std::uint64_t>(values.size());
    for (const Word value : values) word(value);
  }

  [[nodiscard]] std::vector<std::byte> take() { return std::exchange(bytes_, {}); }

 private:
  std::vector<std::byte> bytes_;
};

// Reads them back. What lies behind the end reads as zeros, or as nothing: ok() tells.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::unsigned_integral Word>
  [[nodiscard]] Word word() {
    const std::span<const std::byte> bytes = take(sizeof(Word));
    return bytes.empty() ? Word{} : load_le<Word>(bytes.data());
  }
  [[nodiscard]] std::span<const std::byte> block() { return take(word<std::uint64_t>()); }
  template <std::unsigned_integral Word>
  [[nodiscard]] std::vector<Word> words() {
    const auto count = word<std::uint64_t>();
    if (count > rest_.size() / sizeof(Word)) ok_ = false;
    std::vector<Word> values;
    if (ok_) values.reserve(count);
    while (ok_ && values.size() < count) values.push_back(word<Word>());
    return values;
  }

  [[nodiscard]] bool ok() const { return ok_; }
  // Whether all was there, and there is nothing more.
  [[nodiscard]] bool at_end() const { return ok_ && rest_.empty(); }

 private:
  std::span<const std::byte> take(std::uint64_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::span<const std::byte> taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace grainmill
