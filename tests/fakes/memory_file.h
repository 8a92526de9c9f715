// SPDX-License-Identifier: Apache-2.0
//
// Files in memory: sparse, so that a test can put a table at 4 TiB; recording, so that it can ask
// what was read and written; failing where they are told to.
#pragma once

#include "engine/io/file_system.h"
#include "tests/fakes/sparse_pages.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {

// One read_at() or write_at(), as it was asked for.
struct Call {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  bool operator==(const Call&) const = default;
};

// What a file holds, however often it is open. Threads: any number at once.
class MemoryContent {
 public:
  // What a file system allocates: a page that was never written is a hole.
  static constexpr std::uint64_t kPageBytes = SparsePages::kPageBytes;

  MemoryContent();
  explicit MemoryContent(std::span<const std::byte> bytes);
  explicit MemoryContent(std::string_view text);
  // The same bytes, shared until one of both is written to; nothing else is taken over.
  [[nodiscard]] std::shared_ptr<MemoryContent> copy() const;

  // For tests: not recorded, and never failing.
  void put(std::uint64_t offset, std::span<const std::byte> bytes);
  void put_words(std::uint64_t offset, std::span<const std::uint32_t> words);
  void set_size(std::uint64_t size_bytes);
  void zero(std::uint64_t offset, std::uint64_t length);
  // As put(), of what `from` holds in this range.
  void put_pages(std::uint64_t offset, std::uint64_t length, const SparsePages& from);
  [[nodiscard]] SparsePages pages(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  [[nodiscard]] std::uint64_t inode() const { return inode_; }
  [[nodiscard]] std::vector<std::byte> bytes() const;
  [[nodiscard]] std::vector<Call> reads() const;
  [[nodiscard]] std::vector<Call> writes() const;
  void forget_calls();
  // Calls that touch [offset, offset + length) fail with `io` from now on.
  void fail_reads(std::uint64_t offset, std::uint64_t length);
  void fail_writes(std::uint64_t offset, std::uint64_t length);
  // info() fails from now on.
  void fail_info();

 private:
  friend class MemoryFile;

  struct Fault {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    [[nodiscard]] bool hits(std::uint64_t offset, std::uint64_t length) const {
      return offset < end && begin < offset + length;
    }
  };

  [[nodiscard]] std::size_t copy_out(std::uint64_t offset, std::span<std::byte> out) const;
  void copy_in(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] DataRange next_data(std::uint64_t offset) const;

  mutable std::mutex mutex_;
  SparsePages pages_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t inode_;
  mutable std::vector<Call> reads_;
  std::vector<Call> writes_;
  Fault read_fault_;
  Fault write_fault_;
  bool info_fails_ = false;
  std::weak_ptr<const bool> writer_;  // who has it open to write through a file system
};

// An open one.
class MemoryFile final : public File {
 public:
  // To be read and written, whoever else does.
  explicit MemoryFile(std::string path,
                      std::shared_ptr<MemoryContent> content = std::make_shared<MemoryContent>())
      : File(std::move(path)), content_(std::move(content)) {}

  // As a file system opens it: written only where that was asked for, and then by one at a time.
  [[nodiscard]] static Result<std::unique_ptr<MemoryFile>> open(
      const std::string& path, std::shared_ptr<MemoryContent> content, OpenMode mode);

  [[nodiscard]] MemoryContent& content() { return *content_; }

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override;
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override;
  // Whole pages in the file, as the operating system's files in memory. Counts as a write.
  [[nodiscard]] bool write_beside(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override;
  [[nodiscard]] Status sync() override { return {}; }
  [[nodiscard]] Result<FileInfo> info() const override;
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override;

 private:
  [[nodiscard]] Status check_writable(std::uint64_t offset) const;

  std::shared_ptr<MemoryContent> content_;
  bool read_only_ = false;
  std::shared_ptr<const bool> writer_;  // alive while this is the one that writes
};

}  // namespace grainmill::testing
