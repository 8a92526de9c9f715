// SPDX-License-Identifier: Apache-2.0
#include "pipeline/refusals.h"

#include <fmt/format.h>

#include <cstddef>
#include <memory>

namespace grainmill {

Status refuse_source_as_output(FileSystem& files, const Disk& disk, const std::string& output) {
  const Result<std::unique_ptr<File>> existing =
      output == kStandardOutputName ? files.open_standard_output() : files.open_read(output);
  if (!existing) return {};
  GM_TRY(const FileInfo target, (*existing)->info());
  for (std::size_t i = 0; i < disk.depth(); ++i) {
    for (const File* file : disk.link(i).files()) {
      GM_TRY(const FileInfo info, file->info());
      if (info.device == target.device && info.inode == target.inode)
        return fail(
            ErrorKind::invalid_argument, output,
            fmt::format("is part of the source ({}): choose another name for what is written",
                        file->path()));
    }
  }
  return {};
}

Status refuse_older_output(FileSystem& files, const std::string& output) {
  if (output == kStandardOutputName) return {};
  const Result<std::unique_ptr<File>> existing = files.open_read(output);
  if (existing)
    return fail(ErrorKind::invalid_argument, output,
                "exists already, and is not replaced: choose another name for what is written, or "
                "move this file away");
  const ErrorKind kind = existing.error().kind;
  if (kind == ErrorKind::not_found || kind == ErrorKind::unsupported) return {};
  return std::unexpected(existing.error());
}

}  // namespace grainmill
