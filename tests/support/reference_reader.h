// SPDX-License-Identifier: Apache-2.0
//
// A slow and simple VMDK reader, the oracle that all results are compared with. It reads one grain
// after the other as the format says, and throws std::runtime_error on anything odd, also where
// other programs shrug. It never looks at redundant tables. Not for more than one thread at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::testing {

class ReferenceDisk {
 public:
  // A descriptor, a hosted sparse or streamOptimized file that embeds one, or a bare COWD file
  // (whose holes then are zeros). A parent is looked for where the hint says, then beside the
  // child.
  static ReferenceDisk open(const std::filesystem::path& path);
  // A file that is the disk. Never guessed from the contents.
  static ReferenceDisk open_raw(const std::filesystem::path& path);

  std::uint64_t size_bytes() const;
  void read(std::uint64_t guest_offset, std::span<std::byte> out) const;
  std::vector<std::byte> read(std::uint64_t guest_offset, std::uint64_t length) const;

  void write_raw(const std::filesystem::path& path) const;  // sparse where nothing is stored
  std::string sha256() const;                               // of the whole contents, in hex

  struct Link;

 private:
  explicit ReferenceDisk(std::shared_ptr<Link> top) : top_(std::move(top)) {}

  std::shared_ptr<Link> top_;
};

}  // namespace grainmill::testing
