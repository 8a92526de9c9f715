// SPDX-License-Identifier: Apache-2.0
//
// The image that an nbdkit process serves: one disk for all connections.
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {

class NbdkitImage {
 public:
  explicit NbdkitImage(FileSystem& files) : files_(files) {}

  // One key=value of the command line. Paths must be absolute: nbdkit changes its folder.
  [[nodiscard]] Status configure(std::string_view key, const std::string& value);
  [[nodiscard]] Status check_configured() const;

  // Opens the image for reading, so that what is wrong with it is said before nbdkit goes into the
  // background. Only a connection knows whether it is to be written too (nbdkit's -r).
  [[nodiscard]] Status get_ready();

  // The disk, for one connection. The first one that may write opens it anew, for writing; it then
  // stays open, because connections come and go while a client works.
  [[nodiscard]] Result<std::shared_ptr<Disk>> connect(bool read_only);

  // Closes the image cleanly. REQUIRES: there is no connection any more.
  [[nodiscard]] Status close();

 private:
  [[nodiscard]] Result<std::shared_ptr<Disk>> open(OpenMode mode) const;

  FileSystem& files_;
  std::string path_;
  DiskOptions options_;
  std::mutex mutex_;
  std::shared_ptr<Disk> disk_;
};

// The errno that tells a client most of what an error says.
[[nodiscard]] int errno_of(const Error& error);

// A piece of the disk as NBD's "base:allocation" sees it.
struct NbdExtent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool reads_as_zero = false;

  bool operator==(const NbdExtent&) const = default;
};

// The extents from `offset` on, neighbours of one kind joined: all of the range, or as many as one
// request should cost; with `only_one`, the first. REQUIRES: the range lies in the disk, length >
// 0.
[[nodiscard]] Result<std::vector<NbdExtent>> nbd_extents(const Disk& disk, std::uint64_t offset,
                                                         std::uint64_t length, bool only_one);

}  // namespace grainmill
