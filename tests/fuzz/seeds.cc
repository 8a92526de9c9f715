// SPDX-License-Identifier: Apache-2.0
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "pipeline/manifest_writer.h"
#include "tests/fakes/memory_file.h"
#include "tests/fuzz/targets.h"
#include "tests/support/file_bytes.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <algorithm>

namespace grainmill::fuzz {
namespace {

using testing::Kind;
using testing::LinkOptions;

Bytes of_text(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Replaces every occurrence of a file name by the name that the target gives the file.
void rename(Bytes& bytes, const std::string& from, const std::string& to) {
  const Bytes old_name = of_text("\"" + from + "\"");
  const Bytes new_name = of_text("\"" + to + "\"");
  auto at = bytes.begin();
  while ((at = std::search(at, bytes.end(), old_name.begin(), old_name.end())) != bytes.end()) {
    // In place, so that sectors stay where they are: blanks after the closing quote mean nothing.
    at = std::copy(new_name.begin(), new_name.end(), at);
    const auto padding = static_cast<std::ptrdiff_t>(old_name.size() - new_name.size());
    std::fill_n(at, padding, std::byte{' '});
  }
}

// A disk as one input: the top link's file first, then all others, called "b", "c", ...
Bytes build(const std::string& layout, const std::vector<LinkOptions>& options) {
  const testing::TempDir dir;
  const auto disk = testing::build_disk(dir.path(), "dd", testing::parse_layout(layout), options);
  std::vector<std::filesystem::path> paths = disk.files();
  std::ranges::stable_partition(paths, [&](const auto& path) { return path == disk.path(); });
  Bytes all;
  for (const std::filesystem::path& path : paths) {
    Bytes bytes = testing::file_bytes(path);
    char name = 'a';
    for (const auto& other : paths) rename(bytes, other.filename().string(), {name++});
    if (!all.empty()) std::ranges::copy(of_text(kFileSeparator), std::back_inserter(all));
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

// Small grains and tables keep seeds small: every byte then means something.
LinkOptions small(Kind kind) {
  LinkOptions options;
  options.kind = kind;
  options.grain_sectors = 8;
  options.gtes_per_gt = 16;
  options.descriptor.embedded_sectors = 1;
  if (kind == Kind::vmfs_sparse) options.grain_sectors = 1;
  return options;
}

LinkOptions small_stream(testing::StreamForm form) {
  LinkOptions options = small(Kind::stream_optimized);
  options.stream.form = form;
  options.stream.align_overhead = false;
  options.stream.deflate_level = 9;
  return options;
}

Bytes write_manifest(CryptoAlgorithm crypto) {
  testing::MemoryFile file("m");
  ManifestHeader header{.disk_bytes = 100 * kMiB, .crypto = crypto, .sources = {}};
  header.sources = {{0, 0x1a2b3c4dU, 12345, 67890, "top.vmdk"}, {1, {}, 1, 2, "base.vmdk"}};
  ManifestWriter writer(&file, header);
  const std::vector<GrainRecord> records(3, {GrainRecord::Kind::data, {1, 2}});
  const Bytes leaves(3 * crypto_digest_bytes(crypto));
  (void)writer.add_zeros(7);
  (void)writer.add(records, leaves, {});
  (void)writer.add_zeros(1590);
  (void)writer.finish();
  return file.content().bytes();
}

testing::Qcow2Options small_qcow2(testing::Qcow2Codec codec, std::uint32_t version = 3) {
  return {.version = version,
          .cluster_bits = 9,
          .codec = codec,
          .extensions = {{0x6803f857, std::string("\0\0dirty", 7) + std::string(41, '\0')}}};
}

// A chain of one or two links; they are called "a" and "b".
Bytes build_qcow2(const std::string& text, const std::vector<testing::Qcow2Options>& options) {
  const testing::Layout layout = testing::parse_layout(text);
  testing::Qcow2Builder top =
      testing::build_qcow2_link(layout, layout.links.size() - 1, options.back());
  if (layout.links.size() == 1) return top.finish();
  top.set_backing("b", "qcow2");
  Bytes all = top.finish();
  std::ranges::copy(of_text(kFileSeparator), std::back_inserter(all));
  std::ranges::copy(testing::build_qcow2_link(layout, 0, options.front()).finish(),
                    std::back_inserter(all));
  return all;
}

}  // namespace

std::vector<Bytes> descriptor_seeds() {
  constexpr std::string_view kHead = "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n";
  const std::string head(kHead);
  return {
      of_text(head + "CID=1a2b3c4d\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n\n"
                     "# Extent description\nRW 20480 SPARSE \"d.vmdk\"\n\n#DDB\n"
                     "ddb.adapterType = \"ide\"\nddb.geometry.heads = \"16\"\n"),
      of_text(head + "CID=1\nparentCID=2\ncreateType=\"vmfsSparse\"\r\n"
                     "parentFileNameHint=\"C:\\vm\\base.vmdk\"\r\nRW 8 VMFSSPARSE \"d-delta\"\r\n"),
      of_text(head + "CID=0\nparentCID=ffffffff\ncreateType=\"2GbMaxExtentFlat\"\n"
                     "RW 4192256 FLAT \"d-f001.vmdk\" 0\nRDONLY 8 FLAT \"d-f002.vmdk\" 63\n"
                     "NOACCESS 8 ZERO\n"),
      of_text("\xef\xbb\xbf" + head + "createType=custom\nkeyID=x\nRW 1 VMFSRDM \"r\"\n"),
  };
}

std::vector<Bytes> header_seeds() {
  std::vector<Bytes> seeds;
  for (const Kind kind : {Kind::monolithic_sparse, Kind::stream_optimized, Kind::vmfs_sparse}) {
    const testing::TempDir dir;
    LinkOptions options;
    options.kind = kind;
    const auto disk = testing::build_disk(dir.path(), "d", testing::parse_layout("1m:A"), options);
    Bytes bytes = testing::file_bytes(disk.links[0].extents[0].path);
    bytes.resize(kind == Kind::vmfs_sparse ? 2048 : 512);
    seeds.push_back(std::move(bytes));
  }
  for (const std::uint32_t version : {2U, 3U}) {
    Bytes bytes = build_qcow2("16k:A", {small_qcow2(testing::Qcow2Codec::zlib, version)});
    bytes.resize(512);
    seeds.push_back(std::move(bytes));
  }
  return seeds;
}

std::vector<Bytes> image_seeds() {
  LinkOptions zeroed = small(Kind::monolithic_sparse);
  zeroed.header_version = 2;
  LinkOptions split = small(Kind::two_gb_sparse);
  split.split_size_bytes = 160 * kKiB;
  const std::string base = "8k:A 8k:- 4k:r 12k:0 512s:-";
  return {
      build(base, {small(Kind::monolithic_sparse)}),
      build(base, {zeroed}),
      build(base, {split}),
      build("8k:A 24k:-", {small(Kind::monolithic_flat)}),
      build(base, {small_stream(testing::StreamForm::footer)}),
      build(base, {small_stream(testing::StreamForm::gd_in_front)}),
      build(base, {small_stream(testing::StreamForm::qemu)}),
      build_qcow2(base, {small_qcow2(testing::Qcow2Codec::none)}),
      build_qcow2(base, {small_qcow2(testing::Qcow2Codec::none, 2)}),
      build_qcow2(base, {small_qcow2(testing::Qcow2Codec::zstd)}),
      build_qcow2("8k:A 24k:r | 2k:B 30k:^",
                  {small_qcow2(testing::Qcow2Codec::zlib), small_qcow2(testing::Qcow2Codec::none)}),
      build("8k:A 24k:- | 2k:B 30k:^", {small(Kind::vmfs), small(Kind::vmfs_sparse)}),
      build("8k:A 24k:r | 4k:B 28k:^ | 1k:^ 1k:C 30k:^",
            {small_stream(testing::StreamForm::footer), small_stream(testing::StreamForm::qemu),
             small(Kind::vmfs_sparse)}),
  };
}

std::vector<Bytes> manifest_seeds() {
  return {write_manifest(CryptoAlgorithm::none), write_manifest(CryptoAlgorithm::sha256),
          write_manifest(CryptoAlgorithm::blake2b512)};
}

}  // namespace grainmill::fuzz
