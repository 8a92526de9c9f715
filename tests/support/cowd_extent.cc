// SPDX-License-Identifier: Apache-2.0
//
// vmfsSparse extents: the older "COWD" file, with tables of 4096 entries that stand among the
// grains.
#include "tests/support/extent_writers.h"
#include "tests/support/grain_plan.h"
#include "tests/support/little_endian.h"
#include "tests/support/table_copy.h"

#include <algorithm>
#include <array>

namespace grainmill::testing {
namespace {

constexpr std::uint32_t kGtesPerGt = 4096;
constexpr std::uint64_t kHeaderSectors = 4;

class CowdWriter {
 public:
  explicit CowdWriter(const ExtentJob& job)
      : job_(job),
        plan_(job, job.options.grain_sectors * kSectorSize, false),
        entries_(plan_.grains(), kGtesPerGt),
        file_(job.path),
        built_(describe_extent(job)),
        cursor_(kHeaderSectors + entries_.directory_sectors()) {}

  BuiltExtent write();

 private:
  void need_table(std::uint64_t table);
  std::uint64_t put_grains();
  void write_header();
  BuiltExtent finish(std::uint64_t file_size);

  const ExtentJob& job_;
  GrainPlan plan_;
  TableEntries entries_;
  OutputFile file_;
  BuiltExtent built_;
  TableCopy tables_;
  std::uint64_t cursor_;
};

BuiltExtent CowdWriter::write() {
  tables_.gd_sector = kHeaderSectors;
  tables_.gt_sectors.resize(entries_.tables());
  if (job_.options.grain_tables == GrainTables::all) {
    for (std::uint64_t table = 0; table < entries_.tables(); ++table) need_table(table);
  }
  built_.overhead_bytes = cursor_ * kSectorSize;
  const std::uint64_t end = put_grains();
  tables_.write(file_, entries_);
  write_header();
  return finish(end);
}

void CowdWriter::need_table(std::uint64_t table) {
  if (tables_.gt_sectors[table] != 0) return;
  tables_.gt_sectors[table] = cursor_;
  cursor_ += entries_.table_sectors();
}

std::uint64_t CowdWriter::put_grains() {
  std::uint64_t end = cursor_ * kSectorSize;
  for (const std::uint64_t grain : plan_.placed_grains()) {
    need_table(grain / kGtesPerGt);
    const std::uint64_t offset = cursor_ * kSectorSize;
    const std::vector<std::byte> content = plan_.content(grain);
    file_.write(offset, content);
    entries_.set(grain, cursor_);
    built_.grains.push_back({.guest_offset = job_.guest_offset + grain * plan_.grain_bytes(),
                             .data_offset = offset,
                             .stored_bytes = content.size()});
    cursor_ += job_.options.grain_sectors + job_.options.grain_gap_sectors;
    end = offset + content.size();
  }
  return end;
}

void CowdWriter::write_header() {
  std::array<std::byte, kHeaderSectors * kSectorSize> header{};
  put_le32(header, 0, 0x44574f43);  // "COWD"
  put_le32(header, 4, 1);
  put_le32(header, 8, job_.options.header_flags.value_or(3));
  put_le32(header, 12, sector_pointer(job_.size_bytes / kSectorSize));
  put_le32(header, 16, sector_pointer(job_.options.grain_sectors));
  put_le32(header, 20, kHeaderSectors);
  put_le32(header, 24, sector_pointer(entries_.tables()));
  put_le32(header, 28, sector_pointer(cursor_));
  put_le32(header, 1648, job_.options.unclean_shutdown ? 1 : 0);
  file_.write(0, header);
}

BuiltExtent CowdWriter::finish(std::uint64_t file_size) {
  file_.set_size(file_size);
  built_.file_size = file_size;
  built_.grain_bytes = plan_.grain_bytes();
  built_.gtes_per_gt = kGtesPerGt;
  built_.gd_offset = tables_.gd_sector * kSectorSize;
  built_.gt_offsets = tables_.gt_offsets();
  std::ranges::sort(built_.grains, {}, &GrainPlace::guest_offset);
  for (GrainPlace& grain : built_.grains)
    grain.gte_offset = built_.gte_offset_of(grain.guest_offset);
  return std::move(built_);
}

}  // namespace

BuiltExtent write_cowd_extent(const ExtentJob& job) { return CowdWriter(job).write(); }

}  // namespace grainmill::testing
