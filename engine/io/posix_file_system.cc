// SPDX-License-Identifier: Apache-2.0
#include "engine/io/file_system.h"
#include "engine/io/posix_file.h"
#include "engine/io/stream_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <span>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace grainmill {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

struct CloseFolder {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

std::string proc_name(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISBLK(mode)) return "a block device";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISLNK(mode)) return "a symbolic link that leads to no file";
  if (S_ISSOCK(mode)) return "a socket";
  return "not a regular file";
}

// File systems whose regular files are views of the kernel, not stored bytes.
bool is_kernel_view(int descriptor) {
  struct statfs status{};
  if (::fstatfs(descriptor, &status) != 0) return false;
  constexpr std::array<std::uint32_t, 8> kViews = {
      PROC_SUPER_MAGIC, SYSFS_MAGIC,        DEBUGFS_MAGIC,       TRACEFS_MAGIC,
      SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC};
  return std::ranges::find(kViews, static_cast<std::uint32_t>(status.f_type)) != kViews.end();
}

// F_OFD_SETLK: locks one byte. F_OFD_GETLK: asks whether it could be. An errno, EAGAIN if another
// has locked it.
int lock_byte(int descriptor, off_t offset, short type, int command) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = offset;
  lock.l_len = 1;
  if (::fcntl(descriptor, command, &lock) != 0) return errno;
  return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? EAGAIN : 0;
}

// What a user of a file does with it, and what others must not do meanwhile: numbers of qemu's
// permissions (its include/block/block-common.h).
struct LockPlan {
  std::span<const off_t> used;
  std::span<const off_t> unshared;
};

// Locks as qemu does (block/file-posix.c, "Image locking"), so that each keeps out of what the
// other does: who uses a permission holds a shared lock on byte 100 + its number; who does not
// share one with others, on byte 200 + its number.
Status lock_as(const LockPlan& plan, int descriptor, const std::string& path) {
  constexpr off_t kUsedBase = 100;
  constexpr off_t kUnsharedBase = 200;
  const auto each = [&](short type, int command, off_t used_base, off_t unshared_base) {
    for (const off_t permission : plan.used)
      if (const int error = lock_byte(descriptor, used_base + permission, type, command);
          error != 0)
        return error;
    for (const off_t permission : plan.unshared)
      if (const int error = lock_byte(descriptor, unshared_base + permission, type, command);
          error != 0)
        return error;
    return 0;
  };
  const int error = each(F_RDLCK, F_OFD_SETLK, kUsedBase, kUnsharedBase);
  if (error == EINVAL || error == ENOLCK || error == EOPNOTSUPP) return {};  // no locks here
  if (error != 0) return fail(ErrorKind::busy, path, "is being opened by another program");
  // What is used must not be unshared by anyone, and what is not shared not used.
  if (each(F_WRLCK, F_OFD_GETLK, kUnsharedBase, kUsedBase) == 0) return {};
  return fail(ErrorKind::busy, path,
              "is in use by another program, which holds a lock on it: stop the virtual machine or "
              "the program that has it open");
}

Status lock_for(OpenMode mode, int descriptor, const std::string& path) {
  static constexpr std::array<off_t, 4> kAll = {0, 1, 2, 3};  // read, write, rewrite, resize
  static constexpr std::array<off_t, 1> kReading = {0};
  static constexpr std::array<off_t, 2> kChanging = {1, 3};
  if (mode == OpenMode::read) return {};
  if (mode == OpenMode::read_stable) return lock_as({kReading, kChanging}, descriptor, path);
  return lock_as({kAll, kAll}, descriptor, path);
}

