// SPDX-License-Identifier: Apache-2.0
#include "tests/support/reference_extent.h"

#include "tests/support/little_endian.h"

#include <libdeflate.h>

#include <algorithm>

namespace grainmill::testing {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
using Extent = ReferenceExtent;
using Place = ReferencePlace;
using File = std::shared_ptr<ReferenceFile>;

constexpr std::uint64_t kGdInFooter = ~0ULL;
constexpr std::uint64_t kMaxSectors = 1ULL << 50;  // so that neither bytes nor their sums overflow

std::uint64_t bytes_of(std::uint64_t sectors, const fs::path& path) {
  require(sectors < kMaxSectors, path, "has an absurd number of sectors");
  return sectors * kSectorSize;
}

void Extent::load_directory(std::uint64_t sector) {
  const bool sane = size != 0 && grain != 0 && grain <= 1ULL << 32 && gtes != 0 && gtes <= 1 << 20;
  require(sane && sector != 0, file->path(), "has an absurd header");
  const std::uint64_t covered = grain * gtes;
  directory = file->read(bytes_of(sector, file->path()), (size + covered - 1) / covered * 4);
}

Place Extent::locate(std::uint64_t at) {
  if (!file) return {Place::Kind::zero, size - at};
  if (grain == 0) return {Place::Kind::stored, size - at, file_offset};
  const std::uint64_t number = at / grain;
  const std::uint64_t sector = get_le32(directory, number / gtes * 4);
  if (sector == 0) {
    return {Place::Kind::absent, std::min((number / gtes + 1) * gtes * grain, size) - at};
  }
  if (table_number != number / gtes) table = file->read(sector * kSectorSize, gtes * 4);
  table_number = number / gtes;
  const std::uint64_t entry = get_le32(table, number % gtes * 4);
  const std::uint64_t length = std::min((number + 1) * grain, size) - at;
  if (entry == 0) return {Place::Kind::absent, length};
  if (entry == 1 && has_zero_entries) return {Place::Kind::zero, length};
  require(entry * kSectorSize >= first_data, file->path(), "has a grain among its metadata");
  return {Place::Kind::stored, length, entry * kSectorSize};
}

void Extent::read_stored(const Place& place, std::uint64_t at, std::span<std::byte> out) {
  if (grain == 0) return file->read(place.file_offset + at, out);
  if (!compressed) return file->read(place.file_offset + at % grain, out);
  const Bytes content = inflate(place.file_offset, at / grain);
  std::ranges::copy(std::span(content).subspan(at % grain, out.size()), out.begin());
}

Bytes Extent::inflate(std::uint64_t offset, std::uint64_t grain_number) {
  const Bytes header = file->read(offset, 12);
  require(get_le64(header, 0) == grain_number * (grain / kSectorSize), file->path(),
          "has a grain that says it belongs elsewhere");
  const Bytes deflated = file->read(offset + 12, get_le32(header, 8));
  Bytes content(grain);
  const std::shared_ptr<libdeflate_decompressor> inflater(libdeflate_alloc_decompressor(),
                                                          libdeflate_free_decompressor);
  std::size_t used = 0, got = 0;
  const libdeflate_result result =
      libdeflate_zlib_decompress_ex(inflater.get(), deflated.data(), deflated.size(),
                                    content.data(), content.size(), &used, &got);
  require(result == LIBDEFLATE_SUCCESS && used == deflated.size(), file->path(),
          "has a damaged grain");
  require(got == grain || got == size - grain_number * grain, file->path(), "has a short grain");
  return content;
}

namespace {

// Follows the blocks of a stream to the header that stands at its end.
Bytes find_footer(ReferenceFile& file, std::uint64_t sector) {
  for (;;) {
    const Bytes block = file.read(bytes_of(sector, file.path()), kSectorSize);
    const std::uint32_t stored = get_le32(block, 8), type = get_le32(block, 12);
    if (stored != 0) {
      sector += (12ULL + stored + kSectorSize - 1) / kSectorSize;
      continue;
    }
    require(type >= 1 && type <= 4, file.path(), "has no footer before its end of stream");
    if (type == 3) return file.read((sector + 1) * kSectorSize, kSectorSize);
    sector += 1 + (type == 4 ? 0 : get_le64(block, 0));
  }
}

Extent open_hosted(const File& file) {
  const fs::path& path = file->path();
  Bytes header = file->read(0, kSectorSize);
  if (get_le64(header, 56) == kGdInFooter) {
    const Bytes footer = find_footer(*file, get_le64(header, 64));
    put_le64(header, 56, get_le64(footer, 56));
    require(header == footer, path, "has a footer that differs from its header");
  }
  const std::uint32_t version = get_le32(header, 4), flags = get_le32(header, 8);
  const bool compressed = flags >> 16 == 3;
  require(version >= 1 && version <= 3, path, "has an unknown version");
  require(compressed || flags >> 16 == 0, path, "has unknown or inconsistent flags");
  require((flags & 1) == 0 || get_le32(header, 73) == 0x0a0d200a, path, "went through text mode");
  require(get_le16(header, 77) == compressed, path, "has an unknown compression");
  Extent extent{.size = bytes_of(get_le64(header, 12), path), .file = file};
  extent.grain = bytes_of(get_le64(header, 20), path);
  extent.gtes = get_le32(header, 44);
  extent.first_data = bytes_of(get_le64(header, 64), path);
  extent.compressed = compressed;
  extent.has_zero_entries = true;
  extent.descriptor_offset = bytes_of(get_le64(header, 28), path);
  extent.descriptor_size = bytes_of(get_le64(header, 36), path);
  extent.load_directory(get_le64(header, 56));
  return extent;
}

Extent open_cowd(const File& file) {
  const Bytes header = file->read(0, 4 * kSectorSize);
  require(get_le32(header, 4) == 1, file->path(), "has an unknown version");
  Extent extent{.size = get_le32(header, 12) * kSectorSize, .file = file};
  extent.grain = get_le32(header, 16) * kSectorSize;
  extent.gtes = 4096;
  extent.first_data = header.size();
  extent.load_directory(get_le32(header, 20));
  return extent;
}

}  // namespace

Extent open_tables(const File& file, std::uint32_t magic) {
  require(get_le32(file->read(0, 4), 0) == magic, file->path(), "is not of the kind it should be");
  return magic == kHostedMagic ? open_hosted(file) : open_cowd(file);
}

Extent open_extent(const ReferenceDescriptor::ExtentLine& line, const fs::path& folder) {
  const fs::path path = folder / line.file_name;
  const std::uint64_t size = bytes_of(line.sectors, path);
  if (line.access == "NOACCESS" || line.type == "ZERO") return {.size = size};
  require(line.access == "RW" || line.access == "RDONLY", path, "has an unknown access word");
  const File file = std::make_shared<ReferenceFile>(path);
  if (line.type == "FLAT" || line.type == "VMFS") {
    const std::uint64_t offset = bytes_of(line.offset_sectors, path);
    require(size <= file->size() && offset <= file->size() - size, path, "is too short");
    return {.size = size, .file = file, .file_offset = offset};
  }
  require(line.type == "SPARSE" || line.type == "VMFSSPARSE", path, "has an unknown extent type");
  Extent extent = open_tables(file, line.type == "SPARSE" ? kHostedMagic : kCowdMagic);
  require(extent.size == size, path, "differs in size from its line in the descriptor");
  return extent;
}

}  // namespace grainmill::testing
