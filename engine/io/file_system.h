// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {

enum class Durability : std::uint8_t {
  synced,    // published only after the bytes and the name have reached the device
  unsynced,  // for scratch work: published at once, lost if the machine stops
};

enum class OpenMode : std::uint8_t {
  read,
  read_stable,  // while nobody writes the file: fails with `busy` if someone does, and keeps
                // writers out that lock files as this program and qemu do
  read_write,   // by this program alone: fails with `busy` while another one has locked the file
};

// A file that is being made and does not have its name yet. Destroying it without publish() leaves
// nothing.
class PendingFile {
 public:
  virtual ~PendingFile() = default;
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  [[nodiscard]] virtual File& file() = 0;

  // Gives the file its final name in one atomic step, replacing what had that name. On failure
  // nothing has the final name that had it not before, with one exception: when only syncing the
  // folder fails, the file is whole and has its name, but a power cut may still take the name away.
  // May be called once.
  [[nodiscard]] virtual Status publish(Durability durability) = 0;

 protected:
  PendingFile() = default;
};

enum class EntryKind : std::uint8_t { file, folder, other };  // other: symbolic links, devices, ...

// One name in a folder.
struct FolderEntry {
  std::string name;
  EntryKind kind = EntryKind::file;
};

// The files there are. Only regular files are ever opened: no device, FIFO, socket or directory,
// and nothing on /proc, /sys or their like, whoever names it; those fail with `unsupported`.
// Threads: all methods may be called from several threads at once.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  // Opens, for reading, a file that the user named.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open_read(const std::string& path) = 0;

  // As open_read(), to be written as well.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open_write(const std::string& path) = 0;

  // Opens `relative` if it lies in or below `folder` after every symbolic link has been followed;
  // `denied` otherwise. Resolved by the kernel in one step, so there is no race to win.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                                   const std::string& relative,
                                                                   OpenMode mode) = 0;

  // As open_read() or open_write(), in any mode. File systems without locks do without them.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) {
    return mode == OpenMode::read_write ? open_write(path) : open_read(path);
  }

  // Begins a file that will be called `path`. Its folder must exist.
  [[nodiscard]] virtual Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) = 0;

  // Begins a file that will be called `path`, or goes on with it: until then it is called
  // `until_then`, in the same folder, and keeps that name when this object or the process ends.
  // Fails with `busy` while another one makes it. `synced`: that name is on the device when this
  // returns. Where both names are one, there is nothing to publish.
  [[nodiscard]] virtual Result<std::unique_ptr<PendingFile>> create_partial(
      const std::string& path, const std::string& until_then, Durability durability);

  // Whether the path names a block device.
  [[nodiscard]] virtual bool is_block_device(const std::string& /*path*/) { return false; }

  // Opens a file or a block device that the user named, to be overwritten where it is. Nothing that
  // is mounted, or open elsewhere for writing: `busy`.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open_in_place(const std::string& path);

  // The program's standard output, whatever it is. It takes writes in order only, each where the
  // last one ended; zero_range() writes zeros. Nothing can be read.
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open_standard_output();

  // Removes a file; fine if there is none.
  [[nodiscard]] virtual Status remove(const std::string& path) = 0;

  // The absolute path with every symbolic link resolved. The file must exist.
  [[nodiscard]] virtual Result<std::string> canonical(const std::string& path) = 0;

  // Makes a folder, and those above it that are missing; fine if it is there. Nothing to do where
  // folders come with their files.
  [[nodiscard]] virtual Status create_folders(const std::string& /*path*/) { return {}; }

  // Which file system a file or folder is on, or would be: as FileInfo::device of the nearest name
  // above it that exists. 0 where nobody tells.
  [[nodiscard]] virtual std::uint64_t device_of(const std::string& /*path*/) { return 0; }

  // What can still be written to the file system of a folder, by this user; without limit where
  // nobody counts.
  [[nodiscard]] virtual Result<std::uint64_t> free_bytes(const std::string& /*folder*/) {
    return std::numeric_limits<std::uint64_t>::max();
  }

  // The names in a folder, in no order.
  [[nodiscard]] virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;

  // The same with what each is, sorted, without "." and "..": for who goes through all below a
  // folder. A file system that does not tell kinds has files only.
  [[nodiscard]] virtual Result<std::vector<FolderEntry>> entries(const std::string& folder);
};

// The operating system's own files. One object for the whole program.
[[nodiscard]] FileSystem& posix_file_system();

// What messages call FileSystem::open_standard_output().
inline constexpr const char* kStandardOutput = "standard output";

// What a file must replace to take the place of `path`: where that is a symbolic link, the file
// that it leads to.
[[nodiscard]] std::string link_target(FileSystem& files, const std::string& path);

// The folder part of a path ("." when it has none), and the name part.
[[nodiscard]] std::string folder_of(const std::string& path);
[[nodiscard]] std::string name_of(const std::string& path);

}  // namespace grainmill
