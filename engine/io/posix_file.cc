// SPDX-License-Identifier: Apache-2.0
#include "engine/io/posix_file.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace grainmill {
namespace {

// The kernel takes at most this much in one call (read(2), NOTES), rounded down to keep transfers
// aligned.
constexpr std::size_t kMaxTransfer = 0x7ffff000 & ~std::size_t{0xfffff};

std::unexpected<Error> io_error(const std::string& path, std::uint64_t offset,
                                std::string_view action) {
  Error error = os_error(errno, path, action);
  error.offset = offset;
  return std::unexpected(std::move(error));
}

ErrorKind kind_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::not_found;
    case ENOSPC:
    case EDQUOT:
      return ErrorKind::no_space;
    default:
      return ErrorKind::io;
  }
}

bool is_in_memory(int descriptor) {
  struct statfs status{};
  return ::fstatfs(descriptor, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

}  // namespace

Error os_error(int error_number, const std::string& path, std::string_view action) {
  return Error{kind_of(error_number), path, std::nullopt,
               fmt::format("cannot {}: {}", action, std::generic_category().message(error_number))};
}

PosixFile::PosixFile(std::string path, int descriptor, FileOwner owner)
    : File(std::move(path)),
      descriptor_(descriptor),
      may_be_mapped_(owner == FileOwner::ours && is_in_memory(descriptor)) {}

PosixFile::~PosixFile() { ::close(descriptor_); }

Result<std::size_t> PosixFile::read_at(std::uint64_t offset, std::span<std::byte> buffer) const {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const std::size_t want = std::min(buffer.size() - done, kMaxTransfer);
    const ssize_t got =
        ::pread(descriptor_, buffer.data() + done, want, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(path(), offset + done, "read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Status PosixFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t want = std::min(bytes.size() - done, kMaxTransfer);
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data() + done, want, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return io_error(path(), offset + done, "write");
    done += static_cast<std::size_t>(put);
  }
  return {};
}

// The kernel has one thread at a time write to a file, however many call write(2); pages of a
// mapping come without that lock. Elsewhere than in memory it would be no gain: each page that is
// written to is made known to the file system by itself. And to write to a page of a file that
// somebody else makes shorter would end the program.
bool PosixFile::write_beside(std::uint64_t offset, std::span<const std::byte> bytes) {
  static const auto kPageBytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (bytes.empty() || offset % kPageBytes != 0 || bytes.size() % kPageBytes != 0) return false;
  if (!may_be_mapped_) return false;
  void* const mapped = ::mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                              descriptor_, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return false;
  // Takes all pages, or says that there are none left, or that the file ends before: a page that is
  // missing when it is written to would be a signal.
  const bool there = ::madvise(mapped, bytes.size(), MADV_POPULATE_WRITE) == 0;
  if (there) std::memcpy(mapped, bytes.data(), bytes.size());
  ::munmap(mapped, bytes.size());
  return there;
}

// On a block device, the first discards if what is discarded reads as zeros there, and fails with
// EOPNOTSUPP if not; the second has the device write zeros (Linux, block/fops.c, blkdev_fallocate).
// Both fail with EINVAL there for ranges that are not whole blocks of the device.
Status PosixFile::zero_range(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return {};  // which the kernel refuses
  forget_data();
  for (const int how :
       {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE}) {
    int error = 0;
    do {
      error = 0;
      if (::fallocate(descriptor_, how, static_cast<off_t>(offset), static_cast<off_t>(length)) !=
          0)
        error = errno;
    } while (error == EINTR);
    if (error == 0) return {};
    if (error != EOPNOTSUPP && error != ENOSYS && error != EINVAL) {
      errno = error;
      return io_error(path(), offset, "make zeros of a range");
    }
  }
  return write_zeros(offset, length);
}

Status PosixFile::write_zeros(std::uint64_t offset, std::uint64_t length) {
  static constexpr std::array<std::byte, 64 * kKiB> kZeros{};
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t count = std::min<std::uint64_t>(length - done, kZeros.size());
    GM_CHECK(write_at(offset + done, std::span(kZeros).first(count)));
    done += count;
  }
  return {};
}

Status PosixFile::resize(std::uint64_t size_bytes) {
  forget_data();
  if (::ftruncate(descriptor_, static_cast<off_t>(size_bytes)) == 0) return {};
  return io_error(path(), size_bytes, "set the length");
}

Status PosixFile::sync() {
  // Times are all that fdatasync(2) may lose: it waits for sizes and for where the bytes are.
  if (::fdatasync(descriptor_) == 0) return {};
  return std::unexpected(os_error(errno, path(), "sync to the device"));
}

// Only pages that were written back can be dropped, so it comes after the sync.
Status PosixFile::forget_cached() {
  GM_CHECK(sync());
  constexpr off_t kToTheEnd = 0;
  const int error = ::posix_fadvise(descriptor_, 0, kToTheEnd, POSIX_FADV_DONTNEED);
  if (error == 0) return {};
  return std::unexpected(os_error(error, path(), "drop what is cached"));
}

Result<FileInfo> PosixFile::info() const {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) return std::unexpected(os_error(errno, path(), "stat"));
  off_t size = status.st_size;
  if (S_ISBLK(status.st_mode)) size = ::lseek(descriptor_, 0, SEEK_END);
  if (size < 0) return std::unexpected(os_error(errno, path(), "ask for the size"));
  return FileInfo{
      .size_bytes = static_cast<std::uint64_t>(size),
      .allocated_bytes = static_cast<std::uint64_t>(status.st_blocks) * 512,
      .mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
      .device = status.st_dev,
      .inode = status.st_ino,
      .ctime_ns = status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec,
  };
}

// SEEK_DATA moves the descriptor's own offset, which nothing here uses: all transfers name theirs.
Result<DataRange> PosixFile::next_data(std::uint64_t offset) const {
  if (const std::uint64_t end = known_end(offset); end != 0) return DataRange{offset, end};
  const off_t begin = ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_DATA);
  if (begin < 0 && errno == ENXIO) return DataRange{offset, offset};
  if (begin < 0 && errno == EINVAL) {
    GM_TRY(const FileInfo status, info());
    return DataRange{offset, std::max(offset, status.size_bytes)};
  }
  if (begin < 0) return io_error(path(), offset, "seek to data");
  DataRange data{.begin = static_cast<std::uint64_t>(begin), .end = 0};
  data.end = known_end(data.begin);
  if (data.end != 0) return data;
  const off_t end = ::lseek(descriptor_, begin, SEEK_HOLE);
  if (end < 0) return io_error(path(), data.begin, "seek to a hole");
  data.end = static_cast<std::uint64_t>(end);
  const std::lock_guard lock(mutex_);
  known_data_ = data;
  return data;
}

// The end of the known run of data that holds `offset`, or 0.
std::uint64_t PosixFile::known_end(std::uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  return known_data_.begin <= offset && offset < known_data_.end ? known_data_.end : 0;
}

// Data that became a hole is fine elsewhere (it reads as zeros), but who made it should see it.
void PosixFile::forget_data() {
  const std::lock_guard lock(mutex_);
  known_data_ = {};
}

}  // namespace grainmill
