// SPDX-License-Identifier: Apache-2.0
#include "engine/io/stream_file.h"

#include "engine/base/units.h"
#include "engine/io/posix_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace grainmill {

Result<std::size_t> StreamFile::read_at(std::uint64_t offset,
                                        std::span<std::byte> /*buffer*/) const {
  return fail(ErrorKind::unsupported, path(), offset, "is written to only");
}

Status StreamFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset != position_)
    return fail(ErrorKind::unsupported, path(), offset,
                fmt::format("a stream is written in order, and is at {} now", position_));
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) {
      pollfd room{descriptor_, POLLOUT, 0};
      ::poll(&room, 1, -1);
      continue;
    }
    if (put < 0) {
      Error error = os_error(errno, path(), "write");
      error.offset = position_;
      return std::unexpected(std::move(error));
    }
    position_ += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Status StreamFile::zero_range(std::uint64_t offset, std::uint64_t length) {
  static constexpr std::array<std::byte, 256 * kKiB> kZeros{};
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t count = std::min<std::uint64_t>(length - done, kZeros.size());
    GM_CHECK(write_at(offset + done, std::span(kZeros).first(count)));
    done += count;
  }
  return {};
}

Status StreamFile::resize(std::uint64_t size_bytes) {
  return fail(ErrorKind::unsupported, path(), size_bytes, "a stream has no length to set");
}

// A file that standard output was sent to can be synced; a pipe cannot, and need not be.
Status StreamFile::sync() {
  if (::fdatasync(descriptor_) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS)
    return {};
  return std::unexpected(os_error(errno, path(), "sync to the device"));
}

Result<FileInfo> StreamFile::info() const {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) return std::unexpected(os_error(errno, path(), "stat"));
  return FileInfo{.size_bytes = position_,
                  .allocated_bytes = position_,
                  .device = status.st_dev,
                  .inode = status.st_ino};
}

Result<DataRange> StreamFile::next_data(std::uint64_t offset) const {
  return fail(ErrorKind::unsupported, path(), offset, "is written to only");
}

}  // namespace grainmill
