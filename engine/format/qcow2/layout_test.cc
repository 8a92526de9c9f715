// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/layout.h"

#include "engine/base/byte_order.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::qcow2 {
namespace {

using namespace std::string_literals;
using testing::HasError;
using testing::IsOk;

// The first cluster of an image of 1 GiB as qemu writes it, with room for changes.
class Qcow2HeaderTest : public ::testing::Test {
 protected:
  Qcow2HeaderTest() {
    put(0, "QFI\xfb");
    set<std::uint32_t>(4, 3);
    set<std::uint32_t>(20, 16);
    set<std::uint64_t>(24, kGiB);
    set<std::uint32_t>(36, 2);
    set<std::uint64_t>(40, 0x30000);
    set<std::uint64_t>(48, 0x10000);
    set<std::uint32_t>(56, 1);
    set<std::uint32_t>(96, 4);
    set<std::uint32_t>(100, 112);
  }

  template <typename T>
  void set(std::size_t offset, T value) {
    store_be(bytes_.data() + offset, value);
  }
  void put(std::size_t offset, std::string_view text) {
    std::ranges::copy(std::as_bytes(std::span(text)),
                      bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  std::size_t put_extension(std::size_t offset, std::uint32_t type, std::string_view data) {
    set(offset, type);
    set(offset + 4, static_cast<std::uint32_t>(data.size()));
    put(offset + 8, data);
    return offset + 8 + align_up(data.size(), 8);
  }
  void set_backing(std::size_t offset, std::string_view name) {
    set<std::uint64_t>(8, offset);
    set<std::uint32_t>(16, static_cast<std::uint32_t>(name.size()));
    put(offset, name);
  }
  void make_version_2() {
    set<std::uint32_t>(4, 2);
    std::fill(bytes_.begin() + 72, bytes_.begin() + 112, std::byte{0});
  }

  Result<Header> parse() { return parse_header(bytes_, "f.qcow2"); }
  // The header with one field changed; the field is put back afterwards.
  template <typename T>
  Result<Header> with(std::size_t offset, T value) {
    const auto saved = bytes_;
    set(offset, value);
    auto parsed = parse();
    bytes_ = saved;
    return parsed;
  }
  template <typename T>
  void expect_refused(std::size_t offset, T value, ErrorKind kind = ErrorKind::corrupt) {
    const auto parsed = with(offset, value);
    EXPECT_TRUE(HasError(parsed, kind)) << "field " << offset << " = " << value;
    if (!parsed) {
      EXPECT_EQ(parsed.error().offset, offset);
    }
  }
  template <typename T>
  void expect_taken(std::size_t offset, T value) {
    EXPECT_TRUE(IsOk(with(offset, value))) << "field " << offset << " = " << value;
  }

  std::vector<std::byte> bytes_ = std::vector<std::byte>(64 * kKiB);
};

TEST_F(Qcow2HeaderTest, ReadsEveryField) {
  set<std::uint32_t>(60, 3);
  set<std::uint64_t>(64, 0x50000);
  set<std::uint64_t>(72, 3);
  set<std::uint64_t>(80, 1);
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->version, 3U);
  EXPECT_EQ(header->cluster_bytes(), 64 * kKiB);
  EXPECT_EQ(header->size_bytes, kGiB);
  EXPECT_EQ(header->clusters(), 16384U);
  EXPECT_EQ(header->tables(), 2U);
  EXPECT_EQ(header->l1_entries, 2U);
  EXPECT_EQ(header->l1_offset, 0x30000U);
  EXPECT_EQ(header->refcount_table_offset, 0x10000U);
  EXPECT_EQ(header->refcount_table_clusters, 1U);
  EXPECT_EQ(header->refcounts_per_block(), 32768U);
  EXPECT_EQ(header->snapshots, 3U);
  EXPECT_EQ(header->snapshots_offset, 0x50000U);
  EXPECT_TRUE(header->dirty());
  EXPECT_TRUE(header->corrupt());
  EXPECT_EQ(header->compatible, kLazyRefcounts);
  EXPECT_EQ(header->compression, Compression::zlib);
  EXPECT_EQ(header->backing_file, "");
}

TEST_F(Qcow2HeaderTest, Version2HasNoFeatures) {
  make_version_2();
  set<std::uint64_t>(72, 0);
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->version, 2U);
  EXPECT_EQ(header->refcount_order, 4U);
  // Extensions begin where version 3 has its features.
  set_backing(put_extension(put_extension(72, 0xe2792aca, "qcow2"), 0, ""), "base.img");
  const auto with_backing = parse();
  ASSERT_TRUE(IsOk(with_backing));
  EXPECT_EQ(with_backing->backing_format, "qcow2");
  EXPECT_EQ(with_backing->backing_file, "base.img");
  EXPECT_EQ(with_backing->incompatible, 0U);
}

TEST_F(Qcow2HeaderTest, KnowsVersionsTwoAndThree) {
  for (const std::uint32_t version : {0U, 4U, 0x03000000U})
    expect_refused(4, version, ErrorKind::unsupported);
  EXPECT_TRUE(HasError(with(4, 1U), ErrorKind::unsupported, "version 1"));
  bytes_[3] = std::byte{0xfa};
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "QFI"));
}