// Turns an O_PATH descriptor, through which nothing has been touched yet, into a readable one.
// Opening the thing itself first would already act on a device or block on a FIFO.
Result<std::unique_ptr<File>> open_checked(const Descriptor& handle, const std::string& path,
                                           OpenMode mode) {
  struct stat status{};
  if (::fstat(handle.get(), &status) != 0) return std::unexpected(os_error(errno, path, "stat"));
  if (!S_ISREG(status.st_mode))
    return fail(ErrorKind::unsupported, path,
                fmt::format("is {}: only regular files are opened", kind_of(status.st_mode)));
  if (is_kernel_view(handle.get()))
    return fail(ErrorKind::unsupported, path,
                "lies on a kernel file system such as /proc: only stored files are opened");
  const bool writing = mode == OpenMode::read_write;
  const int access = writing ? O_RDWR : O_RDONLY;
  Descriptor descriptor(::open(proc_name(handle.get()).c_str(), access | O_CLOEXEC));
  if (descriptor.get() < 0)
    return std::unexpected(os_error(errno, path, writing ? "open to write" : "open"));
  GM_CHECK(lock_for(mode, descriptor.get(), path));
  return std::make_unique<PosixFile>(path, descriptor.release());
}

int open_beneath_once(int folder, const std::string& relative) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, folder, relative.c_str(), &how, sizeof how));
}

Status sync_folder_of(const std::string& path) {
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0)
    return std::unexpected(os_error(errno, folder_of(path), "sync the folder"));
  return {};
}

// Whether an open file has this name.
bool is_called(int descriptor, const std::string& path) {
  struct stat own{};
  struct stat named{};
  return ::fstat(descriptor, &own) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

// Opens a file of this very name, makes it where there is none, and locks it.
Result<Descriptor> open_or_make(const std::string& path) {
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Descriptor descriptor(
        ::open(path.c_str(), O_CREAT | O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666));
    if (descriptor.get() < 0) return std::unexpected(os_error(errno, path, "open or create"));
    struct stat status{};
    if (::fstat(descriptor.get(), &status) != 0)
      return std::unexpected(os_error(errno, path, "stat"));
    if (!S_ISREG(status.st_mode))
      return fail(ErrorKind::denied, path,
                  fmt::format("is {}: move it away", kind_of(status.st_mode)));
    if (const Status locked = lock_for(OpenMode::read_write, descriptor.get(), path); !locked)
      return fail(locked.error().kind, path,
                  "is being written by another program, which makes the same output: wait for it");
    // Who had it locked until now may have taken the name away.
    if (is_called(descriptor.get(), path)) return descriptor;
  }
  return fail(ErrorKind::busy, path, "is being made and removed by another program");
}

// Has a name from the start, and gets another one when it is whole.
class PosixPartialFile final : public PendingFile {
 public:
  PosixPartialFile(std::string path, std::string until_then, int descriptor)
      : path_(std::move(path)),
        until_then_(std::move(until_then)),
        file_(path_, descriptor, FileOwner::ours) {}

  [[nodiscard]] File& file() override { return file_; }

  [[nodiscard]] Status publish(Durability durability) override {
    if (durability == Durability::synced) GM_CHECK(file_.sync());
    if (::rename(until_then_.c_str(), path_.c_str()) != 0)
      return std::unexpected(os_error(errno, path_, "rename the finished file to its name"));
    return durability == Durability::synced ? sync_folder_of(path_) : Status();
  }

 private:
  std::string path_;
  std::string until_then_;
  PosixFile file_;
};

class PosixPendingFile final : public PendingFile {
 public:
  // `temporary` is empty for a file without a name (O_TMPFILE), which vanishes even if the process
  // is killed.
  PosixPendingFile(std::string path, std::string temporary, int descriptor)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        file_(path_, descriptor, FileOwner::ours) {}

