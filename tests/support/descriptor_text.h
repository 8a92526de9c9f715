// SPDX-License-Identifier: Apache-2.0
//
// Inside the VMDK builder: the text of a descriptor.
#pragma once

#include "tests/support/vmdk_builder.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grainmill::testing {

// One extent line, before the options for letter case.
struct ExtentLine {
  std::string access{};
  std::uint64_t size_bytes = 0;
  ExtentType type = ExtentType::sparse;
  std::string file_name{};                // empty: no name and no offset
  std::uint64_t flat_offset_sectors = 0;  // written for FLAT only
};

struct DescriptorFacts {
  std::uint32_t cid = 0;
  std::uint32_t parent_cid = 0;
  std::string parent_hint{};  // empty: no line
  std::string create_type{};
  std::uint64_t size_bytes = 0;
  std::vector<ExtentLine> extents{};
};

std::string descriptor_text(const DescriptorFacts& facts, const DescriptorOptions& options);

}  // namespace grainmill::testing
