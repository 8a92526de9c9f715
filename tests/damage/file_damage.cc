// SPDX-License-Identifier: Apache-2.0
//
// Damage to whole files: cut short, grown, overwritten in places, changed by a transfer.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>
#include <set>

namespace grainmill::testing {
namespace {

// Where a truncation hurts: within and between all things that the builder knows of.
std::vector<std::uint64_t> cut_points(const Target& target) {
  const BuiltExtent& extent = target.extent();
  const std::uint64_t size = extent.file_size;
  std::set<std::uint64_t> points = {0, 1, 100, 511, 512, 600, size - 1, size - 512, size - 513};
  const auto around = [&](std::uint64_t offset, std::uint64_t length) {
    for (const std::uint64_t at : {offset, offset + 1, offset + length / 2, offset + length})
      points.insert(at);
  };
  around(extent.gd_offset, 512);
  around(extent.rgd_offset, 512);
  around(extent.descriptor_offset, extent.descriptor_bytes);
  around(extent.overhead_bytes, 512);
  if (extent.footer_offset != 0) around(extent.footer_offset, 512);
  for (const std::size_t i : sample(extent.gt_offsets.size(), 2))
    around(extent.gt_offsets[i], std::uint64_t{extent.gtes_per_gt} * 4);
  for (const std::size_t i : sample(extent.grains.size(), 4))
    around(extent.grains[i].data_offset, extent.grains[i].stored_bytes);
  for (const MarkerPlace& marker : extent.markers) points.insert(marker.offset);
  for (std::uint64_t i = 1; i < 8; ++i) points.insert(size * i / 8);
  std::erase_if(points, [&](std::uint64_t at) { return at >= size; });
  return {points.begin(), points.end()};
}

void add_truncation(std::vector<DamageKind>& kinds) {
  kinds.push_back(extent_kind(
      "file-truncated", "an extent file cut short",
      [](const Target& t) { return cut_points(t).size(); },
      [](const Target& t, std::size_t place) { set_file_size(t.path(), cut_points(t)[place]); }));
  kinds.push_back(extent_kind(
      "file-tail-zeroed", "an extent file whose end never reached the disk",
      [](const Target& t) { return t.is_flat() ? 0 : cut_points(t).size(); },
      [](const Target& t, std::size_t place) {
        set_file_size(t.path(), cut_points(t)[place]);
        set_file_size(t.path(), t.extent().file_size);
      },
      [](const Target& t, std::size_t) { return !t.is_stream(); }));
}

void add_growth(std::vector<DamageKind>& kinds) {
  static constexpr std::uint64_t kSizes[] = {1, 100, 512, 4096, 65536, 1 << 20};
  const auto all_sizes = [](const Target&) { return std::size(kSizes); };
  kinds.push_back(extent_kind("file-grown-by-zeros", "zeros behind an extent file", all_sizes,
                              [](const Target& t, std::size_t place) {
                                set_file_size(t.path(), t.extent().file_size + kSizes[place]);
                              }));
  kinds.push_back(extent_kind("file-grown-by-garbage", "garbage behind an extent file", all_sizes,
                              [](const Target& t, std::size_t place) {
                                patch_file(t.path(), t.extent().file_size,
                                           garbage(place, kSizes[place]));
                              }));
}

// Blocks of a file that hold metadata.
std::vector<std::uint64_t> metadata_blocks(const Target& target, std::uint64_t block) {
  const BuiltExtent& extent = target.extent();
  std::set<std::uint64_t> blocks;
  const auto cover = [&](std::uint64_t offset, std::uint64_t size) {
    for (std::uint64_t at = offset / block; at <= (offset + size - 1) / block; ++at)
      if (blocks.size() < 40) blocks.insert(at * block);
  };
  if (!target.has_tables()) return {};
  cover(0, kSectorSize);
  if (extent.descriptor_offset != 0) cover(extent.descriptor_offset, 1024);
  for (const std::uint64_t offset : {extent.gd_offset, extent.rgd_offset, extent.footer_offset})
    if (offset != 0) cover(offset, kSectorSize);
  for (const std::uint64_t offset : extent.gt_offsets)
    if (offset != 0) cover(offset, std::uint64_t{extent.gtes_per_gt} * 4);
  for (const MarkerPlace& marker : extent.markers) cover(marker.offset, kSectorSize);
  std::erase_if(blocks, [&](std::uint64_t at) { return at >= extent.file_size; });
  return {blocks.begin(), blocks.end()};
}

std::uint64_t clip_block(const Target& target, std::uint64_t at, std::uint64_t block) {
  return std::min(block, target.extent().file_size - at);
}

// A block that also holds grains loses payload, which plain extents cannot notice.
bool holds_payload(const Target& target, std::uint64_t at, std::uint64_t block) {
  return !target.is_stream() &&
         std::ranges::any_of(target.extent().grains, [&](const GrainPlace& g) {
           return g.data_offset < at + block && at < g.data_offset + g.stored_bytes;
         });
}

void add_block_damage(std::vector<DamageKind>& kinds, std::uint64_t block) {
  const std::string size = std::to_string(block);
  kinds.push_back(extent_kind(
      "block-of-" + size + "-zeroed", size + " bytes with metadata zeroed",
      [block](const Target& t) { return metadata_blocks(t, block).size(); },
      [block](const Target& t, std::size_t place) {
        const std::uint64_t at = metadata_blocks(t, block)[place];
        fill_file(t.path(), at, clip_block(t, at, block), std::byte{0});
      },
      [block](const Target& t, std::size_t place) {
        return holds_payload(t, metadata_blocks(t, block)[place], block);
      }));
  kinds.push_back(extent_kind(
      "block-of-" + size + "-garbage", size + " bytes with metadata overwritten by garbage",
      [block](const Target& t) { return metadata_blocks(t, block).size(); },
      [block](const Target& t, std::size_t place) {
        const std::uint64_t at = metadata_blocks(t, block)[place];
        patch_file(t.path(), at, garbage(at, clip_block(t, at, block)));
      },
      [block](const Target& t, std::size_t place) {
        return holds_payload(t, metadata_blocks(t, block)[place], block);
      }));
}

std::vector<std::byte> to_crlf(const std::vector<std::byte>& bytes) {
  std::vector<std::byte> changed;
  for (const std::byte b : bytes) {
    if (b == std::byte{'\n'}) changed.push_back(std::byte{'\r'});
    changed.push_back(b);
  }
  return changed;
}

std::vector<std::byte> to_lf(const std::vector<std::byte>& bytes) {
  std::vector<std::byte> changed;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool pair =
        bytes[i] == std::byte{'\r'} && i + 1 < bytes.size() && bytes[i + 1] == std::byte{'\n'};
    if (!pair) changed.push_back(bytes[i]);
  }
  return changed;
}

void rewrite(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  set_file_size(path, 0);
  patch_file(path, 0, bytes);
}

void add_text_transfer(std::vector<DamageKind>& kinds) {
  using Transfer = std::vector<std::byte> (*)(const std::vector<std::byte>&);
  const auto add = [&kinds](const char* name, const char* what, Transfer transfer) {
    kinds.push_back(
        {.name = name,
         .what = what,
         .places = [](const BuiltDisk& disk) { return disk.files().size(); },
         .apply =
             [transfer](const BuiltDisk& disk, std::size_t place) {
               const std::filesystem::path path = disk.files()[place];
               rewrite(path, transfer(file_bytes(path)));
             },
         .leaves_no_trace = [](const BuiltDisk& disk, std::size_t) { return is_custom(disk); }});
  };
  add("text-mode-to-crlf", "a transfer that turned LF into CR LF", to_crlf);
  add("text-mode-to-lf", "a transfer that turned CR LF into LF", to_lf);
}

void add_payload_damage(std::vector<DamageKind>& kinds) {
  const auto payload = [](const Target& t) -> std::uint64_t {
    return t.is_flat() ? t.extent().file_offset : t.extent().grains.front().data_offset;
  };
  const auto plain = [](const Target& t) -> std::size_t {
    return (t.is_flat() || (t.has_tables() && !t.is_stream() && !t.extent().grains.empty())) ? 1
                                                                                             : 0;
  };
  kinds.push_back(extent_kind(
      "payload-bit-flip", "one bit of an uncompressed grain or flat file turned over", plain,
      [payload](const Target& t, std::size_t) { flip_bits(t.path(), payload(t) + 77); },
      [](const Target&, std::size_t) { return true; }));
}

}  // namespace

void add_file_damage(std::vector<DamageKind>& kinds) {
  add_truncation(kinds);
  add_growth(kinds);
  add_block_damage(kinds, 512);
  add_block_damage(kinds, 4096);
  add_text_transfer(kinds);
  add_payload_damage(kinds);
}

}  // namespace grainmill::testing
