// SPDX-License-Identifier: Apache-2.0
//
// Extents that are bare bytes: FLAT, VMFS and raw disks.
#include "tests/support/extent_writers.h"

#include <algorithm>
#include <vector>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kChunk = 1 << 20;
constexpr std::byte kForeign{0xee};  // bytes that belong to nobody in this disk

void write_foreign(OutputFile& file, std::uint64_t offset, std::uint64_t length) {
  file.write(offset, std::vector<std::byte>(std::min(length, kChunk), kForeign));
}

void write_segment(OutputFile& file, const ExtentJob& job, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::byte> chunk;
  for (std::uint64_t at = begin; at < end; at += chunk.size()) {
    chunk.resize(std::min(kChunk, end - at));
    expected_bytes(job.layout, job.link, at, chunk);
    file.write(job.file_offset + (at - job.guest_offset), chunk);
  }
}

}  // namespace

BuiltExtent write_flat_extent(const ExtentJob& job) {
  OutputFile file(job.path, job.open_mode);
  BuiltExtent built = describe_extent(job);
  built.file_offset = job.file_offset;
  // What is before the extent in its file must never be read; but another extent may have put its
  // own there.
  if (file.size() == 0) write_foreign(file, 0, job.file_offset);
  const std::uint64_t guest_end = job.guest_offset + job.size_bytes;
  if (job.no_access) {
    write_foreign(file, job.file_offset, job.size_bytes);
  } else {
    for (const Segment& segment : job.layout.links[job.link].segments) {
      const std::uint64_t begin = std::max(segment.guest_offset, job.guest_offset);
      const std::uint64_t end = std::min(segment.end(), guest_end);
      // In a shared file a hole is no longer empty by itself.
      const bool needed = segment.is_stored() || job.open_mode == OutputFile::Open::keep;
      if (needed && begin < end) write_segment(file, job, begin, end);
    }
  }
  built.file_size = std::max(file.size(), job.file_offset + job.size_bytes);
  file.set_size(built.file_size);
  return built;
}

}  // namespace grainmill::testing
