// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/codec/digest.h"
#include "engine/format/repair.h"
#include "engine/io/file.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace grainmill::vmdk {

// Looks at an image as it would be with patches to one of its files. nullopt: it would still be
// damaged. Else a digest of where every byte of it would be read from: two ways of putting an image
// right that have the same one are the same.
using Trial = std::function<std::optional<Digest128>(std::span<const FilePatch>)>;

// What is known of an extent's header from elsewhere.
struct HeaderWitness {
  std::uint64_t claimed_bytes = 0;      // its size by the descriptor; 0: not known
  std::uint64_t descriptor_sector = 0;  // where its embedded descriptor begins; 0: it has none
  std::uint64_t descriptor_bytes = 0;   // of text
  bool claim_is_right = false;  // where the header has another size, that is the one to doubt
  bool opens = false;           // the extent, as it is
  bool is_stream = false;       // its descriptor says so: the grains are compressed
  // What is wrong is wrong with a few entries of the tables: the header's sizes are not to blame.
  bool sizes_are_right = false;
};

// Puts a hosted sparse header right where one field of it is damaged, or all of it is and there is
// a footer: the extent is sound with the correction and was not without. Leaves the plan as it is
// where nothing does it, or where two different disks would come of it.
[[nodiscard]] Status repair_header(const File& file, const HeaderWitness& witness,
                                   const Trial& trial, RepairPlan& plan);

}  // namespace grainmill::vmdk