  ~PosixPendingFile() override {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  [[nodiscard]] File& file() override { return file_; }

  [[nodiscard]] Status publish(Durability durability) override {
    if (durability == Durability::synced) GM_CHECK(file_.sync());
    if (temporary_.empty()) {
      if (link_to(path_)) return named(durability);
      if (errno != EEXIST)
        return std::unexpected(os_error(errno, path_, "give the finished file its name"));
      GM_CHECK(link_to_temporary());
    }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
      return std::unexpected(os_error(errno, path_, "rename the finished file to its name"));
    temporary_.clear();
    return named(durability);
  }

 private:
  [[nodiscard]] bool link_to(const std::string& name) const {
    return ::linkat(AT_FDCWD, proc_name(file_.descriptor()).c_str(), AT_FDCWD, name.c_str(),
                    AT_SYMLINK_FOLLOW) == 0;
  }

  // linkat(2) never replaces; so a name beside the target first, then an atomic rename over it.
  [[nodiscard]] Status link_to_temporary() {
    for (int attempt = 0; attempt < 100; ++attempt) {
      std::string name =
          fmt::format("{}/.{}.{}.{}.tmp", folder_of(path_), name_of(path_), ::getpid(), attempt);
      if (link_to(name)) {
        temporary_ = std::move(name);
        return {};
      }
      if (errno != EEXIST) break;
    }
    return std::unexpected(os_error(errno, path_, "link the finished file beside its final name"));
  }

  [[nodiscard]] Status named(Durability durability) const {
    return durability == Durability::synced ? sync_folder_of(path_) : Status();
  }

  std::string path_;
  std::string temporary_;
  PosixFile file_;
};

class PosixFileSystem final : public FileSystem {
 public:
  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return open_named(path, OpenMode::read);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override {
    return open_named(path, OpenMode::read_write);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open(const std::string& path,
                                                   OpenMode mode) override {
    return open_named(path, mode);
  }

  [[nodiscard]] bool is_block_device(const std::string& path) override {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
  }

  [[nodiscard]] Result<std::unique_ptr<File>> open_in_place(const std::string& path) override {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return std::unexpected(os_error(errno, path, "stat"));
    if (!S_ISBLK(status.st_mode)) return open_named(path, OpenMode::read_write);
    // O_EXCL without O_CREAT: not while it is mounted or otherwise held (open(2)).
    Descriptor device(::open(path.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    if (device.get() < 0 && errno == EBUSY)
      return fail(ErrorKind::busy, path, "is mounted or in use: unmount it first");
    if (device.get() < 0) return std::unexpected(os_error(errno, path, "open to write"));
    if (::fstat(device.get(), &status) != 0 || !S_ISBLK(status.st_mode))
      return fail(ErrorKind::io, path, "was replaced while it was opened");
    return std::make_unique<PosixFile>(path, device.release());
  }

  [[nodiscard]] Result<std::unique_ptr<File>> open_standard_output() override {
    return std::make_unique<StreamFile>(kStandardOutput, STDOUT_FILENO);
  }

  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override {
    const std::string shown = folder == "." ? relative : folder + "/" + relative;
    const Descriptor root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (root.get() < 0) return std::unexpected(os_error(errno, folder, "open the folder"));
    // EAGAIN: something was renamed while ".." was resolved, and the kernel could not be sure
    // (openat2(2)).
    constexpr int kAttempts = 16;
    int descriptor = -1;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      descriptor = open_beneath_once(root.get(), relative);
      if (descriptor >= 0 || errno != EAGAIN) break;
    }
    const int error_number = errno;
    const Descriptor handle(descriptor);
    if (descriptor < 0 && (error_number == EXDEV || error_number == ELOOP))
      return fail(ErrorKind::denied, shown, fmt::format("lies outside the folder {}", folder));
    if (descriptor < 0) return std::unexpected(os_error(error_number, shown, "open"));
    return open_checked(handle, shown, mode);
  }

  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override {
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0) {
      // What a symbolic link names is replaced, never the link: it may be /dev/stdout.
      if (S_ISLNK(status.st_mode)) {
        if (const Result<std::string> target = canonical(path)) return create_pending(*target);
        return fail(ErrorKind::denied, path,
                    "is a symbolic link that leads to no file (to nothing, to a pipe, to itself): "
                    "name the file itself, or - for standard output");
      }
      if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::denied, path,
                    fmt::format("is {}: only regular files are replaced", kind_of(status.st_mode)));
    }
    const std::string folder = folder_of(path);
    constexpr mode_t kMode = 0666;
    const int unnamed = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode);
    if (unnamed >= 0) return std::make_unique<PosixPendingFile>(path, "", unnamed);
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EROFS)
      return std::unexpected(os_error(errno, folder, "create a file in this folder"));
    for (int attempt = 0;; ++attempt) {
      const std::string name =
          fmt::format("{}/.{}.{}.{}.tmp", folder, name_of(path), ::getpid(), attempt);
      const int named = ::open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, kMode);
      if (named >= 0) return std::make_unique<PosixPendingFile>(path, name, named);
      if (errno != EEXIST || attempt == 100)
        return std::unexpected(os_error(errno, name, "create"));
    }
  }

  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_partial(
      const std::string& path, const std::string& until_then, Durability durability) override {
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
      return fail(ErrorKind::denied, path,
                  fmt::format("is {}: only regular files are replaced", kind_of(status.st_mode)));
    GM_TRY(Descriptor descriptor, open_or_make(until_then));
    if (durability == Durability::synced) GM_CHECK(sync_folder_of(until_then));
    return std::make_unique<PosixPartialFile>(path, until_then, descriptor.release());
  }

  [[nodiscard]] Status remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return std::unexpected(os_error(errno, path, "remove"));
  }

  [[nodiscard]] Result<std::string> canonical(const std::string& path) override {
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                               &std::free);
    if (!resolved) return std::unexpected(os_error(errno, path, "resolve"));
    return std::string(resolved.get());
  }

  [[nodiscard]] Status create_folders(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return std::unexpected(os_error(error.value(), path, "make the folder"));
    return {};
  }

  [[nodiscard]] std::uint64_t device_of(const std::string& path) override {
    struct stat status{};
    for (std::string name = path;; name = folder_of(name)) {
      if (::stat(name.c_str(), &status) == 0) return status.st_dev;
      if (name == "/" || name == ".") return 0;
    }
  }

  [[nodiscard]] Result<std::uint64_t> free_bytes(const std::string& folder) override {
    struct statvfs status{};
    if (::statvfs(folder.c_str(), &status) != 0)
      return std::unexpected(os_error(errno, folder, "ask for free space"));
    // What is kept for root is not for everyone.
    const std::uint64_t blocks = ::geteuid() == 0 ? status.f_bfree : status.f_bavail;
    std::uint64_t bytes = 0;
    return __builtin_mul_overflow(blocks, std::uint64_t{status.f_frsize}, &bytes)
               ? std::numeric_limits<std::uint64_t>::max()
               : bytes;
  }

  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override {
    const std::unique_ptr<DIR, CloseFolder> stream(::opendir(folder.c_str()));
    if (!stream) return std::unexpected(os_error(errno, folder, "list"));
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get()))
      names.emplace_back(static_cast<const char*>(entry->d_name));
    return names;
  }

  [[nodiscard]] Result<std::vector<FolderEntry>> entries(const std::string& folder) override {
    GM_TRY(std::vector<FolderEntry> found, FileSystem::entries(folder));
    const Descriptor root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (root.get() < 0) return std::unexpected(os_error(errno, folder, "open the folder"));
    for (FolderEntry& entry : found) {
      struct stat status{};
      // What is gone since it was listed is told from nothing by whoever opens it.
      if (::fstatat(root.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (S_ISDIR(status.st_mode)) entry.kind = EntryKind::folder;
      if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) entry.kind = EntryKind::other;
    }
    return found;
  }

 private:
  static Result<std::unique_ptr<File>> open_named(const std::string& path, OpenMode mode) {
    const Descriptor handle(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (handle.get() < 0) return std::unexpected(os_error(errno, path, "open"));
    return open_checked(handle, path, mode);
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem instance;
  return instance;
}

}  // namespace grainmill
