// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/layout.h"
#include "engine/io/file.h"

#include <cstdint>
#include <set>
#include <vector>

namespace grainmill::vmdk {

// A stream-optimised extent as it is walked from block to block, without believing its tables.
struct StreamWalk {
  struct Grain {
    std::uint64_t sector = 0;   // where its header is
    std::uint64_t address = 0;  // by its header, in sectors; may be damaged
    std::uint32_t size = 0;     // of its zlib stream, as it was found to be
    bool size_differs = false;  // from what its header says
  };
  struct Marker {
    std::uint64_t sector = 0;
    std::uint32_t type = 0;
    std::uint64_t payload_sectors = 0;
  };
  std::vector<Grain> grains;
  std::vector<Marker> markers;
  bool whole = true;           // every sector up to the end belongs to a block
  bool ended = false;          // by an end-of-stream marker
  std::uint64_t end_byte = 0;  // behind the last block
};

// `known` are sectors where the tables say that grains are.
[[nodiscard]] Result<StreamWalk> walk_stream(const File& file, const HostedHeader& header,
                                             const std::set<std::uint64_t>& known);

}  // namespace grainmill::vmdk
