// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>

namespace grainmill::testing {

// Bytes without an end: pages of them, where some were written, and holes that read as zeros. A
// copy costs next to nothing, because pages are shared until one side writes to them.
// Threads: one at a time, and copies of each other count as one.
class SparsePages {
 public:
  static constexpr std::uint64_t kPageBytes = 4096;

  void read(std::uint64_t offset, std::span<std::byte> out) const;
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  // Pages that lie wholly in the range become holes.
  void zero(std::uint64_t offset, std::uint64_t length);
  // Takes a range over from `from`, holes as well. Whole pages are shared, not copied.
  void take(std::uint64_t offset, std::uint64_t length, const SparsePages& from);

  // The first run of written pages at or after the page of `offset`, as [begin, end) in bytes; an
  // empty one if there is none.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> next_run(std::uint64_t offset) const;
  [[nodiscard]] std::uint64_t stored_bytes() const;

 private:
  static constexpr std::uint64_t kChunkPages = 64;

  using Page = std::array<std::byte, kPageBytes>;
  struct Chunk {
    std::array<std::shared_ptr<Page>, kChunkPages> pages;
    std::size_t stored = 0;
  };

  [[nodiscard]] const std::shared_ptr<Page>* find(std::uint64_t page) const;
  // The place of a page, in a chunk that nobody shares.
  [[nodiscard]] Chunk& own_chunk(std::uint64_t page);
  [[nodiscard]] Page& own_page(std::uint64_t page);
  // `content` null: makes it a hole.
  void set_page(std::uint64_t page, std::shared_ptr<Page> content);

  std::map<std::uint64_t, std::shared_ptr<Chunk>> chunks_;  // by number; none is empty
};

}  // namespace grainmill::testing
