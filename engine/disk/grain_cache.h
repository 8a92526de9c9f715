// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace grainmill {

// The last few grains that were inflated: whoever reads a compressed disk in small steps would
// inflate each grain many times.
// Threads: all methods may be called from several threads at once.
class GrainCache {
 public:
  using Grain = std::shared_ptr<const std::vector<std::byte>>;

  // Null if it is not here.
  [[nodiscard]] Grain find(const File* file, std::uint64_t file_offset) {
    const std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_)
      if (entry.file == file && entry.file_offset == file_offset) return entry.grain;
    return nullptr;
  }

  void add(const File* file, std::uint64_t file_offset, Grain grain) {
    const std::lock_guard lock(mutex_);
    entries_[next_] = {file, file_offset, std::move(grain)};
    next_ = (next_ + 1) % entries_.size();
  }

 private:
  struct Entry {
    const File* file = nullptr;
    std::uint64_t file_offset = 0;
    Grain grain;
  };

  std::mutex mutex_;
  std::array<Entry, 16> entries_;
  std::size_t next_ = 0;
};

}  // namespace grainmill
