// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace grainmill::vmdk {

// What old guests are told of a disk. It never says how large the disk is.
struct Geometry {
  std::uint64_t cylinders = 1;
  std::uint64_t heads = 16;
  std::uint64_t sectors = 63;  // a track

  bool operator==(const Geometry&) const = default;
};

// The geometry that VMware's tools give a disk on this adapter (ide, lsilogic, buslogic, ...).
[[nodiscard]] Geometry usual_geometry(std::uint64_t capacity_sectors,
                                      std::string_view adapter_type);

}  // namespace grainmill::vmdk
