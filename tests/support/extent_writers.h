// SPDX-License-Identifier: Apache-2.0
//
// Inside the VMDK builder: one function for each kind of extent file.
#pragma once

#include "tests/support/layout.h"
#include "tests/support/output_file.h"
#include "tests/support/vmdk_builder.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace grainmill::testing {

// What one extent file must hold. The references outlive the call.
struct ExtentJob {
  const Layout& layout;
  std::size_t link = 0;
  const LinkOptions& options;
  std::filesystem::path path{};
  ExtentType type = ExtentType::sparse;
  std::uint64_t guest_offset = 0;
  std::uint64_t size_bytes = 0;
  std::string embedded_descriptor{};  // empty: none

  // Flat extents only.
  std::uint64_t file_offset = 0;
  bool no_access = false;
  OutputFile::Open open_mode = OutputFile::Open::truncate;
};

BuiltExtent write_sparse_extent(const ExtentJob& job);
BuiltExtent write_stream_extent(const ExtentJob& job);
BuiltExtent write_cowd_extent(const ExtentJob& job);
BuiltExtent write_flat_extent(const ExtentJob& job);

// A fresh description with the parts that all kinds share.
BuiltExtent describe_extent(const ExtentJob& job);

constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit;
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return divide_up(value, unit) * unit;
}

}  // namespace grainmill::testing
