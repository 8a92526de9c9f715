// SPDX-License-Identifier: Apache-2.0
//
// The files of another file system, with faults at exact places and counts of what is called.
//
//   FaultFileSystem files(posix_file_system());
//   files.add({.call = FileCall::read, .path_end = "-flat.vmdk", .nth = 3});
//   convert(files, options);                    // the third read of that file fails with EIO
//
// Calls go through to the other file system, so a file that shrinks really does.
#pragma once

#include "engine/io/file_system.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace grainmill::testing {

enum class FileCall : std::uint8_t {
  open,
  read,
  write,
  zero_range,
  resize,
  sync,  // by itself, and as the part of publish() that waits for the device
  info,
  next_data,
  create,
  publish,
  remove,
};

// Every condition that is set must hold for a call to be hit.
struct Fault {
  FileCall call = FileCall::read;
  std::string path_end{};         // of the file
  std::string within{};           // a part of its path, such as its folder
  std::uint64_t nth = 0;          // only this one of the calls that the rest fits, from 1 on
  std::uint64_t range_begin = 0;  // reads and writes: only those that touch this range
  std::uint64_t range_end = ~std::uint64_t{0};
  // Writes: this many bytes are written in all, then the device is full. Counts over all calls that
  // fit.
  std::optional<std::uint64_t> room_bytes{};

  int error_number = EIO;          // 0: the call goes through
  std::function<void()> before{};  // run when a call is hit: to wait, to cancel, to cut a file off
};

// Threads: as FileSystem says; add() and clear() while nothing is called.
class FaultFileSystem final : public FileSystem {
 public:
  explicit FaultFileSystem(FileSystem& files);
  ~FaultFileSystem() override;

  void add(Fault fault);
  // Forgets faults and counts.
  void clear();
  // How often something was called, for files whose path ends like this.
  [[nodiscard]] std::uint64_t count(FileCall call, const std::string& path_end = "") const;

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
  [[nodiscard]] Result<std::vector<FolderEntry>> entries(const std::string& folder) override;
  [[nodiscard]] Status create_folders(const std::string& path) override {
    return files_.create_folders(path);
  }
  [[nodiscard]] Result<std::uint64_t> free_bytes(const std::string& folder) override {
    return files_.free_bytes(folder);
  }

  class Faults;

 private:
  FileSystem& files_;
  std::shared_ptr<Faults> faults_;
};

}  // namespace grainmill::testing
