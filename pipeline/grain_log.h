// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "pipeline/unit.h"

#include <cstdint>
#include <optional>
#include <span>

namespace grainmill {

// Receives what was found of a disk, digest grain by digest grain, in guest order and without gaps.
// Threads: one call at a time.
class GrainLog {
 public:
  virtual ~GrainLog() = default;

  // The next `grains` digest grains read as zeros.
  [[nodiscard]] virtual Status add_zeros(std::uint64_t grains) = 0;

  // One record a grain. `leaves`: their cryptographic digests, if they were asked for. `errors`:
  // why a grain could not be read, one a grain, or empty when all could.
  [[nodiscard]] virtual Status add(std::span<const GrainRecord> records,
                                   std::span<const std::byte> leaves,
                                   std::span<const std::optional<Error>> errors) = 0;

 protected:
  GrainLog() = default;
  GrainLog(const GrainLog&) = default;
  GrainLog& operator=(const GrainLog&) = default;
};

}  // namespace grainmill
