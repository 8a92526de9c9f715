// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/layout.h"

#include "engine/base/byte_order.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace grainmill::vmdk {
namespace {

using testing::HasError;
using testing::IsOk;

// A header of 10 MiB as VMware writes it, with room for changes.
class HostedHeaderTest : public ::testing::Test {
 protected:
  HostedHeaderTest() {
    std::memcpy(bytes_.data(), "KDMV", 4);
    set<std::uint32_t>(4, 1);
    set<std::uint32_t>(8, 3);
    set<std::uint64_t>(12, 20480);
    set<std::uint64_t>(20, 128);
    set<std::uint64_t>(28, 1);
    set<std::uint64_t>(36, 20);
    set<std::uint32_t>(44, 512);
    set<std::uint64_t>(48, 21);
    set<std::uint64_t>(56, 26);
    set<std::uint64_t>(64, 128);
    std::memcpy(bytes_.data() + 73, "\n \r\n", 4);
  }

  template <typename T>
  void set(std::size_t offset, T value) {
    store_le(bytes_.data() + offset, value);
  }
  void make_stream() {
    set<std::uint32_t>(4, 3);
    set<std::uint32_t>(8, 0x30001);
    set<std::uint16_t>(77, 1);
  }

  Result<HostedHeader> parse() { return parse_hosted_header(bytes_, "f.vmdk", 0x1000); }
  // The header with one field changed; the field is put back afterwards.
  template <typename T>
  Result<HostedHeader> with(std::size_t offset, T value) {
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
      EXPECT_EQ(parsed.error().offset, 0x1000 + offset);
    }
  }
  template <typename T>
  void expect_taken(std::size_t offset, T value) {
    EXPECT_TRUE(IsOk(with(offset, value))) << "field " << offset << " = " << value;
  }

  std::array<std::byte, 512> bytes_{};
};

TEST_F(HostedHeaderTest, ReadsEveryField) {
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->version, 1U);
  EXPECT_EQ(header->flags, 3U);
  EXPECT_EQ(header->capacity_bytes(), 10 * kMiB);
  EXPECT_EQ(header->grain_bytes(), 64 * kKiB);
  EXPECT_EQ(header->descriptor_sector, 1U);
  EXPECT_EQ(header->descriptor_sectors, 20U);
  EXPECT_EQ(header->entries_per_table, 512U);
  EXPECT_EQ(header->redundant_directory_sector, 21U);
  EXPECT_EQ(header->directory_sector, 26U);
  EXPECT_EQ(header->overhead_sectors, 128U);
  EXPECT_FALSE(header->unclean_shutdown);
  EXPECT_FALSE(header->compressed());
  EXPECT_TRUE(header->has_redundant_tables());
}

TEST_F(HostedHeaderTest, ReadsAStream) {
  make_stream();
  set<std::uint64_t>(56, kDirectoryAtEnd);
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_TRUE(header->compressed());
  EXPECT_FALSE(header->has_redundant_tables());
  EXPECT_EQ(header->directory_sector, kDirectoryAtEnd);
}

TEST_F(HostedHeaderTest, NeedsItsMagic) {
  bytes_[3] = std::byte{'v'};
  EXPECT_TRUE(HasError(parse(), ErrorKind::corrupt, "KDMV"));
}

TEST_F(HostedHeaderTest, KnowsVersionsOneToThree) {
  for (const std::uint32_t version : {1U, 2U, 3U}) expect_taken(4, version);
  for (const std::uint32_t version : {0U, 4U, 0x01000000U})
    expect_refused(4, version, ErrorKind::unsupported);
}

TEST_F(HostedHeaderTest, IgnoresCompatibleFlagsAndRefusesTheOthersByNumber) {
  for (const std::uint32_t flags : {0U, 1U, 2U, 7U, 0xffffU}) expect_taken(8, flags);
  for (unsigned bit = 18; bit < 32; ++bit)
    expect_refused(8, 3U | 1U << bit, ErrorKind::unsupported);
  EXPECT_TRUE(HasError(with(8, 0x40003U), ErrorKind::unsupported, "0x40000"));
}

