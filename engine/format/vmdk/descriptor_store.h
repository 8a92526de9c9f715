// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <memory>
#include <string>

namespace grainmill::vmdk {

// Where a link keeps its descriptor, for changing it.
// Threads: one call at a time.
class DescriptorStore {
 public:
  // A descriptor that stands alone, in a file opened for writing.
  DescriptorStore(std::unique_ptr<File> file, FileSystem& files, std::string text)
      : owned_(std::move(file)), file_(owned_.get()), files_(&files), text_(std::move(text)) {}
  // One inside an extent file, which must outlive this object: `room` bytes from `offset` on.
  DescriptorStore(File& file, std::uint64_t offset, std::uint64_t room, const std::string& text)
      : file_(&file), offset_(offset), room_(room), text_(text.substr(0, text.find('\0'))) {}

  // Up to the first NUL.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const File& file() const { return *file_; }

  // Stores another text, durable when it returns. A change that keeps the length touches only the
  // sectors that differ, so that each of them holds either text after a power cut; a descriptor
  // that stands alone is otherwise replaced in one step. A text that does not fit into its room is
  // an error before anything is written.
  [[nodiscard]] Status store(const std::string& text);

 private:
  [[nodiscard]] Status write_differences(const std::string& text);

  std::unique_ptr<File> owned_;
  File* file_;
  FileSystem* files_ = nullptr;
  std::uint64_t offset_ = 0;
  std::uint64_t room_ = 0;
  std::string text_;
};

}  // namespace grainmill::vmdk
