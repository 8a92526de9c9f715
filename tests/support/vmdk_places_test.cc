// SPDX-License-Identifier: Apache-2.0
//
// Is everything in the files where the builder says it is?
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <stdexcept>

#include <sys/stat.h>

namespace grainmill::testing {
namespace {

using enum Kind;

const std::string kLayout = "64k:A 64k:- 128k:B 64k:0 300k:- 64k:C 9s:D";

std::uint64_t allocated_bytes(const std::filesystem::path& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512
                                            : 0;
}

class Places : public ::testing::Test {
 protected:
  BuiltExtent build(const LinkOptions& options, const std::string& layout = kLayout) {
    layout_ = parse_layout(layout);
    return build_disk(dir_.path(), "disk", layout_, options).links[0].extents[0];
  }
  std::uint32_t word_at(const BuiltExtent& extent, std::uint64_t offset) {
    return file_word(extent.path, offset);
  }
  // Directory entry, table entry and its copy all lead to the grain.
  void expect_entries(const BuiltExtent& extent) {
    for (const GrainPlace& grain : extent.grains) {
      EXPECT_EQ(word_at(extent, grain.gte_offset), grain.data_offset / 512);
      if (extent.rgd_offset == 0) continue;
      EXPECT_EQ(word_at(extent, grain.redundant_gte_offset), grain.data_offset / 512);
    }
    for (std::size_t table = 0; table < extent.gt_offsets.size(); ++table) {
      EXPECT_EQ(word_at(extent, extent.gd_offset + table * 4), extent.gt_offsets[table] / 512);
      if (extent.rgd_offset == 0) continue;
      EXPECT_EQ(word_at(extent, extent.rgd_offset + table * 4), extent.rgt_offsets[table] / 512);
    }
  }

