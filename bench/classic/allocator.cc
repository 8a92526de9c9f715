// SPDX-License-Identifier: Apache-2.0
#include "bench/classic/allocator.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/io/file.h"

#include <array>

namespace grainmill::bench::classic {

Result<Allocator> Allocator::open(Link<CountedCache>& link) {
  const Geometry& geometry = link.geometry();
  std::vector<std::uint64_t> redundant;
  if (geometry.redundant_directory_offset != 0) {
    GM_TRY(redundant,
           read_directory(link.file(), geometry.shape, geometry.redundant_directory_offset));
  }
  GM_TRY(const FileInfo info, link.file().info());
  return Allocator(link, std::move(redundant),
                   align_up(info.size_bytes, geometry.shape.grain_bytes));
}

Result<std::uint64_t> Allocator::allocate(std::uint64_t grain, std::span<const std::byte> data) {
  File& file = link_->file();
  const std::uint64_t at = end_;
  end_ += link_->geometry().shape.grain_bytes;
  GM_CHECK(data.empty() ? file.resize(end_) : file.write_at(at, data));

  const auto sector = static_cast<std::uint32_t>(at / kSectorBytes);
  std::array<std::byte, 4> entry{};
  store_le(entry.data(), sector);
  const EntryPlace place = link_->place_of(grain);
  GM_CHECK(file.write_at(place.table_offset + place.index * 4, entry));
  if (!redundant_tables_.empty()) {
    const std::uint64_t table = grain / link_->geometry().shape.entries_per_table;
    GM_CHECK(file.write_at(redundant_tables_[table] + place.index * 4, entry));
  }
  link_->cache().update(place, sector);
  return at;
}

}  // namespace grainmill::bench::classic
