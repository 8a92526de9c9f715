// SPDX-License-Identifier: Apache-2.0
//
// A file under construction: positioned writes, holes where nothing is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace grainmill::testing {

// All functions throw std::system_error that names the file.
class OutputFile {
 public:
  enum class Open { truncate, keep };  // keep: several extents in one file

  explicit OutputFile(std::filesystem::path path, Open mode = Open::truncate);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  // Sets the size; what was never written reads as zeros and takes no room.
  void set_size(std::uint64_t size_bytes);
  std::uint64_t size() const;

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace grainmill::testing