TEST_F(Qcow2HeaderTest, ClusterSizesHaveBounds) {
  for (const std::uint32_t bits : {0U, 8U, 22U, 48U, 64U, 0x10000U}) expect_refused(20, bits);
  set<std::uint64_t>(24, 0);
  for (std::uint32_t bits = 9; bits <= 16; ++bits) expect_taken(20, bits);
}

TEST_F(Qcow2HeaderTest, TheL1TableCoversTheDisk) {
  expect_taken(36, 3U);
  expect_refused(36, 1U);
  expect_refused(36, 0U);
  expect_refused(36, 4194305U);
  expect_refused(36, 0xffffffffU);
  const auto small = with(24, kGiB + 1);
  EXPECT_TRUE(HasError(small, ErrorKind::corrupt, "needs 3"));
  EXPECT_TRUE(HasError(with(24, ~std::uint64_t{0}), ErrorKind::corrupt, "L1 table"));
  expect_taken<std::uint64_t>(24, 0);
  expect_taken<std::uint64_t>(24, 1);
}

TEST_F(Qcow2HeaderTest, TablesAreAligned) {
  for (const std::size_t field : {40U, 48U})
    for (const std::uint64_t offset : {0ULL, 0x30200ULL, 0x8000ULL, ~0ULL})
      expect_refused<std::uint64_t>(field, offset);
  expect_taken<std::uint64_t>(64, 1);  // nobody looks, without snapshots
  set<std::uint32_t>(60, 1);
  expect_refused<std::uint64_t>(64, 1);
  expect_refused<std::uint64_t>(64, 0);
  expect_taken<std::uint64_t>(64, 0x40000);
}

TEST_F(Qcow2HeaderTest, CountsHaveBounds) {
  expect_refused(56, 0U);
  expect_taken(56, 128U);
  expect_refused(56, 129U);
  expect_refused(56, 0xffffffffU);
  for (std::uint32_t order = 0; order <= 6; ++order) expect_taken(96, order);
  expect_refused(96, 7U);
  expect_refused(96, 0x80000004U);
  set<std::uint64_t>(64, 0x40000);
  expect_taken(60, 65536U);
  expect_refused(60, 65537U);
}

TEST_F(Qcow2HeaderTest, EncryptionIsRefusedByName) {
  EXPECT_TRUE(HasError(with(32, 1U), ErrorKind::unsupported, "AES"));
  EXPECT_TRUE(HasError(with(32, 2U), ErrorKind::unsupported, "LUKS"));
  EXPECT_TRUE(HasError(with(32, 9U), ErrorKind::unsupported, "method 9"));
}

