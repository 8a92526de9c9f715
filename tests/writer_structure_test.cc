// SPDX-License-Identifier: Apache-2.0
//
// What lies in the files that are written, field by field: descriptors, sparse extents, streams,
// qcow2 headers. Readers shrug at much of it; VMware's products do not.
#include "engine/base/byte_order.h"
#include "tests/outputs.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/little_endian.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class Structure : public ::testing::Test {
 protected:
  // Converts a raw disk of this layout; the file to open.
  fs::path make(const Output& output, const std::string& layout) {
    layout_ = parse_layout(layout);
    const BuiltDisk source = build_disk(dir_.path(), "disk", layout_, {.kind = Kind::raw});
    ConvertOptions options = convert_options(source.path(), output, dir_.path());
    options.disk.format = "raw";
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    EXPECT_TRUE(report) << report.error();
    return output_path(output, dir_.path());
  }
  std::uint64_t sectors() const { return layout_.size_bytes() / 512; }

  TempDir dir_;
  Layout layout_;
};

// --- Descriptors ---

class Descriptors : public Structure, public ::testing::WithParamInterface<Output> {
 protected:
  std::string text_of(const fs::path& path) {
    const bool embedded = GetParam().mark.empty();
    const std::vector<std::byte> bytes =
        embedded ? file_bytes(path, 512, std::size_t{20} * 512) : file_bytes(path);
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return text.substr(0, text.find('\0'));
  }
  std::vector<std::string> lines_of(const fs::path& path) {
    std::vector<std::string> lines;
    std::istringstream text(text_of(path));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  // Keys and values, without blanks and quotes.
  std::map<std::string, std::string> fields_of(const fs::path& path) {
    std::map<std::string, std::string> fields;
    for (std::string line : lines_of(path)) {
      const std::size_t equals = line.find('=');
      if (line.starts_with('#') || equals == std::string::npos) continue;
      std::erase_if(line, [](char c) { return c == '"' || c == ' '; });
      const std::size_t at = line.find('=');
      EXPECT_TRUE(fields.emplace(line.substr(0, at), line.substr(at + 1)).second) << line;
    }
    return fields;
  }
  std::string create_type() const {
    if (GetParam().is_stream()) return "streamOptimized";
    return GetParam().name.starts_with("sparse_") ? "monolithicSparse" : GetParam().name;
  }
  std::string extent_line() const {
    const std::string begin = "RW " + std::to_string(sectors()) + " ";
    const std::string file = "\"out" + GetParam().mark + ".vmdk\"";
    if (GetParam().name == "vmfs") return begin + "VMFS " + file;
    return begin + (GetParam().sparse ? "SPARSE " + file : "FLAT " + file + " 0");
  }
};

TEST_P(Descriptors, NameTheirExtentsRightBelowTheHeading) {
  const std::vector<std::string> lines = lines_of(make(GetParam(), "5m:A 3s:B"));
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.front(), "# Disk DescriptorFile");
  const auto extent = std::ranges::find(lines, extent_line());
  ASSERT_NE(extent, lines.end()) << extent_line() << " is not in\n" << text_of(dir_ / "out.vmdk");
  EXPECT_EQ(*std::prev(extent), "# Extent description");
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& l) { return l.starts_with("RW"); }), 1);
}

TEST_P(Descriptors, SayWhatTheDiskIs) {
  const std::map<std::string, std::string> fields = fields_of(make(GetParam(), "5m:A 3s:B"));
  EXPECT_EQ(fields.at("version"), "1");
  EXPECT_EQ(fields.at("createType"), create_type());
  EXPECT_EQ(fields.at("parentCID"), "ffffffff");
  EXPECT_FALSE(fields.contains("parentFileNameHint"));
  const bool scsi = GetParam().settings.contains("lsilogic");
  EXPECT_EQ(fields.at("ddb.adapterType"), scsi ? "lsilogic" : "ide");
  EXPECT_EQ(fields.at("ddb.geometry.heads"), scsi ? "64" : "16");
  EXPECT_EQ(fields.at("ddb.geometry.sectors"), scsi ? "32" : "63");
  EXPECT_EQ(fields.at("ddb.geometry.cylinders"), std::to_string(sectors() / (scsi ? 2048 : 1008)));
  EXPECT_EQ(fields.at("ddb.virtualHWVersion"), "4");
  EXPECT_EQ(fields.contains("ddb.thinProvisioned"), GetParam().name == "vmfs");
}

