// SPDX-License-Identifier: Apache-2.0
#include "engine/io/file.h"

#include <fmt/format.h>

namespace grainmill {

Status File::read_exact_at(std::uint64_t offset, std::span<std::byte> buffer) const {
  GM_TRY(const std::size_t got, read_at(offset, buffer));
  if (got == buffer.size()) return {};
  return fail(ErrorKind::corrupt, path(), offset,
              fmt::format("file ends after {} of the {} bytes expected here: it is truncated or "
                          "changed while it was read",
                          got, buffer.size()));
}

Result<bool> File::stores_any(std::uint64_t offset, std::uint64_t length) const {
  GM_TRY(const DataRange stored, next_data(offset));
  if (stored.begin != stored.end && stored.begin < offset + length) return true;
  // Past the end of the file there is no data either: a hole is only what the file still reaches
  // over.
  GM_TRY(const FileInfo now, info());
  if (now.size_bytes >= offset + length) return false;
  return fail(ErrorKind::corrupt, path(), offset,
              fmt::format("file ends at {:#x}, before the {} bytes expected here: it is truncated "
                          "or changed while it was "
                          "read",
                          now.size_bytes, length));
}

}  // namespace grainmill
