// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"
#include "tests/fakes/memory_file.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace grainmill::testing {

// A file system without a disk: absolute paths, no symbolic links, folders exist as soon as a file
// is in them. Threads: one at a time.
class MemoryFileSystem final : public FileSystem {
 public:
  // Adds a file, or replaces it.
  MemoryContent& add(const std::string& path, std::span<const std::byte> bytes);
  MemoryContent& add(const std::string& path, std::string_view text);
  MemoryContent& add(const std::string& path, std::shared_ptr<MemoryContent> content);
  [[nodiscard]] std::vector<std::string> paths() const;
  [[nodiscard]] bool has(const std::string& path) const { return files_.contains(path); }
  // REQUIRES: the file exists.
  [[nodiscard]] MemoryContent& content(const std::string& path) { return *files_.at(path); }

  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_partial(const std::string& path,
                                                                    const std::string& until_then,
                                                                    Durability durability) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Result<std::string> canonical(const std::string& path) override;
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override;

 private:
  class Pending;
  class Partial;

  [[nodiscard]] Result<std::unique_ptr<File>> open_as(const std::string& path, OpenMode mode) const;

  std::map<std::string, std::shared_ptr<MemoryContent>> files_;
};

}  // namespace grainmill::testing
