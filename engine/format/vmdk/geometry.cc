// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/geometry.h"

#include "engine/base/units.h"

#include <algorithm>

namespace grainmill::vmdk {

Geometry usual_geometry(std::uint64_t capacity_sectors, std::string_view adapter_type) {
  constexpr std::uint64_t kMaxIdeCylinders = 16383;  // ATA
  constexpr std::uint64_t kMaxCylinders = 65535;
  const bool ide = adapter_type == "ide";
  Geometry geometry;
  if (!ide && capacity_sectors <= kGiB / kSectorBytes)
    geometry = {.heads = 64, .sectors = 32};
  else if (!ide)
    geometry = {.heads = 255, .sectors = 63};
  geometry.cylinders =
      std::clamp<std::uint64_t>(capacity_sectors / (geometry.heads * geometry.sectors), 1,
                                ide ? kMaxIdeCylinders : kMaxCylinders);
  return geometry;
}

}  // namespace grainmill::vmdk
