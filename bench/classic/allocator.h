// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/classic/chain.h"
#include "bench/classic/table_cache.h"
#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace grainmill::bench::classic {

// The classic way to allocate: the file grows by a grain, and the entry goes into the table and
// into the redundant table by a write of 4 bytes each. All tables must exist.
class Allocator {
 public:
  // `link` must outlive this object, and its file be open for writing.
  [[nodiscard]] static Result<Allocator> open(Link<CountedCache>& link);

  // Returns where the grain begins in the file. `data`: the whole grain; empty: the file only
  // grows.
  [[nodiscard]] Result<std::uint64_t> allocate(std::uint64_t grain,
                                               std::span<const std::byte> data);
  [[nodiscard]] Status flush() { return link_->file().sync(); }

 private:
  Allocator(Link<CountedCache>& link, std::vector<std::uint64_t> redundant, std::uint64_t end)
      : link_(&link), redundant_tables_(std::move(redundant)), end_(end) {}

  Link<CountedCache>* link_;
  std::vector<std::uint64_t> redundant_tables_;  // byte offsets; empty: one copy only
  std::uint64_t end_;                            // of the file
};

}  // namespace grainmill::bench::classic