TEST_F(Qcow2HeaderTest, IncompatibleFeaturesAreRefusedByName) {
  EXPECT_TRUE(HasError(with(72, kExternalData), ErrorKind::unsupported, "external data file"));
  EXPECT_TRUE(HasError(with(72, kExtendedL2), ErrorKind::unsupported, "extended L2"));
  for (unsigned bit = 5; bit < 64; ++bit) {
    const auto parsed = with(72, std::uint64_t{1} << bit);
    EXPECT_TRUE(HasError(parsed, ErrorKind::unsupported, "feature " + std::to_string(bit)));
  }
  // The image may say what they are called.
  std::string names = "\0\5"s + "time travel"s;
  names.resize(48, '\0');
  names += "\1\5" + "another kind"s;  // a compatible one
  names.resize(96, '\0');
  put_extension(put_extension(112, 0x12345678, "?"), 0x6803f857, names);
  EXPECT_TRUE(HasError(with(72, 32ULL), ErrorKind::unsupported, "5 ('time travel')"));
  EXPECT_TRUE(HasError(with(72, 64ULL), ErrorKind::unsupported, "6 (without a name)"));
}

TEST_F(Qcow2HeaderTest, OtherFeaturesAreIgnored) {
  expect_taken<std::uint64_t>(80, ~0ULL);
  expect_taken<std::uint64_t>(88, ~0ULL);
}

TEST_F(Qcow2HeaderTest, TheCompressionTypeIsSaidTwice) {
  set<std::uint64_t>(72, kCompressionType);
  set<std::uint8_t>(104, 1);
  const auto zstd = parse();
  ASSERT_TRUE(IsOk(zstd));
  EXPECT_EQ(zstd->compression, Compression::zstd);
  expect_refused<std::uint8_t>(104, 0);
  expect_refused<std::uint8_t>(104, 2, ErrorKind::unsupported);
  // Not there in a short header.
  EXPECT_TRUE(HasError(with(100, 104U), ErrorKind::corrupt, "compression type 0"));
  set<std::uint64_t>(72, 0);
  expect_refused<std::uint8_t>(104, 1);
}

TEST_F(Qcow2HeaderTest, HeadersMayBeLonger) {
  for (const std::uint32_t length : {104U, 108U, 120U, 4096U, 65536U}) expect_taken(100, length);
  for (const std::uint32_t length : {0U, 72U, 103U, 65537U, 0xffffffffU})
    expect_refused(100, length);
}

TEST_F(Qcow2HeaderTest, AFileMayEndRightBehindIt) {
  bytes_.resize(112);
  EXPECT_TRUE(IsOk(parse()));
  for (const std::size_t size : {111U, 104U, 103U, 72U, 71U, 24U, 23U, 8U, 4U, 3U, 0U}) {
    bytes_.resize(size);
    EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt)) << size;
  }
}

TEST_F(Qcow2HeaderTest, VersionTwoIsShorter) {
  make_version_2();
  bytes_.resize(72);
  EXPECT_TRUE(IsOk(parse()));
  bytes_.resize(71);
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "ends inside its header"));
}

TEST_F(Qcow2HeaderTest, ReadsExtensions) {
  std::size_t at = put_extension(112, 0xe2792aca, "raw");
  at = put_extension(at, 0x99999999, "more than eight");
  at = put_extension(at, 0x23852875, "\0\0\0\7"s + std::string(20, '\0'));
  put_extension(at, 0, "");
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->backing_format, "raw");
  EXPECT_EQ(header->bitmaps, 0U);  // not valid any more
  EXPECT_EQ(with(88, 1ULL)->bitmaps, 7U);
}

TEST_F(Qcow2HeaderTest, ExtensionsEndBeforeTheBackingFile) {
  set_backing(put_extension(112, 0xe2792aca, "qcow2"), "base");
  EXPECT_EQ(parse()->backing_format, "qcow2");
  set<std::uint32_t>(116, 6);
  EXPECT_TRUE(IsOk(parse()));  // within the padding
  set<std::uint32_t>(116, 9);
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "goes past 0x80"));
  set<std::uint32_t>(116, 0xffffffff);
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "goes past"));
}

