// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/catalogue.h"
#include "pipeline/grain_log.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace grainmill {

// What time it is, and waiting: tests give another one.
struct ScrubClock {
  std::function<std::int64_t()> now;                 // seconds since the epoch
  std::function<std::chrono::nanoseconds()> steady;  // since whenever
  std::function<void(std::chrono::nanoseconds)> sleep;
};
[[nodiscard]] ScrubClock system_clock();

// Holds reading to a number of bytes a second, by waiting.
class Throttle {
 public:
  // `bytes_per_second`: 0 for no limit.
  Throttle(const ScrubClock& clock, std::uint64_t bytes_per_second,
           const std::atomic<bool>* cancelled)
      : clock_(clock), rate_(bytes_per_second), cancelled_(cancelled) {}

  // Returns when this much more may have been read, or when cancelled.
  void take(std::uint64_t bytes);

 private:
  const ScrubClock& clock_;
  std::uint64_t rate_;
  const std::atomic<bool>* cancelled_;
  std::chrono::nanoseconds free_at_{};  // when all that was taken is paid for
};

// The digests of a chunk of an image as it was found. 16 bytes a digest grain, zeros for a grain of
// zeros; zeros at the end are left out, so that what holds nothing takes no room.
struct FoundChunk {
  std::uint64_t number = 0;
  std::vector<std::byte> digests;
  std::vector<Flaw> lost;  // what could not be read
  std::uint64_t data_bytes = 0;
};

// Where chunks of the same place differ, but for what is lost, in whole digest grains.
[[nodiscard]] std::vector<Flaw> differences(std::span<const std::byte> expected,
                                            const FoundChunk& found, std::uint64_t chunk_bytes,
                                            std::uint64_t disk_bytes);

// Cuts what is found of a disk into chunks. Threads: as GrainLog.
class ChunkLog final : public GrainLog {
 public:
  using Take = std::function<Status(FoundChunk&)>;

  // `chunk_bytes`: a multiple of the digest grain.
  ChunkLog(std::uint64_t disk_bytes, std::uint64_t chunk_bytes, std::uint64_t first_chunk,
           Throttle& throttle, Take take);

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override;
  [[nodiscard]] Status add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> errors) override;

 private:
  void append(const GrainRecord& record, const std::optional<Error>& error);
  [[nodiscard]] Status advance(std::uint64_t grains);

  std::uint64_t disk_bytes_;
  std::uint64_t chunk_bytes_;
  Throttle& throttle_;
  Take take_;
  std::uint64_t position_;  // in bytes of the guest disk
  FoundChunk chunk_;
};

}  // namespace grainmill
