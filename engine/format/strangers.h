// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace grainmill {

// What a file is that is no disk image read here, told by its first bytes, with what to do about
// it; empty if unknown.
[[nodiscard]] std::string_view name_stranger(std::span<const std::byte> head);

// A VMDK whose writer was interrupted, by its magic number.
[[nodiscard]] bool is_unfinished(std::span<const std::byte> head);

}  // namespace grainmill
