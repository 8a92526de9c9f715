// SPDX-License-Identifier: Apache-2.0
//
// The two small caches of grain table entries that benchmarks compare the cluster map with.
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace grainmill::bench::classic {

// Where the entry of a grain is.
struct EntryPlace {
  std::uint64_t grain = 0;
  std::uint64_t table_offset = 0;  // of its table, in the file
  std::uint64_t index = 0;         // in its table
};

// What hypervisors' drivers have had since 2004: 16 tables, looked for one after the other, each
// with a counter of its uses; the one used least makes room. A counter that is about to overflow
// halves them all.
class CountedCache {
 public:
  static constexpr std::size_t kTables = 16;
  static constexpr std::size_t kEntries = 512;

  explicit CountedCache(std::uint32_t most_uses = std::numeric_limits<std::uint32_t>::max())
      : most_uses_(most_uses) {}

  [[nodiscard]] Result<std::uint32_t> entry(const File& file, const EntryPlace& place);
  // Changes an entry if it is held here.
  void update(const EntryPlace& place, std::uint32_t entry);

 private:
  [[nodiscard]] std::size_t slot_of(std::uint64_t table_offset) const;
  void count_use(std::size_t slot);
  [[nodiscard]] Result<std::size_t> replace_least_used(const File& file,
                                                       std::uint64_t table_offset);

  std::uint32_t most_uses_;
  std::array<std::uint64_t, kTables> offsets_{};  // 0: nothing is held
  std::array<std::uint32_t, kTables> uses_{};
  std::vector<std::uint32_t> entries_ = std::vector<std::uint32_t>(kTables * kEntries);
};

// 256 lines of 128 entries; where an entry is held follows from its grain.
class DirectCache {
 public:
  static constexpr std::size_t kLines = 256;
  static constexpr std::size_t kEntries = 128;

  [[nodiscard]] Result<std::uint32_t> entry(const File& file, const EntryPlace& place);
  void update(const EntryPlace& place, std::uint32_t entry);

 private:
  std::array<std::uint64_t, kLines> offsets_{};  // of what each line holds; 0: nothing
  std::vector<std::uint32_t> entries_ = std::vector<std::uint32_t>(kLines * kEntries);
};

}  // namespace grainmill::bench::classic
