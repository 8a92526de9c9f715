// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk_reader.h"

#include "engine/base/arith.h"
#include "engine/codec/inflate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace grainmill {

Result<ClusterMap*> DiskReader::clusters() const {
  if (ClusterMap* map = ready_.load(std::memory_order_acquire)) return map;
  const std::lock_guard lock(mutex_);
  if (!clusters_) {
    GM_TRY(clusters_, ClusterMap::make(chain_));
    ready_.store(clusters_.get(), std::memory_order_release);
  }
  return clusters_.get();
}

Status DiskReader::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (range_within(offset, length, chain_.size_bytes())) return {};
  return fail(ErrorKind::invalid_argument, links_.front()->files().front()->path(),
              fmt::format("{} bytes from {:#x} on are not wholly inside the disk, which has {:#x}",
                          length, offset, chain_.size_bytes()));
}

Status DiskReader::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  GM_CHECK(check_range(offset, out.size()));
  GM_TRY(const ClusterMap* map, clusters());
  while (!out.empty()) {
    GM_TRY(const Extent run, map->find_run(offset, out.size()));
    const std::span<std::byte> part = out.first(run.length);
    switch (run.kind) {
      case ExtentKind::data:
        GM_CHECK(run.file->read_exact_at(run.file_offset, part));
        break;
      case ExtentKind::deflated:
        GM_CHECK(read_deflated(offset, part));
        break;
      case ExtentKind::zero:
      case ExtentKind::hole:
        std::ranges::fill(part, std::byte{0});
        break;
    }
    offset += run.length;
    out = out.subspan(run.length);
  }
  return {};
}

// The chain map knows what inflating needs, and the cluster map does not.
Status DiskReader::read_deflated(std::uint64_t offset, std::span<std::byte> out) const {
  ExtentList list;
  GM_CHECK(chain_.compose(offset, out.size(), list));
  for (const Extent& extent : list) {
    const std::span<std::byte> part = out.subspan(extent.guest_offset - offset, extent.length);
    if (extent.kind != ExtentKind::deflated) {
      GM_CHECK(read_at(extent.guest_offset, part));
      continue;
    }
    GM_TRY(const GrainCache::Grain grain, inflate(extent));
    std::memcpy(part.data(), grain->data() + extent.grain_skip, part.size());
  }
  return {};
}

Result<GrainCache::Grain> DiskReader::inflate(const Extent& extent) const {
  if (GrainCache::Grain grain = cache_.find(extent.file, extent.file_offset)) return grain;
  std::vector<std::byte> stored(extent.stored_bytes);
  GM_CHECK(extent.file->read_exact_at(extent.file_offset, stored));
  auto grain = std::make_shared<std::vector<std::byte>>(extent.grain_bytes);
  thread_local Inflater inflater;
  GM_CHECK(links_[extent.link]->inflate(extent, stored, inflater, *grain));
  cache_.add(extent.file, extent.file_offset, grain);
  return grain;
}

}  // namespace grainmill
