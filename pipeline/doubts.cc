// SPDX-License-Identifier: Apache-2.0
#include "pipeline/doubts.h"

#include "engine/base/units.h"

#include <algorithm>
#include <utility>

namespace grainmill {
namespace {

constexpr std::size_t kMost = 16384;

}  // namespace

void Doubts::add(Doubt doubt) {
  doubts_.push_back(std::move(doubt));
  if (doubts_.size() < 2 * kMost) return;
  join(gap_);
  while (doubts_.size() > kMost) {
    gap_ = std::max(64 * kKiB, 2 * gap_);
    join(gap_);
  }
}

void Doubts::finish() { join(gap_); }

void Doubts::join(std::uint64_t gap) {
  std::ranges::stable_sort(doubts_, {}, &Doubt::begin);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < doubts_.size(); ++i) {
    if (doubts_[i].begin <= doubts_[kept].end || doubts_[i].begin - doubts_[kept].end <= gap) {
      doubts_[kept].end = std::max(doubts_[kept].end, doubts_[i].end);
    } else if (++kept != i) {
      doubts_[kept] = std::move(doubts_[i]);
    }
  }
  if (!doubts_.empty()) doubts_.resize(kept + 1);
}

const Doubt* Doubts::first_behind(std::uint64_t offset) const {
  const auto found = std::ranges::upper_bound(doubts_, offset, {}, &Doubt::end);
  return found == doubts_.end() ? nullptr : &*found;
}

}  // namespace grainmill
