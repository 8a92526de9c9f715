// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace grainmill {

// A set of numbered slots of a file, for telling that two things claim the same place. Memory grows
// with the slots that are taken (one bit each, in pages of 8 KiB), not with the size that a header
// claims.
class SlotSet {
 public:
  // Adds [first, first + count). Returns false if any of them was taken already; all are taken
  // afterwards.
  bool add(std::uint64_t first, std::uint64_t count) {
    bool fresh = true;
    for (std::uint64_t slot = first; slot < first + count; ++slot) fresh = add_one(slot) && fresh;
    return fresh;
  }

  [[nodiscard]] bool contains(std::uint64_t slot) const {
    const auto found = pages_.find(slot / kPageSlots);
    return found != pages_.end() &&
           ((*found->second)[slot % kPageSlots / 64] >> (slot % 64) & 1) != 0;
  }

 private:
  static constexpr std::uint64_t kPageSlots = 65536;
  using Page = std::array<std::uint64_t, kPageSlots / 64>;

  bool add_one(std::uint64_t slot) {
    const std::uint64_t number = slot / kPageSlots;
    if (last_ == nullptr || number != last_number_) {
      std::unique_ptr<Page>& page = pages_[number];
      if (!page) page = std::make_unique<Page>();
      last_ = page.get();
      last_number_ = number;
    }
    std::uint64_t& word = (*last_)[slot % kPageSlots / 64];
    const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }

  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  Page* last_ = nullptr;  // neighbours come together
  std::uint64_t last_number_ = 0;
};

}  // namespace grainmill
