// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace grainmill {

// What a file that is not stored would take. Threads: any.
class FileTally {
 public:
  void write(std::uint64_t offset, std::uint64_t length);
  void resize(std::uint64_t size_bytes);

  // With holes where a file that was made long was not written to.
  [[nodiscard]] std::uint64_t space_bytes() const;

 private:
  std::atomic<std::uint64_t> written_ = 0;    // in whole blocks of a file system
  std::atomic<std::uint64_t> write_end_ = 0;  // the furthest
  std::atomic<std::uint64_t> made_long_ = 0;  // by resize()
};

// A file system where outputs leave nothing but their size.
class CountingFiles final : public FileSystem {
 public:
  [[nodiscard]] std::uint64_t space_bytes() const;

  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Result<std::string> canonical(const std::string& path) override;
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override;

 private:
  std::vector<std::shared_ptr<FileTally>> tallies_;
};

}  // namespace grainmill
