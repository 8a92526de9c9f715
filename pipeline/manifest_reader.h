// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"
#include "pipeline/manifest.h"

#include <memory>
#include <span>
#include <vector>

namespace grainmill {

// A manifest opened for comparing: its checksum is proven first, then its grains are handed out in
// guest order. Threads: one at a time.
class ManifestReader {
 public:
  [[nodiscard]] static Result<ManifestReader> open(FileSystem& files, const std::string& path);

  [[nodiscard]] const ManifestHeader& header() const { return header_; }
  [[nodiscard]] const ManifestRoots& roots() const { return roots_; }
  [[nodiscard]] const std::string& path() const { return file_->path(); }

  // What the manifest says of the next digest grains: all zero, or a digest each.
  struct Run {
    std::uint64_t grains = 0;  // 0: the manifest ends here
    std::span<const std::byte>
        digests;  // 16 bytes a grain; empty for zeros. Valid until the next call
  };
  // At most `most` grains.
  [[nodiscard]] Result<Run> take(std::uint64_t most);

 private:
  explicit ManifestReader(std::unique_ptr<File> file) : file_(std::move(file)) {}

  [[nodiscard]] Status load();
  [[nodiscard]] Status check_checksum(std::uint64_t file_bytes) const;
  [[nodiscard]] Status next_record();

  std::unique_ptr<File> file_;
  ManifestHeader header_;
  ManifestRoots roots_;
  std::uint64_t at_ = 0;  // of the next record in the file
  std::uint64_t body_end_ = 0;
  std::uint64_t zeros_ = 0;  // left in the current record
  std::vector<std::byte> digests_;
  std::size_t digests_at_ = 0;  // bytes of digests_ handed out
};

}  // namespace grainmill