TEST_P(Descriptors, HaveContentIdsOfTheirOwn) {
  std::map<std::string, std::string> before;
  for (int run = 0; run < 2; ++run) {
    const std::map<std::string, std::string> fields = fields_of(make(GetParam(), "64k:A"));
    const std::string& cid = fields.at("CID");
    EXPECT_THAT(cid, ::testing::MatchesRegex("[0-9a-f]{8}"));
    EXPECT_FALSE(cid == "ffffffff" || cid == "fffffffe") << cid;
    const std::string& long_id = fields.at("ddb.longContentID");
    EXPECT_THAT(long_id, ::testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_TRUE(long_id.ends_with(cid)) << long_id << ", CID " << cid;
    EXPECT_THAT(fields.at("ddb.uuid"), ::testing::MatchesRegex("6000c29[0-9a-f]{9}-[0-9a-f]{16}"));
    for (const std::string key : {"CID", "ddb.longContentID", "ddb.uuid"})
      EXPECT_NE(fields.at(key), before[key]);
    before = fields;
  }
}

TEST_P(Descriptors, TakeTheOptionsOfQemu) {
  Output output = GetParam();
  output.settings += (output.settings.empty() ? "" : ",") +
                     std::string("adapter_type=buslogic,hwversion=11,toolsversion=10341");
  const std::map<std::string, std::string> fields = fields_of(make(output, "2m:-"));
  EXPECT_EQ(fields.at("ddb.adapterType"), "buslogic");
  EXPECT_EQ(fields.at("ddb.virtualHWVersion"), "11");
  EXPECT_EQ(fields.at("ddb.toolsVersion"), "10341");
  EXPECT_EQ(fields.at("ddb.geometry.heads"), "64");
}

std::vector<Output> vmdk_outputs() {
  std::vector<Output> result = outputs();
  std::erase_if(result, [](const Output& output) { return !output.is_vmdk(); });
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, Descriptors, ::testing::ValuesIn(vmdk_outputs()),
                         [](const auto& test) { return test.param.name; });

// --- Sparse extents ---

class SparseExtent : public Structure, public ::testing::WithParamInterface<Output> {};

// 40 MiB: two tables for grains of 64 KiB, of which the first grain and the last two are stored.
TEST_P(SparseExtent, HoldsTheGrainsThatAreNotZeroBehindTwoEqualCopiesOfTheTables) {
  const fs::path descriptor = make(GetParam(), "64k:A 1m:z 38m:- 832k:0 64k:B 3s:C");
  const fs::path extent =
      GetParam().mark.empty() ? descriptor : dir_ / ("out" + GetParam().mark + ".vmdk");
  const std::uint64_t grain = file_dword(extent, 20);
  const std::uint64_t overhead = file_dword(extent, 64);
  EXPECT_EQ(file_word(extent, 4), GetParam().name == "sparse_zeroed_grain" ? 2U : 1U);
  EXPECT_EQ(file_dword(extent, 12), sectors());
  EXPECT_EQ(file_bytes(extent, 72, 1), (std::vector<std::byte>{{}})) << "uncleanShutdown";
  EXPECT_EQ(overhead % grain, 0U);
  const std::uint64_t small = std::uint64_t{2} * (64 << 10) / (grain * 512) + 1;
  const std::uint64_t stored = grain == 2048 ? 2 : small;
  EXPECT_EQ(fs::file_size(extent), (overhead + stored * grain) * 512);

  const std::uint64_t tables = (sectors() + grain * 512 - 1) / (grain * 512);
  const std::uint64_t bytes = tables * 2048;
  std::array<std::vector<std::byte>, 2> copies;
  for (std::size_t copy = 0; copy < copies.size(); ++copy) {
    const std::uint64_t directory = file_dword(extent, copy == 0 ? 48 : 56) * 512;
    const std::uint64_t first = directory + (tables * 4 + 511) / 512 * 512;
    for (std::uint64_t i = 0; i < tables; ++i)
      EXPECT_EQ(file_word(extent, directory + i * 4) * 512ULL, first + i * 2048);
    copies.at(copy) = file_bytes(extent, first, bytes);
  }
  EXPECT_EQ(copies[0] == copies[1], true);
  // Grains are entered in the order in which they lie.
  std::uint64_t next = overhead;
  for (std::size_t at = 0; at < bytes; at += 4) {
    const std::uint32_t entry = get_le32(copies[0], at);
    if (entry == 0) continue;
    EXPECT_EQ(entry, next);
    next += grain;
  }
  EXPECT_EQ(next, overhead + stored * grain);
}

TEST_P(SparseExtent, ReadsTheSameByTheRedundantTables) {
  const fs::path path = make(GetParam(), "64k:A 38m:- 64k:B 3s:C");
  DiskOptions options;
  options.open.tables = TableChoice::redundant;
  const Result<Disk> disk = Disk::open(posix_file_system(), path.string(), options);
  ASSERT_TRUE(disk) << disk.error();
  std::vector<std::byte> got(disk->size_bytes());
  ASSERT_TRUE(disk->read_at(0, got));
  expect_same_bytes(got, expected_bytes(layout_, 0, layout_.size_bytes()));
}

std::vector<Output> sparse_outputs() {
  std::vector<Output> result = outputs();
  std::erase_if(result, [](const Output& output) { return !output.is_hosted_sparse(); });
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, SparseExtent, ::testing::ValuesIn(sparse_outputs()),
                         [](const auto& test) { return test.param.name; });

// --- streamOptimized ---

// One block of a stream: a grain or a marker, with what comes behind a marker.
struct Block {
  std::uint64_t sector = 0;
  std::uint64_t address = 0;  // grain: guest sector; marker: sectors of payload
  std::uint32_t stored = 0;   // 0: a marker
  std::uint32_t type = 0;
  std::vector<std::byte> bytes{};  // payload of a marker; stream of a grain, with its padding
};

class Stream : public Structure, public ::testing::WithParamInterface<Output> {
 protected:
  static std::vector<Block> blocks_of(const fs::path& path) {
    const std::vector<std::byte> file = file_bytes(path);
    EXPECT_EQ(file.size() % 512, 0U);
    std::vector<Block> blocks;
    for (std::uint64_t at = get_le64(file, 64) * 512; at < file.size();) {
      Block block{
          .sector = at / 512, .address = get_le64(file, at), .stored = get_le32(file, at + 8)};
      if (block.stored == 0) block.type = get_le32(file, at + 12);
      const std::uint64_t begin = at + (block.stored == 0 ? 512 : 12);
      const std::uint64_t end = block.stored == 0 ? begin + block.address * 512
                                                  : (begin + block.stored + 511) / 512 * 512;
      if (end > file.size()) throw std::runtime_error("a block reaches past the end");
      block.bytes.assign(file.begin() + static_cast<std::ptrdiff_t>(begin),
                         file.begin() + static_cast<std::ptrdiff_t>(end));
      at = end;
      blocks.push_back(std::move(block));
    }
    return blocks;
  }

  // A grain is a zlib stream, and zeros up to the next sector.
  static void expect_grain(const Block& block) {
    EXPECT_LE(12 + block.stored, 129U * 512) << "open-vmdk takes no more";
    const auto cmf = std::to_integer<unsigned>(block.bytes[0]);
    const auto flg = std::to_integer<unsigned>(block.bytes[1]);
    EXPECT_EQ(cmf & 0xf, 8U);
    EXPECT_EQ((cmf * 256 + flg) % 31, 0U);
    EXPECT_TRUE(std::all_of(block.bytes.begin() + block.stored, block.bytes.end(),
                            [](std::byte b) { return b == std::byte{0}; }));
  }
};

const std::string kStreamLayout = "64k:A 64k:- 128k:r 63m:0 64k:z 64k:B 30m:- 5s:C";

TEST_P(Stream, HeaderIsWhatEsxiTakes) {
  const fs::path path = make(GetParam(), kStreamLayout);
  EXPECT_EQ(file_word(path, 0), 0x564d444bU);
  EXPECT_EQ(file_word(path, 4), 3U) << "version";
  EXPECT_EQ(file_word(path, 8), 0x30001U) << "flags";
  EXPECT_EQ(file_dword(path, 12), sectors());
  EXPECT_EQ(file_dword(path, 20), 128U) << "grain";
  EXPECT_EQ(file_dword(path, 28), 1U) << "descriptor";
  EXPECT_EQ(file_dword(path, 36), 20U) << "its size";
  EXPECT_EQ(file_word(path, 44), 512U) << "entries of a table";
  EXPECT_EQ(file_dword(path, 48), 0U) << "redundant directory";
  EXPECT_EQ(file_dword(path, 56), ~0ULL) << "directory: see the footer";
  EXPECT_EQ(file_dword(path, 64), 128U) << "overhead";
  EXPECT_EQ(file_dword(path, 72), 0x0000'010a'0d20'0a00ULL) << "clean, newlines, deflate";
}

// The grains in guest order, each table behind the last of its grains; directory, footer, end.
TEST_P(Stream, BlocksComeInTheirOrder) {
  const fs::path path = make(GetParam(), kStreamLayout);
  const std::vector<Block> blocks = blocks_of(path);
  std::vector<std::uint32_t> table(512);
  std::vector<std::uint64_t> tables(3);  // 93 MiB
  std::vector<std::uint64_t> grains;
  std::size_t at = 0;
  for (std::uint64_t number = 0; at < blocks.size() && blocks[at].type < 2; ++at) {
    const Block& block = blocks[at];
    if (block.stored != 0) {
      expect_grain(block);
      grains.push_back(block.address);
      number = block.address / 128 / 512;
      table[block.address / 128 % 512] = static_cast<std::uint32_t>(block.sector);
      continue;
    }
    ASSERT_EQ(block.type, 1U);
    ASSERT_EQ(block.address, 4U);
    for (std::size_t i = 0; i < 512; ++i) EXPECT_EQ(get_le32(block.bytes, i * 4), table[i]) << i;
    tables[number] = block.sector + 1;
    std::ranges::fill(table, 0U);
  }
  EXPECT_EQ(grains, (std::vector<std::uint64_t>{0, 256, 384, 129'664, 191'232}));

  ASSERT_EQ(blocks.size(), at + 3);
  EXPECT_EQ(blocks[at].type, 2U) << "directory";
  ASSERT_EQ(blocks[at].bytes.size(), 512U);
  for (std::size_t i = 0; i < tables.size(); ++i)
    EXPECT_EQ(get_le32(blocks[at].bytes, i * 4), tables[i]) << i;
  EXPECT_EQ(blocks[at + 1].type, 3U);
  std::vector<std::byte> footer = blocks[at + 1].bytes;
  ASSERT_EQ(footer.size(), 512U);
  EXPECT_EQ(get_le64(footer, 56), blocks[at].sector + 1);
  put_le64(footer, 56, ~0ULL);
  EXPECT_EQ(footer == file_bytes(path, 0, 512), true) << "the footer, but for the directory";
  const Block& end = blocks[at + 2];
  EXPECT_EQ(end.type + end.address + end.stored, 0U) << "end of stream";
  EXPECT_EQ(fs::file_size(path), (end.sector + 1) * 512);
}

// No tables at all, but a directory of them.
TEST_P(Stream, OfAnEmptyDiskIsFrameAlone) {
  const std::vector<Block> blocks = blocks_of(make(GetParam(), "100m:-"));
  ASSERT_EQ(blocks.size(), 3U);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(blocks[i].type, 2 + i);
  EXPECT_TRUE(std::ranges::all_of(blocks[0].bytes, [](std::byte b) { return b == std::byte{0}; }));
}

std::vector<Output> stream_outputs() {
  std::vector<Output> result = outputs();
  std::erase_if(result, [](const Output& output) { return !output.is_stream(); });
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, Stream, ::testing::ValuesIn(stream_outputs()),
                         [](const auto& test) { return test.param.name; });

// --- qcow2 ---

class Qcow2Output : public Structure, public ::testing::WithParamInterface<Output> {
 protected:
  std::uint64_t cluster_bytes() const {
    const std::string& settings = GetParam().settings;
    if (settings.contains("cluster_size=512")) return 512;
    if (settings.contains("cluster_size=4k")) return 4096;
    return settings.contains("cluster_size=2M") ? 2 << 20 : 64 << 10;
  }
  bool is_zstd() const { return GetParam().settings.contains("zstd"); }
};

TEST_P(Qcow2Output, HeaderIsWhatWasAskedFor) {
  const std::vector<std::byte> header = file_bytes(make(GetParam(), "1m:A 1m:- 3s:B"), 0, 512);
  const auto u32 = [&](std::size_t at) { return load_be<std::uint32_t>(header.data() + at); };
  const auto u64 = [&](std::size_t at) { return load_be<std::uint64_t>(header.data() + at); };
  EXPECT_EQ(u32(0), 0x514649fbU);
  EXPECT_EQ(u32(4), 3U) << "version";
  EXPECT_EQ(u64(8), 0U) << "backing file";
  EXPECT_EQ(1ULL << u32(20), cluster_bytes());
  EXPECT_EQ(u64(24), layout_.size_bytes());
  EXPECT_EQ(u32(32), 0U) << "encryption";
  EXPECT_EQ(u32(60), 0U) << "snapshots";
  EXPECT_EQ(u64(72), is_zstd() ? 8U : 0U) << "incompatible features";
  EXPECT_EQ(u64(80), GetParam().settings.contains("lazy_refcounts=on") ? 1U : 0U) << "compatible";
  EXPECT_EQ(u64(88), 0U) << "autoclear features";
  EXPECT_EQ(u32(96), 4U) << "refcounts of 16 bits";
  EXPECT_EQ(u32(100), 112U) << "length of the header";
  EXPECT_EQ(header[104], std::byte{is_zstd()});
  EXPECT_EQ(u64(112), 0U) << "end of the extensions";
}

TEST_P(Qcow2Output, CompressesWhatShrinksAndStoresNoZeros) {
  const std::uint64_t filled = fs::file_size(make(GetParam(), "8m:A 8m:- 8m:0 8m:z"));
  const std::uint64_t incompressible = fs::file_size(make(GetParam(), "8m:r 24m:-"));
  // Tables: at clusters of 512 bytes, an entry of 8 for each, and 2 for its count.
  const std::uint64_t most = (8 << 20) + (8 << 20) / 32 + 6 * cluster_bytes();
  EXPECT_GE(incompressible, 8U << 20);
  EXPECT_LE(incompressible, most);
  if (GetParam().compress)
    EXPECT_LT(filled, (4U << 20) + 6 * cluster_bytes());
  else
    EXPECT_EQ(filled, incompressible);
}

std::vector<Output> qcow2_outputs() {
  std::vector<Output> result = outputs();
  std::erase_if(result, [](const Output& output) { return !output.is_qcow2(); });
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, Qcow2Output, ::testing::ValuesIn(qcow2_outputs()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
