// SPDX-License-Identifier: Apache-2.0
#include "engine/io/file.h"

#include <fmt/format.h>

namespace grainmill {

Status File::read_exact_at(std::uint64_t offset, std::span<std::byte> buffer) const {
  GM_TRY(const std::size_t got, read_at(offset, buffer));
  if (got == buffer.size()) return {};
  return fail(ErrorKind::corrupt, path(), offset,
              fmt::format("file ends after {} of the {} bytes expected here: it is truncated or changed while it was read",
                          got, buffer.size()));
}

}  // namespace grainmill
