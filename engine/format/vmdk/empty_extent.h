// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/layout.h"
#include "engine/io/file.h"

#include <cstdint>
#include <string_view>

namespace grainmill::vmdk {

struct EmptyExtentOptions {
  std::uint64_t capacity_sectors = 0;
  std::uint64_t grain_sectors = 128;
  std::uint64_t text_bytes = 0;  // of the embedded descriptor; 0: none
  bool zeroed_grains = false;    // entries may say "zeros", which needs version 2
};

// A hosted sparse extent with all its tables in front, both copies, as VMware's tools and qemu-img
// lay it out: header, descriptor, redundant directory and tables, directory and tables; grains
// follow on the next multiple of the grain.
[[nodiscard]] HostedHeader plan_hosted_extent(const EmptyExtentOptions& options);

// Whether the last grain still has a 32-bit sector number when all grains are stored.
[[nodiscard]] bool can_be_filled(const HostedHeader& header);

// Writes an extent without grains to an empty file; in one that was begun before, only what lies in
// front of the tables. REQUIRES: a header of plan_hosted_extent() for this text.
[[nodiscard]] Status write_empty_extent(File& file, const HostedHeader& header,
                                        std::string_view text);

}  // namespace grainmill::vmdk
