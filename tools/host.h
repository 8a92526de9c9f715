// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <atomic>
#include <iosfwd>

namespace grainmill {

// What a verb may touch of the world outside; tests give it other ones.
struct Host {
  FileSystem& files;
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
  const std::atomic<bool>* cancelled = nullptr;
};

// Exit statuses, as in docs/exit-status.md.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitDiffers = 2;

// Those of compare, as qemu-img has them.
inline constexpr int kExitNotIdentical = 1;
inline constexpr int kExitNotCompared = 2;

// Those of check, as qemu-img has them.
inline constexpr int kExitNotChecked = 1;
inline constexpr int kExitDamaged = 2;
inline constexpr int kExitLeaks = 3;

// Those of scrub.
inline constexpr int kExitNotScrubbed = 1;
inline constexpr int kExitBadImages = 2;
inline constexpr int kExitOverdue = 3;

}  // namespace grainmill
