// SPDX-License-Identifier: Apache-2.0
//
// Hosted sparse extents without compression.
#include "tests/support/hosted_file.h"
#include "tests/support/little_endian.h"

namespace grainmill::testing {
namespace {

std::uint32_t sparse_flags(const LinkOptions& options) {
  std::uint32_t flags = kFlagNewlineTest;
  if (options.redundant_tables) flags |= kFlagRedundantTables;
  if (options.header_version == 2 || options.zero_grains == ZeroGrains::gte_one)
    flags |= kFlagZeroGrains;
  return flags;
}

}  // namespace

BuiltExtent write_sparse_extent(const ExtentJob& job) {
  HostedFile out(job, sparse_flags(job.options));
  out.put_descriptor();
  if (job.options.redundant_tables) out.place_redundant_tables();
  out.place_tables();
  out.begin_grains(true);
  std::uint64_t end = out.cursor() * kSectorSize;
  for (const std::uint64_t grain : out.plan().placed_grains()) {
    const std::uint64_t offset = out.cursor() * kSectorSize;
    const std::vector<std::byte> content = out.plan().content(grain);
    out.file().write(offset, content);
    out.add_grain(grain, offset, content.size());
    out.cursor() += job.options.grain_sectors + job.options.grain_gap_sectors;
    end = offset + content.size();
  }
  out.write_tables();
  out.write_header(0, out.tables().gd_sector);
  return out.finish(end);
}

}  // namespace grainmill::testing
