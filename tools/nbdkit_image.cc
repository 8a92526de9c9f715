// SPDX-License-Identifier: Apache-2.0
#include "tools/nbdkit_image.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace grainmill {
namespace {

Status set_flag(bool& flag, std::string_view key, std::string_view value) {
  if (value != "true" && value != "false")
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("{}={}: is neither true nor false", key, value));
  flag = value == "true";
  return {};
}

Status set_once(std::string& text, std::string_view key, const std::string& value) {
  if (value.empty() || !text.empty())
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("{}={}: {}", key, value, value.empty() ? "is empty" : "comes twice"));
  text = value;
  return {};
}

}  // namespace

Status NbdkitImage::configure(std::string_view key, const std::string& value) {
  if (key == "file") return set_once(path_, key, value);
  if (key == "format") return set_once(options_.format, key, value);
  if (key == "ignore-cid") return set_flag(options_.ignore_content_ids, key, value);
  if (key == "allow-any-path") return set_flag(options_.open.policy.allow_any_path, key, value);
  if (key == "allow-dir") {
    options_.open.policy.allowed_folders.push_back(value);
    return {};
  }
  return fail(ErrorKind::invalid_argument, "",
              fmt::format("'{}' is not a parameter of this plugin; they are file, format, "
                          "ignore-cid, allow-dir and allow-any-path",
                          key));
}

Status NbdkitImage::check_configured() const {
  if (path_.empty())
    return fail(ErrorKind::invalid_argument, "", "file=IMAGE is missing: which image to serve");
  return {};
}

Status NbdkitImage::get_ready() {
  GM_TRY(disk_, open(OpenMode::read));
  return {};
}

Result<std::shared_ptr<Disk>> NbdkitImage::connect(bool read_only) {
  const std::scoped_lock lock(mutex_);
  if (!read_only && !disk_->writable()) {
    GM_TRY(disk_, open(OpenMode::read_write));
  }
  return disk_;
}

Status NbdkitImage::close() {
  const std::shared_ptr<Disk> disk = std::exchange(disk_, nullptr);
  return disk != nullptr && disk->writable() ? disk->close() : Status();
}

Result<std::shared_ptr<Disk>> NbdkitImage::open(OpenMode mode) const {
  DiskOptions options = options_;
  options.open.mode = mode;
  GM_TRY(Disk disk, Disk::open(files_, path_, options));
  return std::make_shared<Disk>(std::move(disk));
}

int errno_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::not_found:
      return ENOENT;
    case ErrorKind::unsupported:
      return ENOTSUP;
    case ErrorKind::invalid_argument:
      return EINVAL;
    case ErrorKind::denied:
      return EPERM;
    case ErrorKind::busy:
      return EBUSY;
    case ErrorKind::no_space:
      return ENOSPC;  // which clients act on: qemu stops the guest until there is room
    case ErrorKind::io:
    case ErrorKind::corrupt:
    case ErrorKind::mismatch:
    case ErrorKind::cancelled:
      break;
  }
  return EIO;
}

Result<std::vector<NbdExtent>> nbd_extents(const Disk& disk, std::uint64_t offset,
                                           std::uint64_t length, bool only_one) {
  // Bounds of memory and of time: clients ask for up to 4 GiB at once, and then for the rest.
  constexpr std::uint64_t kStep = 64 * kMiB;
  constexpr std::size_t kEnough = 4096;
  std::vector<NbdExtent> found;
  ExtentList list;
  const std::uint64_t end = offset + length;
  const std::size_t enough = only_one ? 1 : kEnough;
  for (std::uint64_t at = offset; at < end && found.size() <= enough;) {
    const std::uint64_t step = std::min(kStep, end - at);
    GM_CHECK(disk.status(at, step, list));
    for (const Extent& extent : list) {
      if (!found.empty() && found.back().reads_as_zero == extent.reads_as_zero())
        found.back().length += extent.length;
      else
        found.push_back({extent.guest_offset, extent.length, extent.reads_as_zero()});
    }
    at += step;
  }
  if (only_one) found.resize(1);
  return found;
}

}  // namespace grainmill
