// SPDX-License-Identifier: Apache-2.0
#include "engine/map/entry_pages.h"

#include "engine/base/arith.h"

namespace grainmill {
namespace {

constexpr std::uint64_t kSmallPage = 4096;
constexpr std::uint64_t kSmallPages = HugeMemory::kHugePageBytes / kSmallPage;
constexpr std::uint64_t kHomes = HugeMemory::kHugePageBytes / EntryPages::kBytes;

}  // namespace

Result<EntryPages> EntryPages::make(std::uint64_t pages) {
  EntryPages made;
  GM_TRY(made.home_memory_, HugeMemory::reserve((pages + 1) * kBytes));
  // Every page once, and some more than once.
  GM_TRY(made.away_memory_, HugeMemory::reserve((pages + pages / 4 + 512) * kBytes));
  made.home_ = reinterpret_cast<std::uint32_t*>(made.home_memory_.data());
  made.away_ = reinterpret_cast<std::uint32_t*>(made.away_memory_.data());
  made.taken_.resize(pages);
  made.stretches_.resize(ceil_div(pages, kHomes));
  return made;
}

bool EntryPages::take_home(std::uint64_t page) {
  if (taken_[page]) return false;
  taken_[page] = true;
  Stretch& stretch = stretches_[page / kHomes];
  const std::uint64_t neighbour = page ^ 1;
  const bool in_use = neighbour < taken_.size() && taken_[neighbour];
  if (in_use || stretch.huge) return true;
  home_bytes_ += kSmallPage;
  // Random access to much of it misses the TLB less then. Tried once: where it fails it may cost
  // much.
  if (++stretch.small_pages != kSmallPages / 2) return true;
  stretch.huge = home_memory_.make_huge(page / kHomes * HugeMemory::kHugePageBytes);
  if (stretch.huge) home_bytes_ += HugeMemory::kHugePageBytes - stretch.small_pages * kSmallPage;
  return true;
}

std::optional<std::uint32_t> EntryPages::take_away() {
  if (away_taken_ == away_memory_.bytes() / kBytes) return std::nullopt;
  return static_cast<std::uint32_t>(away_taken_++);
}

std::uint64_t EntryPages::memory_bytes() const {
  return home_bytes_ + align_up(away_taken_ * kBytes, kSmallPage) + taken_.size() / 8 +
         stretches_.size() * sizeof(Stretch);
}

}  // namespace grainmill
