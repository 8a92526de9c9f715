// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/descriptor.h"

#include <string_view>

namespace grainmill::vmdk {

// Holds a descriptor's createType against its extent lines: kinds that cannot be read are refused
// by their name, and a combination that no writer makes is damage.
[[nodiscard]] Status check_create_type(const Descriptor& descriptor, std::string_view path,
                                       std::uint64_t text_offset);

// Whether this createType means that each flat file holds exactly what the descriptor says, and no
// more.
[[nodiscard]] bool flat_files_are_exact(const Descriptor& descriptor);

// A stream by its createType.
[[nodiscard]] bool is_stream_optimized(const Descriptor& descriptor);

// Split disks number their files. A gap in the numbers of the extent lines, in order, means that a
// line is lost.
[[nodiscard]] Status check_numbering(const Descriptor& descriptor, std::string_view path,
                                     std::uint64_t text_offset);

// The name of the file that would come after the last one of a split disk; empty if its files are
// not numbered.
[[nodiscard]] std::string name_after_last(const Descriptor& descriptor);

}  // namespace grainmill::vmdk
