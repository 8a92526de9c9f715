// SPDX-License-Identifier: Apache-2.0
#include "tests/variants.h"

namespace grainmill::testing {
namespace {

using enum Kind;

std::string repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

}  // namespace

std::vector<Variant> variants() {
  const LinkOptions small{.gtes_per_gt = 4, .header_version = 2};
  const LinkOptions sparse_4k{.grain_sectors = 8, .header_version = 2};
  const LinkOptions sparse_1m{.grain_sectors = 2048, .header_version = 2};
  const LinkOptions cowd{.kind = vmfs_sparse};
  const LinkOptions stream{.kind = stream_optimized, .gtes_per_gt = 8};
  const LinkOptions stream_4k{.kind = stream_optimized, .grain_sectors = 8};
  const LinkOptions in_front{.kind = stream_optimized, .stream = {.form = StreamForm::gd_in_front}};
  const Qcow2Options qcow2_4k{.cluster_bits = 12};
  const Qcow2Options zlib{.codec = Qcow2Codec::zlib};
  const Qcow2Options zstd_512{.cluster_bits = 9, .codec = Qcow2Codec::zstd};
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
      {"qcow2", {}, {{}}},
      {"qcow2_version_2", {}, {{.version = 2}}},
      {"qcow2_512", {}, {{.cluster_bits = 9, .refcount_order = 0, .reversed = true}}},
      {"qcow2_2m", {}, {{.cluster_bits = 21, .backing_format = false}}},
      {"qcow2_zlib", {}, {zlib}},
      {"qcow2_zlib_1m", {}, {{.cluster_bits = 20, .codec = Qcow2Codec::zlib}}},
      {"qcow2_zstd_512", {}, {zstd_512}},
      {"qcow2_4k_over_zlib", {}, {zlib, qcow2_4k}},
      {"qcow2_zstd_512_over_zlibs", {}, {zlib, zlib, zstd_512}},
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

std::vector<NamedLayout> layouts_of(const Variant& variant) {
  std::vector<NamedLayout> result = layouts();
  if (!variant.has_chains()) return result;
  for (const NamedLayout& layout : chain_layouts()) result.push_back(layout);
  return result;
}

BuiltDisk build_variant(const std::filesystem::path& folder, const std::string& name,
                        const Layout& layout, const Variant& variant) {
  if (!variant.is_qcow2()) return build_disk(folder, name, layout, variant.links);
  BuiltDisk disk;
  for (const std::filesystem::path& path : build_qcow2(folder, name, layout, variant.qcow2))
    disk.links.push_back({.path = path});
  return disk;
}

DiskOptions disk_options(const Variant& variant) {
  DiskOptions options;
  if (variant.is_raw()) options.format = "raw";
  return options;
}

}  // namespace grainmill::testing