TEST_F(Qcow2HeaderTest, NamesOfBackingFilesAreBehindTheHeader) {
  set_backing(0x200, "../base.img");
  EXPECT_EQ(parse()->backing_file, "../base.img");
  for (const std::uint64_t offset : {1ULL, 111ULL, 65526ULL, 65536ULL, ~0ULL})
    expect_refused<std::uint64_t>(8, offset);
  put(65525, "../base.img");
  expect_taken<std::uint64_t>(8, 65525);
  EXPECT_TRUE(HasError(with(8, 0ULL), ErrorKind::corrupt, "or neither"));
  EXPECT_TRUE(HasError(with(16, 0U), ErrorKind::corrupt, "or neither"));
  EXPECT_TRUE(HasError(with(16, 1024U), ErrorKind::corrupt, "1023"));
  EXPECT_TRUE(HasError(with(16, 12U), ErrorKind::corrupt, "zero byte"));
  bytes_.resize(0x205);
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "ends inside its header"));
}

class EntryTest : public ::testing::Test {
 protected:
  static Header header(unsigned cluster_bits, std::uint32_t version = 3) {
    Header header;
    header.version = version;
    header.cluster_bits = cluster_bits;
    return header;
  }
  static std::string_view fault(std::uint64_t entry, const Header& header) {
    const auto mapping = decode_entry(entry, header);
    return mapping ? "none" : mapping.error();
  }
};

TEST_F(EntryTest, StandardClusters) {
  const Header v3 = header(16);
  EXPECT_EQ(decode_entry(0, v3)->kind, Mapping::Kind::none);
  const auto data = decode_entry(kCopied | 0x00ff123456780000, v3);
  EXPECT_EQ(data->kind, Mapping::Kind::data);
  EXPECT_EQ(data->offset, 0x00ff123456780000U);
  EXPECT_EQ(decode_entry(0x50000, v3)->kind, Mapping::Kind::data);
  for (const std::uint64_t entry :
       std::vector<std::uint64_t>{1, kCopied | 1, kCopied | 0x50001, 0x50001})
    EXPECT_EQ(decode_entry(entry, v3)->kind, Mapping::Kind::zero);
  EXPECT_EQ(decode_entry(0x50001, v3)->offset, 0x50000U);
}

TEST_F(EntryTest, ReservedBitsAreNotIgnored) {
  for (unsigned bit = 1; bit <= 8; ++bit)
    EXPECT_EQ(fault(kCopied | 0x50000 | 1ULL << bit, header(9)), "in which reserved bits are set");
  for (unsigned bit = 56; bit <= 61; ++bit)
    EXPECT_EQ(fault(0x50000 | 1ULL << bit, header(9)), "in which reserved bits are set");
  EXPECT_EQ(fault(0x50200, header(16)), "which is not aligned to clusters");
  EXPECT_EQ(fault(0x50200, header(9)), "none");
  EXPECT_EQ(fault(kCopied, header(16)), "which is in use, but points nowhere");
  EXPECT_EQ(fault(0x50001, header(16, 2)), "which says zeros, as version 2 cannot");
  EXPECT_EQ(fault(1, header(16, 2)), "which says zeros, as version 2 cannot");
}

TEST_F(EntryTest, CompressedClusters) {
  // 64 KiB: 54 bits of offset, 8 of sectors.
  const auto one = decode_entry(kCompressed | 5ULL << 54 | 0x51234, header(16));
  EXPECT_EQ(one->kind, Mapping::Kind::compressed);
  EXPECT_EQ(one->offset, 0x51234U);
  EXPECT_EQ(one->stored_bytes, 6 * 512U - 0x34);
  EXPECT_EQ(decode_entry(kCompressed | 0x51200, header(16))->stored_bytes, 512U);
  EXPECT_EQ(decode_entry(kCompressed | 0x513ff, header(16))->stored_bytes, 1U);
  // 2 MiB: 49 and 13. 512 bytes: 61 and 1.
  const auto large = decode_entry(0x7fffffffffffffff, header(21));
  EXPECT_EQ(large->offset, (1ULL << 49) - 1);
  EXPECT_EQ(large->stored_bytes, 8192 * 512U - 511);
  const auto small = decode_entry(0x7fffffffffffffff, header(9));
  EXPECT_EQ(small->offset, (1ULL << 61) - 1);
  EXPECT_EQ(small->stored_bytes, 1024U - 511);
  EXPECT_NE(fault(kCopied | kCompressed | 0x51234, header(16)), "none");
}

