// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/sink.h"
#include "engine/io/file.h"

#include <cstdint>
#include <memory>

namespace grainmill::raw {

// A sink that makes `file` (new and empty) the raw disk of `size_bytes`. Runs of zeros of at least
// `hole_bytes`, aligned to it, are left as holes; 0 writes every byte that is given. `file` must
// outlive the sink.
[[nodiscard]] Result<std::unique_ptr<Sink>> make_sink(File& file, std::uint64_t size_bytes,
                                                      std::uint64_t hole_bytes);

}  // namespace grainmill::raw
