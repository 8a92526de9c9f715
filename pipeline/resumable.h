// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/conversion.h"

namespace grainmill {

// A conversion that goes on where an earlier one of the same source and options was broken off, if
// there was one, and can be broken off itself: by a kill, a power cut, an error of a device. What
// was written before is read back and held against the digests that were noted of it; what is not
// the same is converted anew. Damage of the source leaves nothing.
[[nodiscard]] Result<ConvertReport> convert_resumable(const Conversion& conversion);

// The name of its journal.
[[nodiscard]] std::string resume_journal_path(const std::string& output);

}  // namespace grainmill
