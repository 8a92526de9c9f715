// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/qcow2/layout.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace grainmill::qcow2 {

// The other way round of layout.h: parse_header() and decode_entry() give these back.

// A header of version 3, without backing file and extensions.
[[nodiscard]] std::vector<std::byte> encode_header(const Header& header);

// The L2 entry of a cluster of data that has this one user, or of a compressed one; nullopt if an
// entry of clusters of this size cannot point there.
[[nodiscard]] std::optional<std::uint64_t> encode_entry(const Mapping& mapping,
                                                        const Header& header);

}  // namespace grainmill::qcow2
