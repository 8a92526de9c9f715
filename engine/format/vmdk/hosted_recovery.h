// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/hosted_check.h"
#include "engine/io/file.h"
#include "engine/map/grain_allocator.h"

#include <cstdint>

namespace grainmill::vmdk {

// Where grains of this extent may lie: here and at every multiple of the grain behind. Writers
// align to the start of the file or to the grain area; what is stored already decides.
[[nodiscard]] Result<std::uint64_t> first_grain_place(const HostedTables& extent);

// Clearing away what a writer that did not close the file left behind. REQUIRES of both:
// check_hosted_tables() found nothing wrong; `file` is the extent's, open for writing.

// Frees the space of grains that no entry of either copy refers to.
[[nodiscard]] Status reclaim_space(const HostedTables& extent, File& file);

// Brings the copy of the tables that is behind up to the other one.
[[nodiscard]] Status even_out_tables(const HostedTables& extent, GrainAllocator& allocator);

}  // namespace grainmill::vmdk
