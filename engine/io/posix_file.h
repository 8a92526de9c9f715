// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"

#include <cstdint>
#include <mutex>

namespace grainmill {

// Who may know of a file: `ours` was made by this program and has no name yet that others look for,
// so that nobody shortens it.
enum class FileOwner : std::uint8_t { anyone, ours };

// Owns a file descriptor and closes it.
class PosixFile final : public File {
 public:
  PosixFile(std::string path, int descriptor, FileOwner owner = FileOwner::anyone);
  ~PosixFile() override;

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override;
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool write_beside(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override;
  [[nodiscard]] Status sync() override;
  [[nodiscard]] Status forget_cached() override;
  [[nodiscard]] Result<FileInfo> info() const override;
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override;

  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  [[nodiscard]] Status write_zeros(std::uint64_t offset, std::uint64_t length);

  [[nodiscard]] std::uint64_t known_end(std::uint64_t offset) const;
  void forget_data();

  int descriptor_;
  bool may_be_mapped_;
  // Stored when it was last asked for. Finding the end of a run costs time for all of it, and
  // whoever walks a file by windows asks again in each of them.
  mutable std::mutex mutex_;
  mutable DataRange known_data_;
};

// The error of a failed system call: errno in words, with what was being tried.
[[nodiscard]] Error os_error(int error_number, const std::string& path, std::string_view action);

}  // namespace grainmill
