// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system_layer.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// The files of another file system, and above them what is made through this one: it begins with
// what the other one gives (a PartialFiles, what was written before), is changed in memory only,
// and is read under the name that it would get. For trying out how something half made would end.
// Threads: as FileSystem, but create_pending() one at a time, and not while another call is made.
class ScratchFiles final : public FileSystemLayer {
 public:
  class Content;

  explicit ScratchFiles(FileSystem& files);
  ~ScratchFiles() override;

  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return open(path, OpenMode::read);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override {
    return open(path, OpenMode::read_write);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  // Can be written, but not published.
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;
  [[nodiscard]] Status remove(const std::string& path) override;

 private:
  [[nodiscard]] std::string place_of(const std::string& path);

  std::map<std::string, std::shared_ptr<Content>> made_;  // by place_of()
};

}  // namespace grainmill
