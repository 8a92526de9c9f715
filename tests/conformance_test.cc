// SPDX-License-Identifier: Apache-2.0
//
// What every format that is read must do, for every layout of a disk: a new variant joins with one
// line of kVariants.
#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace grainmill::testing {
namespace {

using enum Kind;
namespace fs = std::filesystem;

// How a disk is stored: the links from the base up; the last serves for all further ones.
struct Variant {
  std::string name;
  std::vector<LinkOptions> links;

  // Nothing says that a raw file has a parent.
  bool has_chains() const { return links[0].kind != raw; }
};

struct NamedLayout {
  std::string name;
  std::string text;
};

struct Case {
  Variant variant;
  NamedLayout layout;
};

std::ostream& operator<<(std::ostream& out, const Case& test) {
  return out << test.variant.name << ", " << test.layout.text;
}

std::vector<Variant> variants() {
  const LinkOptions small{.gtes_per_gt = 4, .header_version = 2};
  const LinkOptions sparse_4k{.grain_sectors = 8, .header_version = 2};
  const LinkOptions sparse_1m{.grain_sectors = 2048, .header_version = 2};
  const LinkOptions cowd{.kind = vmfs_sparse};
  const LinkOptions stream{.kind = stream_optimized, .gtes_per_gt = 8};
  const LinkOptions stream_4k{.kind = stream_optimized, .grain_sectors = 8};
  const LinkOptions in_front{.kind = stream_optimized, .stream = {.form = StreamForm::gd_in_front}};
  const LinkOptions by_qemu{.kind = stream_optimized, .stream = {.form = StreamForm::qemu}};
  return {
      {"sparse", {{}}},
      {"sparse_version_2", {{.header_version = 2}}},
      {"sparse_small_tables", {small}},
      {"sparse_one_copy", {{.redundant_tables = false}}},
      {"sparse_needed_tables", {{.gtes_per_gt = 4, .grain_tables = GrainTables::needed}}},
      {"sparse_shuffled", {{.placement = Placement::shuffled, .grain_gap_sectors = 128}}},
      {"sparse_garbage_tail",
       {{.placement = Placement::reversed, .last_grain = LastGrain::garbage}}},
      {"sparse_short_tail", {{.last_grain = LastGrain::shortened}}},
      {"sparse_4k", {sparse_4k}},
      {"sparse_1m", {sparse_1m}},
      {"sparse_lower_case", {{.descriptor = {.crlf = true, .keys = TextCase::lower}}}},
      {"sparse_unclean", {{.unclean_shutdown = true}}},
      {"split", {{.kind = two_gb_sparse, .split_size_bytes = 320 << 10}}},
      {"split_within_grains", {{.kind = two_gb_sparse, .split_size_bytes = (300 << 10) + 1536}}},
      {"flat", {{.kind = monolithic_flat}, small}},
      {"flat_at_offset", {{.kind = monolithic_flat, .flat_offset_sectors = 5}, cowd}},
      {"flat_split", {{.kind = two_gb_flat, .split_size_bytes = (300 << 10) + 1536}, small}},
      {"vmfs", {{.kind = vmfs}, cowd}},
      {"cowd", {cowd}},
      {"cowd_all_tables", {{.kind = vmfs_sparse, .grain_tables = GrainTables::all}}},
      {"cowd_4k", {{.kind = vmfs_sparse, .grain_sectors = 8, .placement = Placement::reversed}}},
      {"stream_footer", {stream}},
      {"stream_in_front", {in_front}},
      {"stream_qemu", {by_qemu}},
      {"stream_4k", {stream_4k}},
      {"stream_1m", {{.kind = stream_optimized, .grain_sectors = 2048}}},
      {"stream_incompressible", {{.kind = stream_optimized, .stream = {.deflate_level = 0}}}},
      {"stream_zero_entries", {{.kind = stream_optimized, .zero_grains = ZeroGrains::gte_one}}},
      {"stream_progress", {{.kind = stream_optimized, .stream = {.progress_marker_every = 2}}}},
      {"stream_short_tail", {{.kind = stream_optimized, .last_grain = LastGrain::shortened}}},
      {"stream_shuffled", {{.kind = stream_optimized, .placement = Placement::shuffled}}},
      {"cowd_over_stream", {stream, cowd}},
      {"sparse_4k_over_streams", {stream, stream, sparse_4k}},
      {"stream_4k_over_stream", {stream, stream_4k}},
      {"stream_over_sparse_4k", {sparse_4k, by_qemu}},
      {"sparse_1m_over_cowd", {cowd, sparse_1m}},
      {"raw", {{.kind = raw}}},
  };
}

std::vector<NamedLayout> layouts() {
  return {
      {"one_sector", "1s:A"},
      {"one_grain", "64k:r"},
      {"less_than_a_grain", "3s:A 1s:- 5s:B"},
      {"one_grain_and_a_sector", "64k:A 1s:B"},
      {"empty", "1m:-"},
      {"full", "512k:A 300k:r 3s:B"},
      {"zeros", "64k:A 64k:0 64k:z 192k:0 1s:B 127s:0 64k:C"},
      {"missing_tables", "64k:A 3m:- 128k:B 2m:0 64k:- 7s:D"},
      {"odd_pieces", "64k:A 64k:- 3s:B 125s:r 128k:z 192k:C 1m:- 64k:D 128k:- 512k:0 7s:F"},
  };
}

std::string repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::vector<NamedLayout> chain_layouts() {
  return {
      {"shows_through", "64k:A 64k:- 64k:B | 192k:^ | 192k:^"},
      {"hides_parent", "192k:A 7s:B | 64k:0 64k:^ 64k:C 7s:0"},
      {"hides_hidden", "256k:A | 64k:^ 128k:0 64k:B | 128k:^ 64k:C 64k:0"},
      {"copies_up", "128k:A 64k:- 64k:0 9s:B | 3s:C 253s:^ 5s:D 251s:^ 9s:^"},
      {"smaller_parent", "128k:A 3s:B | 192k:^ 64k:C 5s:^ | 512k:^"},
      {"larger_parent", "512k:A 64k:B | 64k:C 128k:^ | 1s:^ 129s:D"},
      // Where the visible parts of two parents lie side by side, at the same place of their files.
      {"side_by_side", "64k:A 64k:- | 64k:^ 64k:B | 1s:C 127s:^ 1s:D 127s:^"},
      {"alternates", "256k:r | " + repeat("4k:A 4k:^ ", 32)},
      {"alternates_thrice", "128k:r 64k:A | 64k:^ 64k:r 64k:^ | " + repeat("4k:^ 4k:A ", 24)},
      {"mixed",
       "64k:A 64k:- 64k:B 64k:r 1m:C 7s:D | 64k:^ 64k:E 64k:0 1s:F 127s:^ 1m:^ 7s:^"
       " | 3s:G 253s:^ 64k:0 1m:z 64k:^ 3s:H 4s:^"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Variant& variant : variants()) {
    for (const NamedLayout& layout : layouts()) cases.push_back({variant, layout});
    if (!variant.has_chains()) continue;
    for (const NamedLayout& layout : chain_layouts()) cases.push_back({variant, layout});
  }
  return cases;
}

class Conformance : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (is_raw()) disk_options_.format = "raw";
    ConvertOptions options = convert_options(disk_.path(), output_);
    options.disk = disk_options_;
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    EXPECT_EQ(report->disk_bytes, layout_.size_bytes());
  }

