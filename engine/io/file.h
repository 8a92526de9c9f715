// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace grainmill {

struct FileInfo {
  std::uint64_t size_bytes = 0;
  std::uint64_t allocated_bytes = 0;  // what it takes on its file system
  std::int64_t mtime_ns = 0;          // since the epoch
  std::uint64_t device = 0;           // with inode: which file it is, whatever it is called
  std::uint64_t inode = 0;
  std::int64_t ctime_ns = 0;  // when anything of it last changed, its name or mode as well
};

[[nodiscard]] inline bool is_same_file(const FileInfo& one, const FileInfo& other) {
  return one.device == other.device && one.inode == other.inode;
}

// Where the next stored bytes lie. Everything before `begin` is a hole of the file system.
struct DataRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // begin == end: no more data up to the end of the file
};

// One open file: the only door to its bytes, and the place where tests inject faults.
// Threads: all methods may be called from several threads at once, on ranges that do not overlap
// where one of them writes. Errors carry path() and, where there is one, the offset.
class File {
 public:
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // The name it was opened by, for messages.
  [[nodiscard]] const std::string& path() const { return path_; }

  // Reads up to buffer.size() bytes; fewer only at the end of the file.
  [[nodiscard]] virtual Result<std::size_t> read_at(std::uint64_t offset,
                                                    std::span<std::byte> buffer) const = 0;

  // Writes all of `bytes`, or fails.
  [[nodiscard]] virtual Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) = 0;

  // Writes all of `bytes` as write_at() does, but without waiting for other threads that write to
  // this file, and at a higher price: for who would wait otherwise. Returns false where that is not
  // possible or did not work; the range may hold anything then, and write_at() is to be called.
  [[nodiscard]] virtual bool write_beside(std::uint64_t /*offset*/,
                                          std::span<const std::byte> /*bytes*/) {
    return false;
  }

  // Makes a range read as zeros, and gives its space back where the file system can. The length of
  // the file stays. REQUIRES: the range lies in the file.
  [[nodiscard]] virtual Status zero_range(std::uint64_t offset, std::uint64_t length) = 0;

  // Sets the length; what is new reads as zeros and takes no space.
  [[nodiscard]] virtual Status resize(std::uint64_t size_bytes) = 0;

  // Returns when everything written before has reached the device.
  [[nodiscard]] virtual Status sync() = 0;

  // As sync(); what is read from now on comes from the device, as far as the system can: for who
  // wants to know what was really stored.
  [[nodiscard]] virtual Status forget_cached() { return sync(); }

  // Asked of the operating system on every call: files change under us.
  [[nodiscard]] virtual Result<FileInfo> info() const = 0;

  // The first stored range at or after `offset`. A file system that does not know holes reports one
  // range up to the end of the file. Stored bytes may still all be zero.
  [[nodiscard]] virtual Result<DataRange> next_data(std::uint64_t offset) const = 0;

  // Reads exactly buffer.size() bytes. The end of the file in between is damage (or a file that
  // shrank) and an error of kind corrupt that says how much was there.
  [[nodiscard]] Status read_exact_at(std::uint64_t offset, std::span<std::byte> buffer) const;

  // Whether any byte of a range is stored; false when it is all a hole of the file system and so
  // reads as zeros. The end of the file before the end of the range is an error as for
  // read_exact_at().
  [[nodiscard]] Result<bool> stores_any(std::uint64_t offset, std::uint64_t length) const;

 protected:
  explicit File(std::string path) : path_(std::move(path)) {}

 private:
  std::string path_;
};

}  // namespace grainmill
