// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace grainmill {

// What a file is that is no disk image read here, told by its first bytes, with what to do about
// it; empty if unknown.
[[nodiscard]] std::string_view name_stranger(std::span<const std::byte> head);

// Whether a file whose first bytes no format knows is an image read here whose header is damaged.
[[nodiscard]] bool has_damaged_header(std::span<const std::byte> head);

}  // namespace grainmill
