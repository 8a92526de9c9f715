// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"

#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// A file system above another one: what a layer does not decide for itself is asked of that. What
// makes or removes files is for each layer to decide. Threads: as the one below.
class FileSystemLayer : public FileSystem {
 public:
  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return files_.open_read(path);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override {
    return files_.open_write(path);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override {
    return files_.open_beneath(folder, relative, mode);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open(const std::string& path,
                                                   OpenMode mode) override {
    return files_.open(path, mode);
  }
  [[nodiscard]] bool is_block_device(const std::string& path) override {
    return files_.is_block_device(path);
  }
  [[nodiscard]] Result<std::string> canonical(const std::string& path) override {
    return files_.canonical(path);
  }
  [[nodiscard]] std::uint64_t device_of(const std::string& path) override {
    return files_.device_of(path);
  }
  [[nodiscard]] Result<std::uint64_t> free_bytes(const std::string& folder) override {
    return files_.free_bytes(folder);
  }
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override {
    return files_.list(folder);
  }
  [[nodiscard]] Result<std::vector<FolderEntry>> entries(const std::string& folder) override {
    return files_.entries(folder);
  }

 protected:
  // `files` must outlive this object.
  explicit FileSystemLayer(FileSystem& files) : files_(files) {}
  [[nodiscard]] FileSystem& below() { return files_; }

 private:
  FileSystem& files_;
};

}  // namespace grainmill
