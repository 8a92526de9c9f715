// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file_system.h"
#include "engine/io/patched_files.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

// What a file had where it will be changed.
struct UndoEntry {
  std::string path;
  std::uint64_t file_bytes = 0;  // its length before any change
  FilePatch old;                 // shorter than the change where the file ended within
  std::uint64_t most_bytes = 0;  // the length that the change may give it; less: as it was
};

// Little-endian: the magic "GMUNDO 2", the number of entries (8 bytes), each as length of the path
// (4), path, file_bytes (8), most_bytes (8), offset (8), length (8), bytes; then XXH3-128 of all
// before (16).
[[nodiscard]] Status write_undo_journal(FileSystem& files, const std::string& path,
                                        const std::vector<UndoEntry>& entries);
// Removes a journal whose changes are to stay, whatever the power does: a name that was removed may
// come back, and what is written later must not be taken back by it. So it is made empty first,
// durably.
[[nodiscard]] Status retire_undo_journal(FileSystem& files, const std::string& path);
[[nodiscard]] Result<std::vector<UndoEntry>> read_undo_journal(FileSystem& files,
                                                               const std::string& path);

}  // namespace grainmill
