// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace grainmill::vmdk {

// What an extent file says of itself, whatever its descriptor says.
struct ExtentFacts {
  std::string type;  // SPARSE, VMFSSPARSE; FLAT for what has no magic
  std::uint64_t sectors = 0;
  std::uint64_t grain_sectors = 1;  // sizes are rounded up to
  // The least and the most that the room for its tables is made for; 0: nothing tells.
  std::uint64_t least_sectors = 0;
  std::uint64_t most_sectors = 0;
  bool compressed = false;

  [[nodiscard]] bool has_room_told() const { return most_sectors != 0; }
  [[nodiscard]] bool room_is_for(std::uint64_t size) const {
    return size >= least_sectors && size <= most_sectors;
  }
};

// Fails where the header is damaged, or the size of a flat file is none of whole sectors.
[[nodiscard]] Result<ExtentFacts> read_extent_facts(const File& file);

// The cylinders, heads and sectors that a descriptor gives its disk.
class StatedGeometry {
 public:
  explicit StatedGeometry(std::string_view text);
  // nullopt: nothing can be said.
  [[nodiscard]] std::optional<bool> is_of(std::uint64_t sectors) const;

 private:
  std::optional<std::uint64_t> cylinders_;
  std::uint64_t track_sectors_ = 0;  // of a whole cylinder
};

enum class SizeVote : std::uint8_t { undecided, file, descriptor };

// Which of two sizes of an extent is right: its file's or that of its line in the descriptor.
// `others`: sectors of all the other extents of the disk.
[[nodiscard]] SizeVote vote_on_size(const ExtentFacts& facts, std::uint64_t line_sectors,
                                    std::uint64_t others, const StatedGeometry& geometry);

}  // namespace grainmill::vmdk
