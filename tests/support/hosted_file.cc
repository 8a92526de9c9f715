// SPDX-License-Identifier: Apache-2.0
#include "tests/support/hosted_file.h"

#include "tests/support/little_endian.h"

#include <algorithm>
#include <span>

namespace grainmill::testing {

HostedFile::HostedFile(const ExtentJob& job, std::uint32_t flags)
    : job_(job),
      flags_(job.options.header_flags.value_or(flags)),
      plan_(job, job.options.grain_sectors * kSectorSize, true),
      entries_(plan_.grains(), job.options.gtes_per_gt),
      file_(job.path),
      built_(describe_extent(job)) {
  built_.grain_bytes = plan_.grain_bytes();
  built_.gtes_per_gt = job.options.gtes_per_gt;
  for (const GrainRun& run : plan_.runs()) {
    if (run.state != GrainState::zero) continue;
    for (std::uint64_t i = 0; i < run.count; ++i) entries_.set(run.first + i, 1);
  }
}

void HostedFile::put_descriptor() {
  if (job_.embedded_descriptor.empty()) return;
  const std::span<const char> text(job_.embedded_descriptor);
  const std::uint64_t sectors =
      std::max(job_.options.descriptor.embedded_sectors, divide_up(text.size(), kSectorSize));
  built_.descriptor_offset = cursor_ * kSectorSize;
  built_.descriptor_bytes = sectors * kSectorSize;
  file_.write(built_.descriptor_offset, std::as_bytes(text));
  cursor_ += sectors;
}

std::vector<bool> HostedFile::wanted_tables() const {
  const GrainTables policy = job_.options.grain_tables;
  if (policy == GrainTables::all) return std::vector<bool>(entries_.tables(), true);
  return plan_.tables_in_use(entries_.gtes_per_gt());
}

void HostedFile::place_redundant_tables() {
  redundant_ = TableCopy::placed_at(&cursor_, entries_, wanted_tables());
  built_.rgd_offset = redundant_.gd_sector * kSectorSize;
}

void HostedFile::place_tables() {
  primary_ = TableCopy::placed_at(&cursor_, entries_, wanted_tables());
}

void HostedFile::begin_grains(bool on_grain_boundary) {
  if (on_grain_boundary) cursor_ = round_up(cursor_, job_.options.grain_sectors);
  built_.overhead_bytes = cursor_ * kSectorSize;
}

void HostedFile::add_grain(std::uint64_t grain, std::uint64_t data_offset,
                           std::uint64_t stored_bytes) {
  entries_.set(grain, data_offset / kSectorSize);
  built_.grains.push_back({.guest_offset = job_.guest_offset + grain * plan_.grain_bytes(),
                           .data_offset = data_offset,
                           .stored_bytes = stored_bytes});
}

void HostedFile::write_tables() {
  primary_.write(file_, entries_);
  if (redundant_.gd_sector != 0) redundant_.write(file_, entries_);
}

void HostedFile::write_header(std::uint64_t offset, std::uint64_t gd_sector) {
  file_.write(offset, encode_header(gd_sector));
}

BuiltExtent HostedFile::finish(std::uint64_t file_size) {
  file_.set_size(file_size);
  built_.file_size = file_size;
  built_.gd_offset = primary_.gd_sector * kSectorSize;
  built_.gt_offsets = primary_.gt_offsets();
  built_.rgt_offsets = redundant_.gt_offsets();
  std::ranges::sort(built_.grains, {}, &GrainPlace::guest_offset);
  for (GrainPlace& grain : built_.grains) {
    grain.gte_offset = built_.gte_offset_of(grain.guest_offset);
    grain.redundant_gte_offset = built_.redundant_gte_offset_of(grain.guest_offset);
  }
  return std::move(built_);
}

std::array<std::byte, 512> HostedFile::encode_header(std::uint64_t gd_sector) const {
  std::array<std::byte, 512> header{};
  put_le32(header, 0, 0x564d444b);  // "KDMV"
  put_le32(header, 4, job_.options.header_version);
  put_le32(header, 8, flags_);
  put_le64(header, 12, job_.size_bytes / kSectorSize);
  put_le64(header, 20, job_.options.grain_sectors);
  put_le64(header, 28, built_.descriptor_offset / kSectorSize);
  put_le64(header, 36, built_.descriptor_bytes / kSectorSize);
  put_le32(header, 44, job_.options.gtes_per_gt);
  put_le64(header, 48, redundant_.gd_sector);
  put_le64(header, 56, gd_sector);
  put_le64(header, 64, built_.overhead_bytes / kSectorSize);
  put_le(header, 72, 1, job_.options.unclean_shutdown ? 1 : 0);
  put_le32(header, 73,
           0x0a0d200a);  // newline, blank, CR, newline: a text-mode transfer damages them
  put_le16(header, 77, (flags_ & kFlagCompressed) != 0 ? 1 : 0);
  return header;
}

}  // namespace grainmill::testing