TEST_F(EntryTest, TableEntries) {
  const Header v3 = header(16);
  EXPECT_EQ(decode_table_entry(0, v3), 0U);
  EXPECT_EQ(decode_table_entry(kCopied | 0x40000, v3), 0x40000U);
  EXPECT_EQ(decode_table_entry(0x40000, v3), 0x40000U);
  for (const std::uint64_t entry :
       std::vector<std::uint64_t>{kCopied, 0x40001, 0x40200, kCompressed | 0x40000,
                                  0x40000 | 1ULL << 56, 0x40000 | 1ULL << 61})
    EXPECT_FALSE(decode_table_entry(entry, v3).has_value()) << entry;
}

TEST_F(EntryTest, RunsGoOnInTheFile) {
  constexpr std::uint64_t kCluster = 0x10000;
  const std::vector<std::uint64_t> entries = {0,
                                              0,
                                              0x50000,
                                              0x60000,
                                              0x70000,
                                              kCopied | 0x80000,
                                              kCopied | 0x90000,
                                              1,
                                              1,
                                              0xa0001,
                                              0xb0001,
                                              kCompressed | 20,
                                              0,
                                              0x70000,
                                              0x70000};
  std::vector<std::size_t> runs;
  for (std::size_t i = 0; i < entries.size(); i += runs.back())
    runs.push_back(run_length(entries, i, kCluster));
  EXPECT_EQ(runs, (std::vector<std::size_t>{2, 3, 2, 2, 2, 1, 1, 1, 1}));
}

TEST(Refcounts, HaveAnyWidth) {
  std::vector<std::byte> block(32);
  block[0] = std::byte{0b10110001};
  block[1] = std::byte{0x42};
  EXPECT_EQ(refcount_at(block, 0, 0), 1U);
  EXPECT_EQ(refcount_at(block, 1, 0), 0U);
  EXPECT_EQ(refcount_at(block, 7, 0), 1U);
  EXPECT_EQ(refcount_at(block, 9, 0), 1U);
  EXPECT_EQ(refcount_at(block, 2, 1), 3U);
  EXPECT_EQ(refcount_at(block, 4, 1), 2U);
  EXPECT_EQ(refcount_at(block, 1, 2), 11U);
  EXPECT_EQ(refcount_at(block, 2, 2), 2U);
  EXPECT_EQ(refcount_at(block, 3, 2), 4U);
  EXPECT_EQ(refcount_at(block, 1, 3), 0x42U);
  EXPECT_EQ(refcount_at(block, 0, 4), 0xb142U);
  block[4] = block[8] = std::byte{1};
  EXPECT_EQ(refcount_at(block, 1, 5), 0x01000000U);
  EXPECT_EQ(refcount_at(block, 1, 6), 0x0100000000000000U);
}

TEST(Snapshots, EntriesArePadded) {
  std::vector<std::byte> bytes(kSnapshotEntryBytes);
  store_be<std::uint64_t>(bytes.data(), 0x70000);
  store_be<std::uint32_t>(bytes.data() + 8, 3);
  store_be<std::uint16_t>(bytes.data() + 12, 1);
  store_be<std::uint16_t>(bytes.data() + 14, 4);
  store_be<std::uint32_t>(bytes.data() + 36, 24);
  const SnapshotEntry entry = parse_snapshot_entry(bytes);
  EXPECT_EQ(entry.l1_offset, 0x70000U);
  EXPECT_EQ(entry.l1_entries, 3U);
  EXPECT_EQ(entry.bytes, 72U);
}

}  // namespace
}  // namespace grainmill::qcow2
