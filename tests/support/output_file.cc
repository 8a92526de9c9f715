// SPDX-License-Identifier: Apache-2.0
#include "tests/support/output_file.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace grainmill::testing {

OutputFile::OutputFile(std::filesystem::path path, Open mode) : path_(std::move(path)) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (mode == Open::truncate ? O_TRUNC : 0);
  fd_ = ::open(path_.c_str(), flags, 0644);
  if (fd_ < 0) fail("open");
}

OutputFile::~OutputFile() { ::close(fd_); }

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("pwrite");
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
}

void OutputFile::set_size(std::uint64_t size_bytes) {
  if (::ftruncate(fd_, static_cast<off_t>(size_bytes)) != 0) fail("ftruncate");
}

std::uint64_t OutputFile::size() const {
  struct stat status{};
  if (::fstat(fd_, &status) != 0) fail("fstat");
  return static_cast<std::uint64_t>(status.st_size);
}

void OutputFile::fail(const char* what) const {
  throw std::system_error(errno, std::generic_category(), path_.string() + ": " + what);
}

}  // namespace grainmill::testing
