// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/create.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_text.h"
#include "engine/format/vmdk/layout.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace grainmill::vmdk {

// One createType that is made here.
struct Subformat {
  std::string_view name;
  std::string_view extent_type;
  std::string_view mark;  // of its extents' names; empty: the extent is the file itself
  bool split = false;
  bool compressed = false;

  [[nodiscard]] bool sparse() const { return extent_type == "SPARSE"; }
  [[nodiscard]] bool embedded() const { return mark.empty(); }
};

// A new disk, decided in every detail but made of nothing yet.
struct DiskPlan {
  Subformat subformat;
  std::uint64_t sectors = 0;
  std::uint64_t grain_sectors = 0;  // 0: flat
  bool zeroed_grains = false;
  Descriptor descriptor;
  DiskDatabase database;
  std::string text;    // the descriptor's
  std::string folder;  // of its files, with the slash, or empty

  [[nodiscard]] std::string_view embedded_text() const {
    return subformat.embedded() ? text : std::string_view();
  }
  // REQUIRES: subformat.sparse(), and not compressed.
  [[nodiscard]] HostedHeader header(const ExtentLine& extent) const;
};

enum class Contents : std::uint8_t {
  later,  // the disk is empty, and will be written to
  now,    // it gets all it will ever hold while it is made: streamOptimized too
};

// Pure, but for the parent, which is read.
[[nodiscard]] Result<DiskPlan> plan_disk(const std::string& path, const CreateOptions& options,
                                         Contents contents);

}  // namespace grainmill::vmdk
