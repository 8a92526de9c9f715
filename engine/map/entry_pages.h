// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/huge_memory.h"
#include "engine/map/cluster_page.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace grainmill {

// Memory for the entries of a ClusterMap. A page has its home, which needs no looking up: the entry
// of a cluster is home()[number of the cluster]. It has it once. What it needs afterwards, or what
// does not fit there, lies in a page of away().
//
// Memory is used as pages are taken: 4 KiB for two homes that are neighbours, and a huge page in
// place of those where at least half of it is in use.
//
// Threads: one at a time; what is in the pages is the caller's.
class EntryPages {
 public:
  static constexpr std::uint64_t kBytes = kPageClusters * sizeof(std::uint32_t);

  EntryPages() = default;
  // For a disk of so many pages.
  [[nodiscard]] static Result<EntryPages> make(std::uint64_t pages);

  [[nodiscard]] std::uint32_t* home() const { return home_; }
  [[nodiscard]] std::uint32_t* away() const { return away_; }

  // Whether the page still has its home; afterwards it has not. REQUIRES: page < pages.
  [[nodiscard]] bool take_home(std::uint64_t page);
  // The number of a page in away(). nullopt: all are taken.
  [[nodiscard]] std::optional<std::uint32_t> take_away();

  // What is in use of what was reserved.
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  // Of a huge page of homes.
  struct Stretch {
    std::uint16_t small_pages = 0;  // in use
    bool huge = false;
  };

  HugeMemory home_memory_;
  HugeMemory away_memory_;
  std::uint32_t* home_ = nullptr;
  std::uint32_t* away_ = nullptr;
  std::vector<bool> taken_;  // homes
  std::vector<Stretch> stretches_;
  std::uint64_t home_bytes_ = 0;  // in use
  std::uint64_t away_taken_ = 0;
};

}  // namespace grainmill