TEST_F(HostedHeaderTest, CompressionFlagsAndAlgorithmAgree) {
  expect_refused(8, 0x20001U);           // markers without compression
  expect_refused<std::uint16_t>(77, 1);  // deflate without its flag
  expect_refused<std::uint16_t>(77, 2);
  make_stream();
  EXPECT_TRUE(IsOk(parse()));
  expect_refused(8, 0x10001U, ErrorKind::unsupported);  // compression without markers
  expect_refused<std::uint16_t>(77, 0);
  expect_refused<std::uint16_t>(77, 0x0101);
}

TEST_F(HostedHeaderTest, BoundsTheCapacity) {
  for (const std::uint64_t sectors :
       {std::uint64_t{1}, std::uint64_t{19532}, std::uint64_t{1} << 50})
    expect_taken(12, sectors);
  for (const std::uint64_t sectors :
       {std::uint64_t{0}, (std::uint64_t{1} << 50) + 1, ~std::uint64_t{0}})
    expect_refused(12, sectors);
}

TEST_F(HostedHeaderTest, TakesGrainsThatArePowersOfTwo) {
  for (std::uint64_t grain = 8; grain <= 0x200000; grain *= 2) expect_taken(20, grain);
  for (const std::uint64_t grain :
       {0ULL, 1ULL, 4ULL, 7ULL, 12ULL, 127ULL, 129ULL, 0x400000ULL, 1ULL << 63, ~0ULL})
    expect_refused<std::uint64_t>(20, grain);
}

TEST_F(HostedHeaderTest, TakesTablesThatArePowersOfTwo) {
  for (std::uint32_t entries = 1; entries <= 65536; entries *= 2) expect_taken(44, entries);
  for (const std::uint32_t entries : {0U, 3U, 511U, 513U, 131072U, ~0U})
    expect_refused(44, entries);
}

TEST_F(HostedHeaderTest, BoundsTheDescriptorOnlyIfThereIsOne) {
  expect_taken<std::uint64_t>(36, 2048);
  expect_refused<std::uint64_t>(36, 2049);
  expect_refused<std::uint64_t>(36, ~0ULL);
  set<std::uint64_t>(28, 0);
  expect_taken<std::uint64_t>(36, ~0ULL);
}

TEST_F(HostedHeaderTest, NeedsAGrainDirectory) {
  expect_refused<std::uint64_t>(56, 0);
  expect_taken<std::uint64_t>(56, ~0ULL);
  // The redundant one may be missing, whatever the flag says.
  EXPECT_FALSE(with<std::uint64_t>(48, 0)->has_redundant_tables());
  EXPECT_FALSE(with(8, 1U)->has_redundant_tables());
}

TEST_F(HostedHeaderTest, SeesTransfersInTextMode) {
  for (std::size_t at = 73; at < 77; ++at) {
    const auto saved = bytes_;
    bytes_[at] = std::byte{0x0d};
    EXPECT_TRUE(bytes_ == saved || HasError(parse(), ErrorKind::corrupt, "text mode"));
    bytes_ = saved;
  }
  set<std::uint32_t>(73, 0);
  EXPECT_TRUE(IsOk(with(8, 2U)));  // bytes that are not there need not be right
}

TEST_F(HostedHeaderTest, SeesAnUncleanShutdown) {
  EXPECT_TRUE(with<std::uint8_t>(72, 1)->unclean_shutdown);
  EXPECT_TRUE(with<std::uint8_t>(72, 0xff)->unclean_shutdown);
}

TEST_F(HostedHeaderTest, IgnoresThePadding) {
  for (std::size_t at = 79; at < 512; ++at) bytes_[at] = std::byte{0xaa};
  EXPECT_TRUE(IsOk(parse()));
}

// Nothing that passes may overflow later.
TEST_F(HostedHeaderTest, WhatPassesHasProductsThatFit) {
  set<std::uint64_t>(12, std::uint64_t{1} << 50);
  set<std::uint64_t>(20, 0x200000);
  set<std::uint32_t>(44, 65536);
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->capacity_bytes(), std::uint64_t{1} << 59);
  EXPECT_EQ(header->grain_bytes() * header->entries_per_table, std::uint64_t{1} << 46);
}

class CowdHeaderTest : public ::testing::Test {
 protected:
  CowdHeaderTest() {
    std::memcpy(bytes_.data(), "COWD", 4);
    set(4, 1);
    set(8, 3);
    set(12, 20480);
    set(16, 1);
    set(20, 4);
    set(24, 5);
    set(28, 64);
  }

