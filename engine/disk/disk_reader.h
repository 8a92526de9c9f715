// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/disk/grain_cache.h"
#include "engine/format/format.h"
#include "engine/map/chain_map.h"
#include "engine/map/cluster_map.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace grainmill {

// Reads any range of a chain.
// Threads: all methods may be called from several threads at once.
class DiskReader {
 public:
  // Top link first; all must outlive this object.
  DiskReader(const ChainMap& chain, std::vector<const Link*> links)
      : chain_(chain), links_(std::move(links)) {}

  // Made at the first call: whole conversions do without.
  [[nodiscard]] Result<ClusterMap*> clusters() const;

  [[nodiscard]] Status read_at(std::uint64_t offset, std::span<std::byte> out) const;

  // `invalid_argument` if the range is not wholly inside the disk.
  [[nodiscard]] Status check_range(std::uint64_t offset, std::uint64_t length) const;

 private:
  [[nodiscard]] Status read_deflated(std::uint64_t offset, std::span<std::byte> out) const;
  [[nodiscard]] Result<GrainCache::Grain> inflate(const Extent& extent) const;

  const ChainMap& chain_;
  std::vector<const Link*> links_;
  mutable std::mutex mutex_;  // makes clusters_
  mutable std::atomic<ClusterMap*> ready_ = nullptr;
  mutable std::unique_ptr<ClusterMap> clusters_;
  mutable GrainCache cache_;
};

}  // namespace grainmill
