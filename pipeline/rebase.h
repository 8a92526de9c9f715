// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace grainmill {

struct RebaseOptions {
  std::string image;
  DiskOptions disk;
  // The new parent's name, as it will stand in the image: relative to the image's folder. Empty:
  // none. nullopt: the one it names already, whose content ID is taken over.
  std::optional<std::string> parent;
  bool header_only = false;  // believe that the new parent holds what the old one did
  bool dry_run = false;      // only say what would change
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress{};  // guest bytes
};

// What the image says of its parent, before and after.
struct RebaseReport {
  std::optional<ParentRef> before;
  std::optional<ParentRef> after;
  std::uint64_t copied_bytes = 0;  // what the new parent does not hold, now stored in the image
};

// Makes an image a child of another parent. With header_only it changes nothing but what the image
// says of its parent: this mends a parent that was moved, or that was written to. Otherwise the
// image reads as before: wherever the new parent differs from the old one, the old contents are
// copied into the image first, so that a power cut at any moment leaves it reading the same.
[[nodiscard]] Result<RebaseReport> rebase(FileSystem& files, const RebaseOptions& options);

}  // namespace grainmill
