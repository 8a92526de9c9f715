// SPDX-License-Identifier: Apache-2.0
//
// streamOptimized extents in the forms that different writers give them.
#include "tests/support/hosted_file.h"
#include "tests/support/little_endian.h"

#include <libdeflate.h>

#include <array>
#include <memory>
#include <stdexcept>

namespace grainmill::testing {
namespace {

constexpr std::size_t kGrainHeaderBytes = 12;

enum class MarkerType : std::uint32_t { end_of_stream, table, directory, footer, progress };

struct FreeCompressor {
  void operator()(libdeflate_compressor* compressor) const {
    libdeflate_free_compressor(compressor);
  }
};

class StreamWriter {
 public:
  explicit StreamWriter(const ExtentJob& job);
  BuiltExtent write();

 private:
  bool has_footer() const { return stream_.form == StreamForm::footer; }
  void put_front();
  void put_grains();
  void put_grain(std::uint64_t grain);
  void put_marker(MarkerType type, std::uint64_t payload_sectors);
  void put_table(std::uint64_t table);
  void put_missing_tables();
  void put_directory_and_footer();

  static std::uint32_t flags_for(const LinkOptions& options);

  const ExtentJob& job_;
  const StreamOptions& stream_;
  HostedFile out_;
  std::unique_ptr<libdeflate_compressor, FreeCompressor> compressor_;
  TableCopy tables_;  // footer form: filled while the tables are written
  std::vector<bool> missing_tables_;
};

std::uint32_t StreamWriter::flags_for(const LinkOptions& options) {
  std::uint32_t flags = kFlagNewlineTest | kFlagCompressed | kFlagMarkers;
  if (options.stream.form == StreamForm::qemu) flags |= kFlagRedundantTables;
  if (options.header_version == 2 || options.zero_grains == ZeroGrains::gte_one)
    flags |= kFlagZeroGrains;
  return flags;
}

StreamWriter::StreamWriter(const ExtentJob& job)
    : job_(job),
      stream_(job.options.stream),
      out_(job, flags_for(job.options)),
      compressor_(libdeflate_alloc_compressor(stream_.deflate_level)) {
  if (compressor_ == nullptr) throw std::invalid_argument("deflate_level must be 0..12");
}

BuiltExtent StreamWriter::write() {
  put_front();
  put_grains();
  if (has_footer()) put_directory_and_footer();
  if (stream_.form != StreamForm::qemu && !stream_.omit_end_of_stream) {
    out_.built().end_of_stream_offset = out_.cursor() * kSectorSize;
    put_marker(MarkerType::end_of_stream, 0);
  }
  if (!has_footer()) out_.write_tables();
  const bool hide_directory = has_footer() && !stream_.header_has_real_gd;
  out_.write_header(0, hide_directory ? kGdInFooter : out_.tables().gd_sector);
  return out_.finish(out_.cursor() * kSectorSize + stream_.trailing_padding_bytes);
}

void StreamWriter::put_front() {
  out_.put_descriptor();
  if (stream_.form == StreamForm::qemu) out_.place_redundant_tables();
  if (!has_footer()) out_.place_tables();
  out_.begin_grains(stream_.align_overhead);
  tables_.gt_sectors.resize(out_.entries().tables());
  missing_tables_ = out_.wanted_tables();
}

void StreamWriter::put_grains() {
  const std::vector<std::uint64_t> grains = out_.plan().placed_grains();
  const std::uint32_t gtes = job_.options.gtes_per_gt;
  for (std::size_t i = 0; i < grains.size(); ++i) {
    const std::uint64_t every = stream_.progress_marker_every;
    if (every != 0 && i % every == 0) put_marker(MarkerType::progress, 0);
    put_grain(grains[i]);
    // In order, a table follows the last of its grains; otherwise nobody knows which one that is
    // before the end.
    const bool last_of_table = i + 1 == grains.size() || grains[i] / gtes != grains[i + 1] / gtes;
    if (has_footer() && last_of_table && job_.options.placement == Placement::in_order)
      put_table(grains[i] / gtes);
  }
}

void StreamWriter::put_grain(std::uint64_t grain) {
  const std::vector<std::byte> content = out_.plan().content(grain);
  const std::size_t bound = libdeflate_zlib_compress_bound(compressor_.get(), content.size());
  std::vector<std::byte> block(kGrainHeaderBytes + bound);
  const std::size_t size = libdeflate_zlib_compress(
      compressor_.get(), content.data(), content.size(), block.data() + kGrainHeaderBytes, bound);
  if (size == 0) throw std::logic_error("libdeflate: no room in its own bound");
  put_le64(block, 0, grain * job_.options.grain_sectors);
  put_le32(block, 8, sector_pointer(size));
  block.resize(kGrainHeaderBytes + size);
  const std::uint64_t offset = out_.cursor() * kSectorSize;
  out_.file().write(offset, block);
  out_.add_grain(grain, offset, block.size());
  out_.cursor() += divide_up(block.size(), kSectorSize);
}

void StreamWriter::put_marker(MarkerType type, std::uint64_t payload_sectors) {
  std::array<std::byte, kSectorSize> marker{};
  put_le64(marker, 0, payload_sectors);
  put_le32(marker, 12, static_cast<std::uint32_t>(type));
  const std::uint64_t offset = out_.cursor()++ * kSectorSize;
  out_.file().write(offset, marker);
  out_.built().markers.push_back({static_cast<std::uint32_t>(type), offset});
}

void StreamWriter::put_table(std::uint64_t table) {
  put_marker(MarkerType::table, out_.entries().table_sectors());
  tables_.gt_sectors[table] = out_.cursor();
  tables_.write_table(out_.file(), out_.entries(), table);
  out_.cursor() += out_.entries().table_sectors();
  missing_tables_[table] = false;
}

void StreamWriter::put_missing_tables() {
  for (std::uint64_t table = 0; table < missing_tables_.size(); ++table) {
    if (missing_tables_[table]) put_table(table);
  }
}

void StreamWriter::put_directory_and_footer() {
  put_missing_tables();
  put_marker(MarkerType::directory, out_.entries().directory_sectors());
  tables_.gd_sector = out_.cursor();
  tables_.write_directory(out_.file(), out_.entries());
  out_.cursor() += out_.entries().directory_sectors();
  out_.set_tables(tables_);
  put_marker(MarkerType::footer, 1);
  out_.built().footer_offset = out_.cursor()++ * kSectorSize;
  out_.write_header(out_.built().footer_offset, tables_.gd_sector);
}

}  // namespace

BuiltExtent write_stream_extent(const ExtentJob& job) { return StreamWriter(job).write(); }

}  // namespace grainmill::testing
