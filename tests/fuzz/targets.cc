// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/targets.h"

#include "engine/disk/disk.h"
#include "engine/format/qcow2/layout.h"
#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/layout.h"
#include "pipeline/manifest_reader.h"
#include "pipeline/plan.h"
#include "pipeline/stages.h"
#include "tests/fakes/memory_file_system.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace grainmill::fuzz {
namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// An error says something, and is of a file.
template <typename T>
void require_good_error(const Result<T>& result) {
  if (!result) require(!result.error().message.empty() && !result.error().path.empty());
}

void require_extent(const Extent& extent, std::uint64_t at) {
  require(extent.guest_offset == at && extent.length > 0);
  if (extent.reads_as_zero()) return;
  const std::uint64_t file_bytes = extent.file->info()->size_bytes;
  const bool is_data = extent.kind == ExtentKind::data;
  const std::uint64_t stored = is_data ? extent.length : extent.stored_bytes;
  require(extent.file_offset <= file_bytes && stored <= file_bytes - extent.file_offset);
  require(is_data || extent.grain_skip + extent.length <= extent.grain_bytes);
}

// Maps a range and holds the extents against the contract of LinkMap.
void map_range(const ChainMap& map, std::uint64_t begin, std::uint64_t end) {
  ExtentList extents;
  if (!map.compose(begin, end - begin, extents)) return;
  std::uint64_t at = begin;
  for (const Extent& extent : extents) {
    require_extent(extent, at);
    at = extent.guest_end();
  }
  require(at == end);
}

// The stages of a conversion on the first units of a disk; a crafted disk may have billions.
void read_units(const Disk& disk) {
  const UnitShape shape = shape_for(disk, 32);
  constexpr std::uint64_t kMostMemory = 16 * kMiB;
  if (shape.memory_bytes() > kMostMemory) return;
  Planner planner(disk.map(), shape);
  Unit unit(shape);
  for (int i = 0; i < 8 && planner.next(unit); ++i) {
    fetch(unit);
    decode(unit, disk.map());
    digest(unit, CryptoAlgorithm::sha256);
    if (!unit.status) salvage(unit, disk.map(), CryptoAlgorithm::sha256);
    require(unit.status.has_value());
  }
}

void open_image(testing::MemoryFileSystem& files, TableChoice tables) {
  DiskOptions options;
  options.open.tables = tables;
  options.ignore_content_ids = true;
  const Result<Disk> disk = Disk::open(files, "/a", options);
  require_good_error(disk);
  if (!disk) return;
  require_good_error(disk->check());
  const std::uint64_t size = disk->size_bytes();
  constexpr std::uint64_t kNear = 4 * kMiB;
  if (size != 0) map_range(disk->map(), 0, std::min(size, kNear));
  if (size > kNear) map_range(disk->map(), size - kNear / 2, size);
  read_units(*disk);
}

}  // namespace

void add_files(testing::MemoryFileSystem& files, std::string_view input) {
  char name = 'a';
  while (name <= 'h') {
    const std::size_t end = std::min(input.find(kFileSeparator), input.size());
    files.add(std::string("/") + name++, input.substr(0, end));
    if (end == input.size()) return;
    input.remove_prefix(end + kFileSeparator.size());
  }
}

void descriptor(std::span<const std::byte> input) {
  (void)vmdk::looks_like_descriptor(input);
  const auto parsed = vmdk::parse_descriptor(as_text(input), "d", 512);
  require_good_error(parsed);
  if (!parsed) return;
  require(!parsed->extents.empty() && parsed->total_sectors() <= std::uint64_t{1} << 50);
  require_good_error(vmdk::check_create_type(*parsed, "d", 512));
  require_good_error(vmdk::check_numbering(*parsed, "d", 512));
  (void)vmdk::name_after_last(*parsed);
  (void)vmdk::flat_files_are_exact(*parsed);
}

void header(std::span<const std::byte> input) {
  std::array<std::byte, vmdk::kCowdHeaderBytes> bytes{};
  std::ranges::copy(input.first(std::min(input.size(), bytes.size())), bytes.begin());
  const auto hosted = vmdk::parse_hosted_header(std::span(bytes).first(kSectorBytes), "f", 0);
  require_good_error(hosted);
  if (hosted) {
    const std::uint64_t table = hosted->grain_bytes() * hosted->entries_per_table;
    require(hosted->capacity_bytes() / kSectorBytes == hosted->capacity_sectors);
    require(table / hosted->entries_per_table == hosted->grain_bytes());
  }
  require_good_error(vmdk::parse_cowd_header(bytes, "f"));
  const auto first_cluster = qcow2::parse_header(input, "f");
  require_good_error(first_cluster);
  if (first_cluster) {
    require(first_cluster->tables() <= first_cluster->l1_entries &&
            first_cluster->size_bytes <= std::uint64_t{1} << 61);
    require(first_cluster->backing_file.size() < 1024);
  }
  (void)vmdk::parse_block_header(bytes);
}

void image(std::span<const std::byte> input) {
  testing::MemoryFileSystem files;
  add_files(files, as_text(input));
  for (const TableChoice tables :
       {TableChoice::agreeing, TableChoice::primary, TableChoice::redundant})
    open_image(files, tables);
}

void manifest(std::span<const std::byte> input) {
  constexpr std::size_t kTail = kDigest128Bytes + 8;
  Bytes bytes(input.begin(), input.end());
  if (bytes.size() > kTail) {
    const std::size_t end = bytes.size() - kTail;
    StreamDigest checksum;
    checksum.update(std::span(bytes).first(end));
    store_digest(bytes.data() + end, checksum.digest());
    std::ranges::copy(std::as_bytes(std::span(kManifestEndMagic)), bytes.end() - 8);
  }
  testing::MemoryFileSystem files;
  files.add("/m", bytes);
  auto reader = ManifestReader::open(files, "/m");
  require_good_error(reader);
  if (!reader) return;
  for (std::uint64_t most = 1; most < std::uint64_t{1} << 40; most *= 3) {
    const auto run = reader->take(most);
    require_good_error(run);
    if (!run || run->grains == 0) return;
    require(run->grains <= most);
    require(run->digests.empty() || run->digests.size() == run->grains * kDigest128Bytes);
  }
}

}  // namespace grainmill::fuzz