  void set(std::size_t offset, std::uint32_t value) { store_le(bytes_.data() + offset, value); }
  Result<CowdHeader> parse() { return parse_cowd_header(bytes_, "f-delta.vmdk"); }
  Result<CowdHeader> with(std::size_t offset, std::uint32_t value) {
    const auto saved = bytes_;
    set(offset, value);
    auto parsed = parse();
    bytes_ = saved;
    return parsed;
  }

  std::array<std::byte, kCowdHeaderBytes> bytes_{};
};

TEST_F(CowdHeaderTest, ReadsEveryField) {
  const auto header = parse();
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->capacity_sectors, 20480U);
  EXPECT_EQ(header->grain_sectors, 1U);
  EXPECT_EQ(header->directory_sector, 4U);
  EXPECT_EQ(header->directory_entries, 5U);
  EXPECT_EQ(header->free_sector, 64U);
  EXPECT_FALSE(header->unclean_shutdown);
  EXPECT_TRUE(with(1648, 1)->unclean_shutdown);
}

TEST_F(CowdHeaderTest, RefusesOtherVersions) {
  EXPECT_TRUE(HasError(with(4, 0), ErrorKind::unsupported, "version 0"));
  EXPECT_TRUE(HasError(with(4, 2), ErrorKind::unsupported, "version 2"));
}

TEST_F(CowdHeaderTest, BoundsSizes) {
  EXPECT_TRUE(HasError(with(12, 0), ErrorKind::corrupt, "capacity"));
  EXPECT_TRUE(HasError(with(16, 0), ErrorKind::corrupt, "grain size"));
  EXPECT_TRUE(HasError(with(16, 2049), ErrorKind::corrupt, "grain size"));
  EXPECT_TRUE(HasError(with(16, ~0U), ErrorKind::corrupt, "grain size"));
  set(24, 1);
  EXPECT_TRUE(IsOk(with(16, 2048)));
}

TEST_F(CowdHeaderTest, TheDirectoryFitsTheCapacity) {
  EXPECT_TRUE(HasError(with(24, 4), ErrorKind::corrupt, "needs 5"));
  EXPECT_TRUE(HasError(with(24, 6), ErrorKind::corrupt, "needs 5"));
  EXPECT_TRUE(HasError(with(12, 20481), ErrorKind::corrupt, "needs 6"));
  EXPECT_TRUE(IsOk(with(12, 20479)));
  set(24, 0x100000);
  EXPECT_TRUE(IsOk(with(12, 0xffffffff)));
}

TEST_F(CowdHeaderTest, TheDirectoryIsBehindTheHeader) {
  EXPECT_TRUE(HasError(with(20, 3), ErrorKind::corrupt, "inside the header"));
  EXPECT_TRUE(HasError(with(20, 0), ErrorKind::corrupt, "inside the header"));
}

TEST(BlockHeader, TellsGrainsFromMarkers) {
  std::array<std::byte, 512> bytes{};
  store_le<std::uint64_t>(bytes.data(), 0x123456789abULL);
  store_le<std::uint32_t>(bytes.data() + 8, 0xfffffff0U);
  store_le<std::uint32_t>(bytes.data() + 12, 3);
  const BlockHeader block = parse_block_header(bytes);
  EXPECT_EQ(block.address, 0x123456789abULL);
  EXPECT_EQ(block.size, 0xfffffff0U);
  EXPECT_EQ(block.type, marker_footer);
}

TEST(BlockHeader, MayBeTwiceTheGrain) {
  EXPECT_EQ(max_block_bytes(65536), 12U + 131072U);
  EXPECT_EQ(max_block_bytes(kGiB), 12U + 2 * kGiB);
}

TEST(Magic, IsTheFirstFourBytes) {
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  EXPECT_TRUE(has_hosted_magic(bytes("KDMV")));
  EXPECT_TRUE(has_cowd_magic(bytes("COWD and more")));
  for (const char* text : {"", "KDM", "kdmv", "VMDK", " KDMV"})
    EXPECT_FALSE(has_hosted_magic(bytes(text)) || has_cowd_magic(bytes(text))) << text;
}

}  // namespace
}  // namespace grainmill::vmdk
