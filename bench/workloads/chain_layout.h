// SPDX-License-Identifier: Apache-2.0
//
// Which grain of a benchmark's disk is stored in which link and where in its file: a function that
// answers for any grain at once, so that a lookup can be compared with it and a chain of any size
// written from it.
#pragma once

#include "engine/map/grain_tables.h"

#include <cstdint>
#include <string>

namespace grainmill::bench {

inline constexpr std::uint64_t kDefaultGrainBytes = 65536;  // as VMware makes them
inline constexpr std::uint32_t kTableEntries = 512;

enum class Layout : std::uint8_t {
  contiguous,  // runs that are side by side in the file as well, each in a link of its own
  scattered,   // each grain by itself: chance decides on the link, and no two are neighbours
};

struct ChainSpec {
  std::uint64_t disk_bytes = 0;
  std::uint32_t depth = 1;
  std::uint32_t allocated_percent = 100;
  Layout layout = Layout::scattered;
  bool redundant_tables = false;
  bool stores_data = false;  // false: a hole of the file system where the grains would be
  std::uint64_t grain_bytes = kDefaultGrainBytes;

  bool operator==(const ChainSpec&) const = default;
  // "64GiB/depth:32/alloc:50/scattered", and "/grain:4KiB" where that is not the default.
  [[nodiscard]] std::string name() const;
};

// Where one grain is; link 0 is the top.
struct GrainPlace {
  bool stored = false;
  std::uint32_t link = 0;
  std::uint64_t file_offset = 0;

  bool operator==(const GrainPlace&) const = default;
};

class ChainLayout {
 public:
  // REQUIRES: the disk has a power of two of grains, one table or more, and a grain is a power of
  // two of bytes, a sector or more.
  explicit ChainLayout(const ChainSpec& spec);

  [[nodiscard]] const ChainSpec& spec() const { return spec_; }
  [[nodiscard]] std::uint64_t grains() const { return grains_; }
  [[nodiscard]] std::uint64_t grain_bytes() const { return spec_.grain_bytes; }
  [[nodiscard]] GrainPlace place(std::uint64_t grain) const;

  // All links have their metadata at the same places, in bytes.
  [[nodiscard]] GrainTableShape shape() const;
  [[nodiscard]] std::uint64_t redundant_directory_offset() const;  // 0: there is none
  [[nodiscard]] std::uint64_t directory_offset() const;
  [[nodiscard]] std::uint64_t data_begin() const;
  [[nodiscard]] std::uint64_t file_bytes() const { return data_begin() + spec_.disk_bytes; }
  // Where the tables of the directory at `directory_offset` are: behind it, all of them, in order.
  [[nodiscard]] std::uint64_t tables_offset(std::uint64_t directory_offset) const;

 private:
  [[nodiscard]] std::uint64_t copy_bytes() const;  // a directory and its tables

  ChainSpec spec_;
  std::uint64_t grains_;
  std::uint64_t zone_grains_;  // contiguous: how many grains are of one link
};

// A permutation of [0, size) that tears neighbours apart. REQUIRES: size is a power of two, 4 or
// more; value < size.
[[nodiscard]] std::uint64_t scatter(std::uint64_t value, std::uint64_t size);

}  // namespace grainmill::bench
