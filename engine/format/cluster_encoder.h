// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/sink.h"

#include <cstdint>
#include <memory>

namespace grainmill {

// An encoder of outputs that store whole clusters, as they are: each that is not zero becomes a
// block, for place() to say where. SinkShape::unit_bytes is the cluster.
[[nodiscard]] std::unique_ptr<Encoder> make_cluster_encoder(std::uint64_t cluster_bytes);

}  // namespace grainmill
