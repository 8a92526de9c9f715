// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/disk/disk_reader.h"
#include "engine/format/format.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace grainmill {

// Writes the top link of a chain: in place where a grain is stored, else into a new grain, with
// what the write does not cover copied up from the chain. Threads: all methods but open() and
// close() may be called from several threads at once. A grain is allocated under the lock of its
// stripe, so that its copy-up happens once; all else goes without locks.
class DiskWriter {
 public:
  // Begins writing. Both must outlive this object.
  [[nodiscard]] static Result<std::unique_ptr<DiskWriter>> open(WritableLink& link,
                                                                const DiskReader& reader);

  // See Disk. REQUIRES of all: the range lies in the disk.
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] Status write_zeroes(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Status discard(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Status flush();
  [[nodiscard]] Status close();
  [[nodiscard]] Status set_content_id(std::uint32_t id);

  // Whether what the top link stores there is in a file that may have holes of its own.
  [[nodiscard]] bool is_flat(std::uint64_t offset) const;

 private:
  // A part of the link, and whether it has writes that no sync has covered yet (flat parts).
  struct Part {
    WritablePart place;
    std::atomic<bool> unsynced = false;
  };
  // A piece of one request that lies in one part. `bytes` is empty for zeros.
  struct Piece {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::span<const std::byte> bytes;
    bool may_stay = false;  // a discard: nothing is allocated for it
  };
  class GrainLocks;

  DiskWriter(WritableLink& link, const DiskReader& reader, ClusterMap& map)
      : link_(link), reader_(reader), map_(map) {}

  [[nodiscard]] Status write_pieces(Piece whole);
  [[nodiscard]] Status announce_change();
  [[nodiscard]] Status write_flat(Part& part, const Piece& piece);
  [[nodiscard]] Status write_sparse(const WritablePart& part, Piece piece);
  [[nodiscard]] Status write_stored(const WritablePart& part, const Piece& piece,
                                    std::uint64_t file_offset);
  [[nodiscard]] Result<std::uint64_t> write_missing(const WritablePart& part, const Piece& piece);
  [[nodiscard]] Status put_zeros(const WritablePart& part, const Piece& piece);
  [[nodiscard]] Status put_new(const WritablePart& part, const Piece& piece);
  [[nodiscard]] Status fill_new(const WritablePart& part, const Piece& piece,
                                std::uint64_t file_offset) const;
  [[nodiscard]] Result<bool> reads_as_zero(std::uint64_t begin, std::uint64_t end) const;
  [[nodiscard]] Part& part_at(std::uint64_t offset) const;

  static constexpr std::size_t kStripes = 256;

  WritableLink& link_;
  const DiskReader& reader_;
  ClusterMap& map_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::array<std::mutex, kStripes> stripes_;
  std::mutex announce_mutex_;
  std::atomic<bool> announced_ = false;
};

}  // namespace grainmill