  TempDir dir_;
  Layout layout_;
};

TEST_F(Places, OfASparseExtent) {
  const BuiltExtent extent = build({.gtes_per_gt = 4, .header_version = 2});
  EXPECT_EQ(word_at(extent, extent.header_offset), 0x564d444bU);
  EXPECT_EQ(file_dword(extent.path, 56), extent.gd_offset / 512);
  EXPECT_EQ(file_dword(extent.path, 48), extent.rgd_offset / 512);
  EXPECT_EQ(file_dword(extent.path, 64), extent.overhead_bytes / 512);
  EXPECT_EQ(extent.descriptor_offset, 512U);
  EXPECT_EQ(extent.descriptor_bytes, 20U * 512);
  EXPECT_EQ(extent.rgd_offset, 21U * 512);
  EXPECT_EQ(extent.gt_offsets.size(), 3U);
  EXPECT_EQ(extent.file_size, std::filesystem::file_size(extent.path));
  EXPECT_EQ(extent.grains.size(), 5U);
  expect_entries(extent);
  EXPECT_EQ(word_at(extent, extent.gte_offset_of(256 << 10)), 1U);
  EXPECT_EQ(word_at(extent, extent.gte_offset_of(64 << 10)), 0U);
}

TEST_F(Places, OfShuffledGrains) {
  const BuiltExtent extent =
      build({.placement = Placement::shuffled, .placement_seed = 3, .grain_gap_sectors = 1});
  expect_entries(extent);
  EXPECT_FALSE(std::ranges::is_sorted(extent.grains, {}, &GrainPlace::data_offset));
  for (const GrainPlace& grain : extent.grains) {
    const std::uint64_t length =
        std::min(extent.grain_bytes, layout_.size_bytes() - grain.guest_offset);
    EXPECT_EQ(file_bytes(extent.path, grain.data_offset, length),
              expected_bytes(layout_, grain.guest_offset, length));
  }
}

TEST_F(Places, OfACowdExtent) {
  const BuiltExtent extent = build({.kind = vmfs_sparse, .grain_sectors = 8}, "64k:A 20m:- 4k:B");
  EXPECT_EQ(word_at(extent, extent.header_offset), 0x44574f43U);
  EXPECT_EQ(extent.gt_offsets.size(), 2U);
  EXPECT_EQ(extent.grains.size(), 17U);
  expect_entries(extent);
}

TEST_F(Places, OfAStreamWithFooter) {
  const BuiltExtent extent =
      build({.kind = stream_optimized, .gtes_per_gt = 4, .stream = {.progress_marker_every = 3}});
  EXPECT_EQ(file_dword(extent.path, 56), ~0ULL);
  EXPECT_EQ(word_at(extent, extent.footer_offset), 0x564d444bU);
  EXPECT_EQ(file_dword(extent.path, extent.footer_offset + 56), extent.gd_offset / 512);
  EXPECT_EQ(extent.footer_offset, extent.file_size - 1024);
  EXPECT_EQ(extent.end_of_stream_offset, extent.file_size - 512);
  expect_entries(extent);
  std::string types;
  for (const MarkerPlace& marker : extent.markers) {
    EXPECT_EQ(word_at(extent, marker.offset + 8), 0U);
    EXPECT_EQ(word_at(extent, marker.offset + 12), marker.type);
    types += std::to_string(marker.type);
  }
  EXPECT_EQ(types, "4141230");
  for (const GrainPlace& grain : extent.grains) {
    EXPECT_EQ(file_dword(extent.path, grain.data_offset), grain.guest_offset / 512);
    EXPECT_EQ(word_at(extent, grain.data_offset + 8) + 12, grain.stored_bytes);
  }
}

TEST_F(Places, StoredStreamsOutgrowTheirGrains) {
  const BuiltExtent extent =
      build({.kind = stream_optimized, .stream = {.deflate_level = 0}}, "128k:r");
  for (const GrainPlace& grain : extent.grains) EXPECT_GT(grain.stored_bytes, 65536U + 12);
}

TEST_F(Places, OfFlatExtents) {
  const Layout layout = parse_layout("1m:A 1m:- 512k:B");
  const BuiltDisk disk = build_disk(
      dir_.path(), "disk", layout,
      LinkOptions{.kind = two_gb_flat, .split_size_bytes = 1 << 20, .flat_offset_sectors = 7});
  ASSERT_EQ(disk.links[0].extents.size(), 3U);
  EXPECT_EQ(disk.files().size(), 4U);
  const BuiltExtent& last = disk.links[0].extent_at(2 << 20);
  EXPECT_EQ(last.path.filename(), "disk-f003.vmdk");
  EXPECT_EQ(file_bytes(last.path, last.file_offset, 4096), expected_bytes(layout, 2 << 20, 4096));
  EXPECT_EQ(file_bytes(last.path, last.file_offset - 1, 1)[0], std::byte{0xee});
  EXPECT_LT(allocated_bytes(disk.links[0].extents[1].path), 64U << 10);
}

TEST_F(Places, AreLookedUpByGuestOffset) {
  const BuiltExtent extent = build({.grain_tables = GrainTables::needed}, "64k:A 40m:- 64k:B");
  EXPECT_EQ(extent.grain_at(65535).data_offset, extent.overhead_bytes);
  EXPECT_EQ(extent.grain_at((40 << 20) + 65536).guest_offset, (40U << 20) + 65536);
  EXPECT_THROW(extent.grain_at(65536), std::out_of_range);
  EXPECT_THROW(static_cast<void>(extent.gte_offset_of(1ULL << 40)), std::out_of_range);
  const BuiltExtent early = build({.grain_tables = GrainTables::needed}, "33m:- 1m:A");
  EXPECT_EQ(early.gte_offset_of(0), 0U);
  EXPECT_NE(early.gte_offset_of(33 << 20), 0U);
}

// Holes make large disks cheap, so tests can cross every boundary that matters.
TEST_F(Places, LargeDisksAreCheap) {
  for (const LinkOptions& options :
       {LinkOptions{}, LinkOptions{.kind = two_gb_sparse, .split_size_bytes = 512ULL << 30},
        LinkOptions{.kind = vmfs_sparse, .grain_sectors = 128},
        LinkOptions{.kind = stream_optimized}, LinkOptions{.kind = monolithic_flat},
        LinkOptions{.kind = vmfs}}) {
    const Layout layout = parse_layout("4095m:- 2m:A 1020g:- 64k:B 1023g:- 1s:C");
    const BuiltDisk disk = build_disk(dir_.path(), "large", layout, options);
    const ReferenceDisk reader = ReferenceDisk::open(disk.path());
    ASSERT_EQ(reader.size_bytes(), layout.size_bytes());
    for (const std::uint64_t at : std::initializer_list<std::uint64_t>{
             4095ULL << 20, 4096ULL << 20, 4097ULL << 20, 1ULL << 40, layout.size_bytes() - 512}) {
      const std::uint64_t begin = at - 4096;
      const std::uint64_t length = std::min<std::uint64_t>(8192, layout.size_bytes() - begin);
      EXPECT_EQ(reader.read(begin, length), expected_bytes(layout, begin, length));
    }
    std::uint64_t total = 0;
    for (const std::filesystem::path& file : disk.files()) total += allocated_bytes(file);
    EXPECT_LT(total, 8U << 20) << disk.links[0].extents[0].path;
  }
}

TEST_F(Places, CidsAreConsistentAndDiffer) {
  const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout("64k:A | 64k:^ | 64k:^"));
  EXPECT_EQ(disk.links[0].parent_cid, 0xffffffffU);
  EXPECT_EQ(disk.links[1].parent_cid, disk.links[0].cid);
  EXPECT_EQ(disk.links[2].parent_cid, disk.links[1].cid);
  EXPECT_NE(disk.links[2].cid, disk.links[1].cid);
  EXPECT_EQ(disk.path().filename(), "disk-000002.vmdk");
}

TEST_F(Places, SenselessOptionsAreRefused) {
  const auto refused = [this](const std::string& layout, const std::vector<LinkOptions>& options) {
    EXPECT_THROW(build_disk(dir_.path(), "disk", parse_layout(layout), options),
                 std::invalid_argument);
  };
  refused("64k:A | 64k:^", {{.kind = monolithic_flat}});
  refused("64k:A | 64k:^", {{.kind = raw}});
  refused("64k:0", {{.kind = vmfs_sparse, .zero_grains = ZeroGrains::gte_one}});
  refused("64k:A", {{.gtes_per_gt = 0}});
  refused("64k:A", {{.split_size_bytes = 512}});
  refused("64k:A", {{.kind = two_gb_sparse, .split_size_bytes = 100}});
  refused("64k:A", {{.kind = custom}});
  refused("64k:A", {{.kind = custom, .extents = {{.size_bytes = 512}}}});
  refused("64k:A", {{.kind = custom, .extents = {{.type = ExtentType::zero}}}});
  refused("64k:A", {{.kind = stream_optimized, .stream = {.deflate_level = 13}}});
  refused("64k:A", {});
}

}  // namespace
}  // namespace grainmill::testing
