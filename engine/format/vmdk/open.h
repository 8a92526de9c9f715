// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace grainmill::vmdk {

// A sparse extent whose header is lost is not claimed: what is in its place may be anything.
[[nodiscard]] bool probe(std::span<const std::byte> head);

// Opens one link of a VMDK chain: a descriptor with its extents, or a sparse file with its
// descriptor inside. Files that the descriptor names are opened through options.policy.
[[nodiscard]] Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& files,
                                                 const OpenOptions& options);

// What to say of a file that has_lost_header() (descriptor.h).
[[nodiscard]] std::unexpected<Error> refuse_lost_header(const std::string& path);

// The descriptor beside `path` that names this file as an extent: what a user who opens a part of a
// disk should open instead. nullopt if there is none.
[[nodiscard]] std::optional<std::string> find_owner(FileSystem& files, const std::string& path);

}  // namespace grainmill::vmdk
