// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

struct CommitOptions {
  std::string snapshot;
  DiskOptions disk;
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress{};  // guest bytes
};

struct CommitReport {
  std::string parent_path;
  std::uint64_t data_bytes = 0;    // written to the parent
  std::uint64_t zeroed_bytes = 0;  // made to read as zeros there
  bool resumed = false;            // an earlier commit of this snapshot had not come to its end
  bool snapshot_linked = false;    // the snapshot names the parent as it is now
};

// Writes what a snapshot stores into its parent, which then reads as the snapshot did and takes its
// content ID: other snapshots of that parent are refused from then on, as they must be.
//
// At every moment, through a power cut too, the snapshot on top of the half-written parent reads as
// before, and another commit() brings it to its end; until then other programs refuse the chain,
// because the parent's content ID is no longer the one that the snapshot names. What a cancelled
// one leaves is the same. The snapshot itself is not changed but for that ID, at the end.
[[nodiscard]] Result<CommitReport> commit(FileSystem& files, const CommitOptions& options);

}  // namespace grainmill
