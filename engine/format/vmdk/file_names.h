// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/open_policy.h"

#include <memory>
#include <string>

namespace grainmill::vmdk {

// A file name as it stands in a descriptor, and the encoding that the descriptor says it has.
struct EncodedName {
  std::string text;
  std::string encoding;  // empty: none is said
};

// Opens a file that a descriptor names. Its name is in the descriptor's encoding, while file
// systems here hold UTF-8 mostly, or the bytes as they were: both are tried.
[[nodiscard]] Result<std::unique_ptr<File>> open_with_encoding(FileSystem& files,
                                                               const OpenPolicy& policy,
                                                               const std::string& descriptor_path,
                                                               const EncodedName& name,
                                                               OpenMode mode);

}  // namespace grainmill::vmdk
