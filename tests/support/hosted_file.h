// SPDX-License-Identifier: Apache-2.0
//
// Inside the VMDK builder: what sparse and streamOptimized extents have in common, the hosted
// sparse header ("KDMV") with the descriptor, directory and tables behind it.
#pragma once

#include "tests/support/extent_writers.h"
#include "tests/support/grain_plan.h"
#include "tests/support/output_file.h"
#include "tests/support/table_copy.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace grainmill::testing {

inline constexpr std::uint64_t kGdInFooter = ~std::uint64_t{0};

inline constexpr std::uint32_t kFlagNewlineTest = 1U << 0;
inline constexpr std::uint32_t kFlagRedundantTables = 1U << 1;
inline constexpr std::uint32_t kFlagZeroGrains = 1U << 2;
inline constexpr std::uint32_t kFlagCompressed = 1U << 16;
inline constexpr std::uint32_t kFlagMarkers = 1U << 17;

// An extent file while it is written: the writers add parts at the cursor and finish with the
// header.
class HostedFile {
 public:
  HostedFile(const ExtentJob& job, std::uint32_t flags);

  // The steps, in the order in which they stand in a file.
  void put_descriptor();
  void place_redundant_tables();
  void place_tables();
  void begin_grains(bool on_grain_boundary);
  // Notes a stored grain whose entry is the sector of `data_offset`.
  void add_grain(std::uint64_t grain, std::uint64_t data_offset, std::uint64_t stored_bytes);
  // Writes every placed copy of directory and tables.
  void write_tables();
  void write_header(std::uint64_t offset, std::uint64_t gd_sector);
  // Sets the file's size and completes the description.
  BuiltExtent finish(std::uint64_t file_size);

  // A stream with a footer finds the places of its tables as it goes.
  void set_tables(TableCopy tables) { primary_ = std::move(tables); }
  const TableCopy& tables() const { return primary_; }
  std::vector<bool> wanted_tables() const;

  const GrainPlan& plan() const { return plan_; }
  const TableEntries& entries() const { return entries_; }
  OutputFile& file() { return file_; }
  BuiltExtent& built() { return built_; }
  std::uint64_t& cursor() { return cursor_; }  // the next free sector

 private:
  std::array<std::byte, 512> encode_header(std::uint64_t gd_sector) const;

  const ExtentJob& job_;
  std::uint32_t flags_;
  GrainPlan plan_;
  TableEntries entries_;
  OutputFile file_;
  BuiltExtent built_;
  TableCopy primary_;
  TableCopy redundant_;
  std::uint64_t cursor_ = 1;
};

}  // namespace grainmill::testing
