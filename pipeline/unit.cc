// SPDX-License-Identifier: Apache-2.0
#include "pipeline/unit.h"

#include <new>

namespace grainmill {
namespace {

constexpr std::align_val_t kAlignment{4096};

}  // namespace

Buffer::Buffer(std::size_t size_bytes)
    : data_(static_cast<std::byte*>(::operator new[](size_bytes, kAlignment))), size_(size_bytes) {}

void Buffer::Free::operator()(std::byte* data) const { ::operator delete[](data, kAlignment); }

Unit::Unit(const UnitShape& shape)
    : guest(shape.guest_bytes),
      stored(shape.stored_bytes),
      scratch(shape.grain_bytes),
      room(shape.room_bytes) {
  const std::size_t grains = shape.guest_bytes / kDigestGrain;
  records.reserve(grains);
  leaves.reserve(grains * shape.leaf_bytes);
}

void Unit::reset() {
  zero = false;
  extents.clear();
  status = {};
  stored_at.clear();
  records.clear();
  leaves.clear();
  grain_errors.clear();
  piece.reset();
}

}  // namespace grainmill
