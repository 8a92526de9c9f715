// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system_layer.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// Bytes that a file should have from `offset` on, in place of those that it has. They may go on
// behind its end.
struct FilePatch {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

// A file as it would be with patches, of which later ones win. To be read only: all that writes
// fails with `unsupported`.
[[nodiscard]] std::unique_ptr<File> patched_file(std::unique_ptr<File> file,
                                                 const std::vector<FilePatch>& patches);

// The files of another file system as they would be with patches, for trying out what has not been
// written. To be read only.
class PatchedFiles final : public FileSystemLayer {
 public:
  explicit PatchedFiles(FileSystem& files) : FileSystemLayer(files) {}

  // By whatever name the file at `path` is opened, it has this patch from now on.
  [[nodiscard]] Status add(const std::string& path, FilePatch patch);

  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;
  [[nodiscard]] Status remove(const std::string& path) override;

 private:
  [[nodiscard]] Result<std::unique_ptr<File>> patched(Result<std::unique_ptr<File>> file) const;

  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<FilePatch>>
      patches_;  // device, inode
};

}  // namespace grainmill
