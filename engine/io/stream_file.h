// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"

namespace grainmill {

// A descriptor that may be a pipe: FileSystem::open_standard_output(). Does not close it.
// Threads: one call at a time.
class StreamFile final : public File {
 public:
  StreamFile(std::string path, int descriptor) : File(std::move(path)), descriptor_(descriptor) {}

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override;
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override;
  [[nodiscard]] Status sync() override;
  [[nodiscard]] Result<FileInfo> info() const override;
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override;

 private:
  int descriptor_;
  std::uint64_t position_ = 0;
};

}  // namespace grainmill
