// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <cstdint>
#include <map>
#include <vector>

namespace grainmill {

// Where the deflated blocks of links begin in their files, as their tables say: the map of a range
// does not tell what is stored beside it. Reads all tables of a link when it is first asked of it,
// and keeps 8 bytes a block.
class BlockStarts {
 public:
  // REQUIRES: `extent` is a deflated extent of `link`, which outlives this object.
  [[nodiscard]] Result<BlockNeighbours> beside(const LinkMap& link, const Extent& extent);

 private:
  using Starts = std::map<const File*, std::vector<std::uint64_t>>;

  std::map<const LinkMap*, Starts> links_;
};

}  // namespace grainmill
