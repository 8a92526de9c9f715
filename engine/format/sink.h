// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace grainmill {

enum class SinkOrder : std::uint8_t {
  any,        // write() may be called in any order, from several threads at once
  ascending,  // write() must be called in guest order, one call at a time
};

// Where converted guest data goes. The sink lays it out and keeps what it needs for its metadata.
// After the first error every further call fails or does nothing; the output is then only good for
// throwing away.
class Sink {
 public:
  virtual ~Sink() = default;

  [[nodiscard]] virtual SinkOrder ordering() const = 0;

  // Guest bytes; never called twice for the same range. The sink may leave out what is zero in
  // them.
  [[nodiscard]] virtual Status write(std::uint64_t guest_offset,
                                     std::span<const std::byte> bytes) = 0;

  // A guest range that reads as zeros. Most of a disk arrives like this: must cost nothing.
  [[nodiscard]] virtual Status write_zero(std::uint64_t guest_offset, std::uint64_t length) = 0;

  // After the last write: metadata. The caller syncs and names the file afterwards.
  [[nodiscard]] virtual Status finish() = 0;

 protected:
  Sink() = default;
  Sink(const Sink&) = default;
  Sink& operator=(const Sink&) = default;
};

}  // namespace grainmill
