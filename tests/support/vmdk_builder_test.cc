// SPDX-License-Identifier: Apache-2.0
//
// Do builder, reference reader and qemu-img agree about what a disk holds? The builder knows from
// the layout, the other two read its files, and none shares code with another.
#include "tests/support/vmdk_builder.h"

#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace grainmill::testing {
namespace {

using enum Kind;

enum class Qemu {
  agrees,          // converts to the right bytes; `check` finds nothing
  has_no_check,    // the same, but for kinds without grain tables
  does_not_agree,  // refuses, or is known to read it otherwise
};

struct Case {
  std::string name;
  std::string layout;
  std::vector<LinkOptions> links;
  Qemu qemu = Qemu::agrees;
};

std::ostream& operator<<(std::ostream& out, const Case& test) { return out << test.name; }

// All kinds of segments, sizes that are no multiples of a grain, an odd tail. Twelve tables of
// four.
const std::string kSmall =
    "64k:A 64k:- 64k:0 3s:B 125s:r 128k:z 192k:C 1m:- 64k:r 64k:D 128k:- 512k:0 192k:E 7s:F";
// More than a table of 512 entries.
const std::string kWide = "64k:A 32m:- 128k:B 2m:0 1m:C 7s:D";
// Data in the middle of a grain above data, zeros and holes of a parent, which are copied up.
const std::string kChain =
    "64k:A 64k:- 64k:B 64k:r 1m:C 7s:D"
    " | 64k:^ 64k:E 64k:0 1s:F 127s:^ 1m:^ 7s:^"
    " | 3s:G 253s:^ 64k:0 1m:z 64k:^ 3s:H 4s:^";
const std::string kGrows = "128k:A 3s:B | 192k:^ 64k:C | 512k:^";
const std::string kShrinks = "512k:A 64k:B | 64k:C 128k:^ | 1s:^ 129s:D";

LinkOptions small_tables(LinkOptions options) {
  options.gtes_per_gt = 4;
  return options;
}

std::vector<Case> sparse_cases() {
  return {
      {"monolithic_sparse", kWide, {{}}},
      {"one_grain", "64k:A", {{}}},
      {"one_sector", "1s:A", {{}}},
      {"empty", "1m:-", {{}}},
      {"small_tables", kSmall, {small_tables({})}},
      {"version_2", kSmall, {small_tables({.header_version = 2})}},
      {"version_3", kSmall, {{.header_version = 3}}},
      {"one_copy_of_tables", kSmall, {small_tables({.redundant_tables = false})}},
      {"missing_tables", kWide, {{.grain_tables = GrainTables::needed}}},
      {"shuffled", kSmall, {small_tables({.placement = Placement::shuffled})}},
      {"reversed", kSmall, {small_tables({.placement = Placement::reversed})}},
      {"gaps", kSmall, {{.grain_gap_sectors = 3}}},
      {"garbage_tail", kSmall, {{.last_grain = LastGrain::garbage}}},
      {"short_tail", kSmall, {{.last_grain = LastGrain::shortened}}},
      {"short_tail_in_the_middle",
       kSmall,
       {{.placement = Placement::reversed, .last_grain = LastGrain::shortened}}},
      {"grain_4k", kSmall, {{.grain_sectors = 8, .gtes_per_gt = 16}}},
      {"grain_1m", kSmall, {{.grain_sectors = 2048}}},
      {"grain_of_3_sectors", kSmall, {{.grain_sectors = 3, .gtes_per_gt = 100}}},
      {"zeros_stored", kSmall, {{.zero_grains = ZeroGrains::stored}}},
      {"zeros_not_stored", kSmall, {{.zero_grains = ZeroGrains::not_stored}}},
      {"zeros_by_entry_in_version_1", kSmall, {{.zero_grains = ZeroGrains::gte_one}}},
      {"unclean", kSmall, {{.unclean_shutdown = true}}},
      // Without flag bit 2 qemu takes the entry 1 for sector 1, the descriptor.
      {"zeros_by_entry_unannounced",
       kSmall,
       {{.zero_grains = ZeroGrains::gte_one, .header_flags = 3}},
       Qemu::does_not_agree},
      {"split", kWide, {{.kind = two_gb_sparse, .split_size_bytes = 5 << 20}}},
      {"split_within_grains",
       kSmall,
       {{.kind = two_gb_sparse, .split_size_bytes = 300 * 1024 + 512 * 3}},
       // qemu 7.2 looks for the rest of an extent's last grain in that extent, not in the next.
       Qemu::does_not_agree},
      {"split_default", kSmall, {{.kind = two_gb_sparse}}},
      {"split_version_2",
       kSmall,
       {small_tables({.kind = two_gb_sparse,
                      .header_version = 2,
                      .placement = Placement::shuffled,
                      .split_size_bytes = 448 << 10})}},
      {"cowd", kSmall, {{.kind = vmfs_sparse}}},
      {"cowd_wide", kWide, {{.kind = vmfs_sparse, .placement = Placement::shuffled}}},
      {"cowd_all_tables", kWide, {{.kind = vmfs_sparse, .grain_tables = GrainTables::all}}},
      {"cowd_grain_4k", kSmall, {{.kind = vmfs_sparse, .grain_sectors = 8}}},
  };
}

std::vector<Case> flat_cases() {
  const LinkOptions flat{.kind = monolithic_flat};
  std::vector<Case> cases = {
      {"flat", kSmall, {flat}},
      {"flat_empty", "1m:-", {flat}},
      {"flat_at_offset", kSmall, {{.kind = monolithic_flat, .flat_offset_sectors = 5}}},
      {"flat_split", kSmall, {{.kind = two_gb_flat, .split_size_bytes = 300 * 1024 + 512 * 3}}},
      {"flat_split_at_offset",
       kSmall,
       {{.kind = two_gb_flat, .split_size_bytes = 1 << 20, .flat_offset_sectors = 9}}},
      {"vmfs", kSmall, {{.kind = vmfs}}},
      {"raw", kSmall, {{.kind = raw}}},
  };
  for (Case& test : cases) test.qemu = Qemu::has_no_check;
  return cases;
}

std::vector<Case> stream_cases() {
  std::vector<Case> cases;
  const auto add = [&cases](const std::string& name, LinkOptions options,
                            Qemu qemu = Qemu::agrees) {
    options.kind = stream_optimized;
    cases.push_back({"stream_" + name, kSmall, {small_tables(options)}, qemu});
  };
  for (const StreamForm form : {StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu}) {
    const std::string name(form == StreamForm::footer        ? "footer"
                           : form == StreamForm::gd_in_front ? "in_front"
                                                             : "qemu");
    const StreamOptions stream{.form = form};
    add(name, {.stream = stream});
    add(name + "_shuffled", {.placement = Placement::shuffled, .stream = stream});
    add(name + "_all_tables", {.grain_tables = GrainTables::all, .stream = stream});
    add(name + "_needed_tables", {.grain_tables = GrainTables::needed, .stream = stream});
    add(name + "_short_tail", {.last_grain = LastGrain::shortened, .stream = stream});
    add(name + "_garbage_tail", {.last_grain = LastGrain::garbage, .stream = stream});
    add(name + "_level_0", {.stream = {.form = form, .deflate_level = 0}});
    add(name + "_level_12", {.stream = {.form = form, .deflate_level = 12}});
    add(name + "_progress", {.stream = {.form = form, .progress_marker_every = 2}});
    add(name + "_unaligned", {.stream = {.form = form, .align_overhead = false}});
    add(name + "_grain_4k", {.grain_sectors = 8, .stream = stream});
    add(name + "_zero_entries", {.zero_grains = ZeroGrains::gte_one, .stream = stream});
    add(name + "_short_descriptor", {.stream = stream, .descriptor = {.embedded_sectors = 1}});
  }
  const auto padded = [](StreamForm form) {
    return StreamOptions{.form = form, .trailing_padding_bytes = 8192};
  };
  add("in_front_padded", {.stream = padded(StreamForm::gd_in_front)});
  add("qemu_padded", {.stream = padded(StreamForm::qemu)});
  // qemu wants the footer at the very end.
  add("footer_padded", {.stream = padded(StreamForm::footer)}, Qemu::does_not_agree);
  add("footer_without_end", {.stream = {.omit_end_of_stream = true}}, Qemu::does_not_agree);
  add("in_front_without_end",
      {.stream = {.form = StreamForm::gd_in_front, .omit_end_of_stream = true}});
  add("footer_and_gd_in_header", {.stream = {.header_has_real_gd = true}});
  cases.push_back({"stream_wide", kWide, {{.kind = stream_optimized}}});
  cases.push_back({"stream_empty", "33m:-", {{.kind = stream_optimized}}});
  return cases;
}

std::vector<Case> chain_cases() {
  const LinkOptions sparse{};
  const LinkOptions version_2{.header_version = 2};
  const LinkOptions split{
      .kind = two_gb_sparse, .header_version = 2, .split_size_bytes = 320 << 10};
  const LinkOptions cowd{.kind = vmfs_sparse};
  const LinkOptions stream{.kind = stream_optimized};
  const LinkOptions fine{.grain_sectors = 8, .header_version = 2};
  return {
      {"chain_sparse", kChain, {sparse}},
      {"chain_version_2", kChain, {version_2}},
      {"chain_esxi", kChain, {{.kind = vmfs}, cowd}},
      {"chain_hosted_flat", kChain, {{.kind = monolithic_flat}, version_2}},
      {"chain_split", kChain, {split}},
      {"chain_cowd", kChain, {cowd}},
      {"chain_mixed", kChain, {stream, split, fine}},
      {"chain_stream", kChain, {stream}},
      {"chain_grows", kGrows, {version_2}},
      {"chain_grows_mixed", kGrows, {{.kind = monolithic_flat}, cowd, split}},
      {"chain_shrinks", kShrinks, {version_2}},
      {"chain_shrinks_mixed", kShrinks, {stream, split, cowd}},
      {"chain_hides_nothing", "64k:A | 64k:^ | 64k:^", {version_2}},
  };
}

std::vector<Case> custom_cases() {
  const std::string layout = "64k:A 64k:- 64k:0 128k:B 64k:0 128k:C";
  const LinkOptions mixed{
      .kind = custom,
      .extents = {{.size_bytes = 64 << 10, .access = "RDONLY"},
                  {.size_bytes = 64 << 10, .type = ExtentType::zero},
                  {.size_bytes = 64 << 10, .type = ExtentType::flat, .access = "NOACCESS"},
                  {.size_bytes = 128 << 10, .type = ExtentType::vmfs_sparse},
                  {.size_bytes = 64 << 10, .type = ExtentType::zero},
                  {.type = ExtentType::flat, .flat_offset_sectors = 3}}};
  LinkOptions shared{.kind = custom};
  shared.extents = {{.size_bytes = 192 << 10,
                     .type = ExtentType::flat,
                     .file_name = "both.vmdk",
                     .flat_offset_sectors = 1000},
                    {.type = ExtentType::flat, .file_name = "both.vmdk"}};
  shared.descriptor.create_type = "twoGbMaxExtentFlat";
  return {
      {"custom_mixed", layout, {mixed}, Qemu::does_not_agree},
      {"custom_shared_file", layout, {shared}, Qemu::has_no_check},
      {"custom_zero_in_delta",
       "128k:A | 64k:B 64k:0",
       {LinkOptions{},
        LinkOptions{.kind = custom,
                    .extents = {{.size_bytes = 64 << 10}, {.type = ExtentType::zero}}}},
       Qemu::does_not_agree},
  };
}

// Any layout in any form, told by a number.
Case random_case(std::uint64_t seed) {
  constexpr std::array kKinds{monolithic_sparse, two_gb_sparse, vmfs_sparse, stream_optimized};
  constexpr std::array kForms{StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu};
  constexpr std::array kGrains{128, 8, 16, 1};
  const auto choose = [seed](std::uint64_t salt, std::uint64_t bound) {
    return mix(mix(seed) + salt) % bound;
  };
  const std::uint64_t links = 1 + choose(0, 3);
  std::vector<LinkOptions> options;
  Qemu qemu = Qemu::agrees;
  for (std::uint64_t i = 0; i < links; ++i) {
    LinkOptions link{.kind = kKinds[choose(10 * i + 1, kKinds.size())]};
    link.grain_sectors = static_cast<std::uint64_t>(kGrains[choose(10 * i + 2, kGrains.size())]);
    link.gtes_per_gt = 1U << choose(10 * i + 3, 10);
    link.header_version = 1 + static_cast<std::uint32_t>(choose(10 * i + 4, 3));
    link.placement = static_cast<Placement>(choose(10 * i + 5, 3));
    link.last_grain = static_cast<LastGrain>(choose(10 * i + 6, 3));
    link.grain_tables = static_cast<GrainTables>(choose(10 * i + 7, 3));
    link.stream.form = kForms[choose(10 * i + 8, kForms.size())];
    if (link.kind == two_gb_sparse) {
      link.split_size_bytes = (1 + choose(10 * i + 9, 16)) * (64ULL << 10);
      if (choose(10 * i + 10, 2) == 0) link.split_size_bytes += 1536;
      if (link.split_size_bytes % (link.grain_sectors * 512) != 0) qemu = Qemu::does_not_agree;
    }
    options.push_back(link);
  }
  const std::uint64_t size = (1 + choose(100, 2000)) * 512;
  return {"random_" + std::to_string(seed), to_string(random_layout(seed, size, 8192, links)),
          options, qemu};
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const std::vector<Case>& cases :
       {sparse_cases(), flat_cases(), stream_cases(), chain_cases(), custom_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  for (std::uint64_t seed = 0; seed < 40; ++seed) all.push_back(random_case(seed));
  return all;
}

ReferenceDisk open_disk(const Case& test, const BuiltDisk& disk) {
  const bool is_raw = test.links[0].kind == raw;
  return is_raw ? ReferenceDisk::open_raw(disk.path()) : ReferenceDisk::open(disk.path());
}

// Not EXPECT_EQ: nobody wants to see megabytes.
void expect_same(const std::vector<std::byte>& got, const std::vector<std::byte>& want) {
  ASSERT_EQ(got.size(), want.size());
  const auto difference = std::ranges::mismatch(got, want).in1;
  EXPECT_EQ(difference - got.begin(), std::ssize(got)) << "they differ at this offset";
}

class EveryKind : public ::testing::TestWithParam<Case> {
 protected:
  Layout layout_ = parse_layout(GetParam().layout);
  TempDir dir_;
  BuiltDisk disk_ = build_disk(dir_.path(), "disk", layout_, GetParam().links);
  std::vector<std::byte> want_ = expected_bytes(layout_, 0, layout_.size_bytes());
};

TEST_P(EveryKind, ReadsBack) {
  const ReferenceDisk disk = open_disk(GetParam(), disk_);
  ASSERT_EQ(disk.size_bytes(), layout_.size_bytes());
  expect_same(disk.read(0, disk.size_bytes()), want_);

  disk.write_raw(dir_ / "copy.raw");
  const ReferenceDisk copy = ReferenceDisk::open_raw(dir_ / "copy.raw");
  expect_same(copy.read(0, copy.size_bytes()), want_);
}

TEST_P(EveryKind, IsWhatQemuReads) {
  if (GetParam().qemu == Qemu::does_not_agree) return;
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  const std::string format = GetParam().links[0].kind == raw ? "raw" : "vmdk";
  const CommandResult convert = qemu_convert_to_raw(disk_.path(), dir_ / "qemu.raw", format);
  ASSERT_TRUE(convert.ok()) << convert.err;
  const ReferenceDisk disk = ReferenceDisk::open_raw(dir_ / "qemu.raw");
  expect_same(disk.read(0, disk.size_bytes()), want_);

  if (GetParam().qemu == Qemu::has_no_check) return;
  const CommandResult check = qemu_check(disk_.path());
  EXPECT_TRUE(check.ok()) << check.out << check.err;
}

INSTANTIATE_TEST_SUITE_P(All, EveryKind, ::testing::ValuesIn(all_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
