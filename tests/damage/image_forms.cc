// SPDX-License-Identifier: Apache-2.0
#include "tests/damage/image_forms.h"

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kSmallGrain = 8;  // sectors; so that small disks have many grains
constexpr std::uint64_t kSplit = 768 << 10;
constexpr std::uint64_t kPart = 256 << 10;
constexpr const char* kDense = "40k:A 24k:r 32k:B 4k:z 36k:C 24k:r";
// With tables of 256 entries of 4 KiB: four tables, the third without a grain; an odd end.
constexpr const char* kSparse = "32k:A 200k:- 20k:r 840k:- 8k:B 2m:- 12k:C 20k:r 8k:- 4k:D 3s:E";
constexpr const char* kZeros = "24k:A 16k:0 12k:B 500k:- 8k:0 16k:r 8k:-";
constexpr const char* kSplitDisk = "32k:A 700k:- 60k:B 40k:r 600k:- 80k:C 30k:- 20k:D";
constexpr const char* kFlatDisk = "64k:A 32k:r 800k:- 96k:B 500k:- 33s:C";
constexpr const char* kChain = "64k:A 64k:B 128k:- 64k:r | 32k:C 64k:^ 32k:D 128k:^ 32k:r 32k:^";
constexpr const char* kDeepChain =
    "64k:A 64k:B 128k:- 64k:r | 32k:C 64k:^ 16k:0 16k:D 160k:^ 32k:E | 16k:^ 8k:F 296k:^";

LinkOptions sparse(GrainTables tables = GrainTables::automatic) {
  return {.grain_sectors = kSmallGrain, .gtes_per_gt = 256, .grain_tables = tables};
}

LinkOptions stream(StreamForm form) {
  return {.kind = Kind::stream_optimized,
          .grain_sectors = kSmallGrain,
          .gtes_per_gt = 256,
          .stream = {.form = form}};
}

LinkOptions with(LinkOptions options, const std::function<void(LinkOptions&)>& change) {
  change(options);
  return options;
}

void add_sparse_forms(std::vector<ImageForm>& forms) {
  forms.push_back({"sparse_dense", kDense, {sparse()}});
  forms.push_back({"sparse_wide", kSparse, {sparse()}});
  forms.push_back({"sparse_needed_tables", kSparse, {sparse(GrainTables::needed)}});
  forms.push_back({"sparse_64k", "64k:A 128k:- 128k:r 64k:- 192k:B 5s:C", {{}}});
  forms.push_back({"sparse_one_grain", "256k:- 64k:A 128k:-", {{}}});
  forms.push_back({"sparse_empty", "1m:-", {sparse()}});
  forms.push_back({"sparse_zero_grains", kZeros, {with(sparse(), [](LinkOptions& o) {
                     o.header_version = 2;
                   })}});
  forms.push_back({"sparse_single_copy", kSparse, {with(sparse(), [](LinkOptions& o) {
                     o.redundant_tables = false;
                   })}});
  forms.push_back({"sparse_shuffled", kSparse, {with(sparse(), [](LinkOptions& o) {
                     o.placement = Placement::shuffled;
                     o.last_grain = LastGrain::garbage;
                   })}});
  forms.push_back({"sparse_gaps", kDense, {with(sparse(), [](LinkOptions& o) {
                     o.grain_gap_sectors = kSmallGrain;
                   })}});
  forms.push_back({"split", kSplitDisk, {with(sparse(), [](LinkOptions& o) {
                     o.kind = Kind::two_gb_sparse;
                     o.split_size_bytes = kSplit;
                   })}});
}

void add_stream_forms(std::vector<ImageForm>& forms) {
  forms.push_back({"stream_footer_dense", kDense, {stream(StreamForm::footer)}});
  forms.push_back({"stream_footer_wide", kSparse, {stream(StreamForm::footer)}});
  forms.push_back({"stream_front_dense", kDense, {stream(StreamForm::gd_in_front)}});
  forms.push_back({"stream_front_wide", kSparse, {stream(StreamForm::gd_in_front)}});
  forms.push_back({"stream_qemu", kSparse, {stream(StreamForm::qemu)}});
  forms.push_back(
      {"stream_shuffled", kSparse, {with(stream(StreamForm::gd_in_front), [](LinkOptions& o) {
         o.placement = Placement::shuffled;
         o.stream.align_overhead = false;
       })}});
  forms.push_back(
      {"stream_progress", kSparse, {with(stream(StreamForm::footer), [](LinkOptions& o) {
         o.stream.progress_marker_every = 3;
         o.stream.header_has_real_gd = true;
       })}});
  forms.push_back(
      {"stream_64k", "64k:A 128k:- 64k:r 64k:- 64k:B 5s:C", {{.kind = Kind::stream_optimized}}});
}

void add_flat_forms(std::vector<ImageForm>& forms) {
  forms.push_back({"flat", kFlatDisk, {{.kind = Kind::monolithic_flat}}});
  forms.push_back(
      {"flat_split", kFlatDisk, {{.kind = Kind::two_gb_flat, .split_size_bytes = 512 << 10}}});
  forms.push_back({"vmfs", kFlatDisk, {{.kind = Kind::vmfs}}});
  forms.push_back(
      {"custom",
       "256k:- 64k:A 192k:- 96k:B 160k:- 64k:C 192k:-",
       {{.kind = Kind::custom,
         .grain_sectors = kSmallGrain,
         .extents = {{.size_bytes = kPart, .type = ExtentType::zero},
                     {.size_bytes = kPart, .file_name = "part-a.vmdk"},
                     {.size_bytes = kPart, .type = ExtentType::flat, .file_name = "part-b.vmdk"},
                     {.file_name = "part-c.vmdk"}}}}});
}

void add_chain_forms(std::vector<ImageForm>& forms) {
  const LinkOptions cowd{.kind = Kind::vmfs_sparse};
  forms.push_back({"chain_sparse", kDeepChain, {sparse()}});
  forms.push_back({"chain_stream_base", kChain, {stream(StreamForm::gd_in_front), sparse()}});
  forms.push_back({"chain_cowd_on_flat", kChain, {{.kind = Kind::vmfs}, cowd}});
  forms.push_back({"cowd_wide", "8k:A 2m:- 4k:B 600k:- 2k:r 3m:- 1s:C", {cowd}});
  forms.push_back({"chain_cowd_4k", kChain, {{.kind = Kind::vmfs}, with(cowd, [](LinkOptions& o) {
                                               o.grain_sectors = 8;
                                             })}});
}

}  // namespace

std::span<const ImageForm> image_forms() {
  static const std::vector<ImageForm> kForms = [] {
    std::vector<ImageForm> forms;
    add_sparse_forms(forms);
    add_stream_forms(forms);
    add_flat_forms(forms);
    add_chain_forms(forms);
    return forms;
  }();
  return kForms;
}

}  // namespace grainmill::testing
