// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"
#include "engine/map/grain_tables.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace grainmill {

// Where a sparse extent keeps its tables, and how its writers must treat it.
struct AllocatorLayout {
  GrainTableShape shape;
  std::uint64_t directory_offset = 0;                       // bytes
  std::optional<std::uint64_t> redundant_directory_offset;  // bytes; nullopt: one copy only
  std::uint64_t data_begin = 0;  // grains lie at multiples of the grain from here on
  bool zeroed_entries = false;   // whether an entry may say "zeros"
};

// Hands out the grains of one sparse extent file and keeps its tables, both copies.
//
// The order that makes a power cut harmless: the data of a grain reaches the device before the
// entry that points to it, and flush() returns when both tables have. Entries only ever go from
// missing to zeroed to stored, never back; so where a power cut left one copy behind, the further
// entry is the right one (further_entry()). Many entries share one pair of syncs.
//
// Threads: all methods but close() may be called from several threads at once.
class GrainAllocator {
 public:
  // The file must outlive this object and be open for writing.
  [[nodiscard]] static Result<std::unique_ptr<GrainAllocator>> open(File& file,
                                                                    const AllocatorLayout& layout);

  [[nodiscard]] std::uint64_t grain_bytes() const { return layout_.shape.grain_bytes; }
  [[nodiscard]] bool zeroed_entries() const { return layout_.zeroed_entries; }

  // Takes `count` grains side by side at the end of the file, which is made long enough: they read
  // as zeros. Returns the byte offset of the first.
  [[nodiscard]] Result<std::uint64_t> take(std::uint64_t count);

  // Gives back what was taken and not put: its bytes are zeroed, and it may be taken again.
  void give_back(std::uint64_t file_offset, std::uint64_t count);

  // Says that the data of `grain` has been written (not necessarily synced) at `file_offset`, or
  // that it is all zeros. From the next flush() on the tables say so too. REQUIRES: put_zeros():
  // zeroed_entries(), and the grain is not stored.
  [[nodiscard]] Status put(std::uint64_t grain, std::uint64_t file_offset);
  [[nodiscard]] Status put_zeros(std::uint64_t grain);

  // Says that data was written in place: the next flush() syncs it.
  void note_write() { unsynced_.store(true, std::memory_order_release); }

  // Returns when everything that was written and put before it was called is durable. After a
  // failure every later call fails too: what a failed sync has dropped, a second one does not see.
  [[nodiscard]] Status flush();

  // As flush(), and gives back what was taken in advance. Nothing may be taken after it.
  [[nodiscard]] Status close();

 private:
  struct Change {
    std::uint64_t grain = 0;
    std::uint32_t entry = 0;
  };
  // One copy of the tables.
  struct Copy {
    std::uint64_t directory_offset = 0;
    std::vector<std::uint32_t> directory;   // sectors
    std::vector<std::uint64_t> new_tables;  // made by this flush, and not in the directory yet
  };

  GrainAllocator(File& file, const AllocatorLayout& layout) : file_(file), layout_(layout) {}

  [[nodiscard]] Status put_entry(const Change& change);
  [[nodiscard]] Status ensure_length(std::uint64_t end);
  [[nodiscard]] Status flush_now();
  [[nodiscard]] Status make_tables(std::span<const Change> changes);
  [[nodiscard]] Status make_table_group(Copy& copy, std::uint64_t table);
  [[nodiscard]] Status write_changes(std::span<const Change> changes);
  [[nodiscard]] Status write_to_tables(std::uint64_t table, std::span<const Change> changes);
  [[nodiscard]] Status name_tables(Copy& copy);

  File& file_;
  const AllocatorLayout layout_;

  std::atomic<std::uint64_t> next_ = 0;    // where the next grain begins
  std::atomic<std::uint64_t> length_ = 0;  // of the file
  std::atomic<bool> unsynced_ = false;
  std::atomic<bool> any_returned_ = false;
  std::mutex space_mutex_;  // changes of length_ and returned_
  std::vector<std::uint64_t> returned_;

  std::mutex changes_mutex_;
  std::vector<Change> changes_;  // put since the last flush began, in order

  // flush(): one at a time.
  std::mutex flush_mutex_;
  std::atomic<std::uint64_t> flushes_begun_ = 0;
  Status failure_;
  std::vector<Copy> copies_;
};

// Which of two copies of an entry a writer got further with. nullopt: both are stored grains, and
// different: no crash does that.
[[nodiscard]] constexpr std::optional<std::uint32_t> further_entry(std::uint32_t a,
                                                                   std::uint32_t b) {
  constexpr std::uint32_t kZeroed = 1;
  if (a == b || b == 0 || (b == kZeroed && a != 0)) return a;
  if (a <= kZeroed) return b;
  return std::nullopt;
}

}  // namespace grainmill