  static bool is_raw() { return GetParam().variant.links[0].kind == raw; }
  ReferenceDisk reference() const {
    return is_raw() ? ReferenceDisk::open_raw(disk_.path()) : ReferenceDisk::open(disk_.path());
  }

  Layout layout_ = parse_layout(GetParam().layout.text);
  TempDir dir_;
  fs::path output_ = dir_ / "out.img";
  fs::path manifest_ = dir_ / "out.img.manifest";
  DiskOptions disk_options_;
  BuiltDisk disk_ = build_disk(dir_.path(), "disk", layout_, GetParam().variant.links);
  std::vector<std::byte> want_ = expected_bytes(layout_, 0, layout_.size_bytes());
};

TEST_P(Conformance, ConvertsToTheSameBytes) {
  expect_same_bytes(file_bytes(output_), want_);
  expect_same_bytes(reference().read(0, want_.size()), want_);
}

TEST_P(Conformance, OutputAndImageAreWhatTheManifestSays) {
  const Verification output = verify_image(output_, manifest_);
  EXPECT_TRUE(output.same()) << output;
  EXPECT_EQ(output.report->format, "raw");
  const Verification image = verify_image(disk_.path(), manifest_, disk_options_);
  EXPECT_TRUE(image.same()) << image;
}

TEST_P(Conformance, OneBitIsFoundInItsRange) {
  const std::uint64_t place = mix(want_.size() + disk_.links.size()) % want_.size();
  flip_bits(output_, place);
  const Verification found = verify_image(output_, manifest_);
  ASSERT_TRUE(found.report) << found;
  ASSERT_EQ(found.differences.size(), 1U) << found;

  const std::uint64_t begin = place - place % kDigestGrain;
  const std::uint64_t length = std::min<std::uint64_t>(kDigestGrain, want_.size() - begin);
  EXPECT_EQ(found.differences[0].kind, Difference::Kind::differs);
  EXPECT_EQ(found.differences[0].guest_offset, begin);
  EXPECT_EQ(found.differences[0].length, length);
  EXPECT_EQ(found.report->differing_bytes, length);
  EXPECT_FALSE(found.report->same());
}

TEST_P(Conformance, ZerosTakeNoRoom) {
  constexpr std::size_t kBlock = 4096;
  std::uint64_t stored = 0;
  for (std::size_t at = 0; at < want_.size(); at += kBlock) {
    const auto block = std::span(want_).subspan(at, std::min(kBlock, want_.size() - at));
    if (std::ranges::any_of(block, [](std::byte byte) { return byte != std::byte{0}; }))
      stored += kBlock;
  }
  const auto info = (*posix_file_system().open_read(output_.string()))->info();
  ASSERT_TRUE(info) << info.error();
  EXPECT_EQ(info->size_bytes, want_.size());
  EXPECT_LE(info->allocated_bytes, stored + kBlock);  // a block for the file system's own needs
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, ::testing::ValuesIn(all_cases()), [](const auto& test) {
  return test.param.variant.name + "_" + test.param.layout.name;
});

}  // namespace
}  // namespace grainmill::testing
