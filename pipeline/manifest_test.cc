// SPDX-License-Identifier: Apache-2.0
#include "engine/base/byte_order.h"
#include "pipeline/manifest_reader.h"
#include "pipeline/manifest_writer.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;
using Bytes = std::vector<std::byte>;

// The digest of a grain that a letter stands for.
Digest128 digest_of(char letter) {
  return {0x1234567890abcdefU, static_cast<unsigned char>(letter)};
}

// Writes manifests of disks given as letters, one a digest grain; '0' is zeros.
class ManifestTest : public ::testing::Test {
 protected:
  ManifestTest() {
    header_.sources = {{0, 0x1a2b3c4dU, 12345, -7, "vm/top.vmdk"},
                       {1, std::nullopt, 1ULL << 40, 1700000000123456789, "base, with an ö"}};
  }

  ManifestRoots write(std::string_view grains, std::size_t piece = ~std::size_t{0}) {
    header_.disk_bytes = grains.size() * kDigestGrain;
    return write_with(grains, piece, "/m");
  }
  ManifestRoots write_with(std::string_view grains, std::size_t piece, const std::string& path) {
    const auto pending = files_.create_pending(path).value();
    ManifestWriter writer(&pending->file(), header_);
    for (std::size_t at = 0; at < grains.size(); at += std::min(piece, grains.size() - at))
      give(writer, grains.substr(at, piece));
    const auto roots = writer.finish();
    EXPECT_TRUE(IsOk(roots));
    EXPECT_TRUE(IsOk(pending->publish(Durability::unsynced)));
    return *roots;
  }
  void give(ManifestWriter& writer, std::string_view grains) const {
    std::vector<GrainRecord> records;
    Bytes leaves;
    for (const char letter : grains) {
      if (letter == '0') records.push_back({});
      if (letter != '0') records.push_back({GrainRecord::Kind::data, digest_of(letter)});
      leaves.resize(leaves.size() + crypto_digest_bytes(header_.crypto), std::byte(letter));
    }
    EXPECT_TRUE(IsOk(writer.add(records, leaves, {})));
  }

  Bytes manifest() { return files_.content("/m").bytes(); }
  Result<ManifestReader> open(const Bytes& bytes) {
    files_.add("/x", bytes);
    return ManifestReader::open(files_, "/x");
  }
  // What a manifest says of its disk, as letters.
  static Result<std::string> read(ManifestReader& reader, std::uint64_t most = 1000000) {
    std::string text;
    while (true) {
      GM_TRY(const ManifestReader::Run run, reader.take(most));
      if (run.grains == 0) return text;
      EXPECT_LE(run.grains, most);
      for (std::uint64_t i = 0; i < run.grains; ++i)
        text += run.digests.empty()
                    ? '0'
                    : static_cast<char>(load_digest(run.digests.data() + i * kDigest128Bytes).low);
    }
  }
  // Makes the checksum right again, as a forger would.
  static Bytes resealed(Bytes bytes) {
    const std::size_t end = bytes.size() - kDigest128Bytes - kManifestEndMagic.size();
    StreamDigest checksum;
    checksum.update(std::span(bytes).first(end));
    store_digest(bytes.data() + end, checksum.digest());
    return bytes;
  }
  static std::string random_grains(std::uint64_t seed, std::size_t count) {
    std::mt19937_64 random(seed);
    std::string grains;
    while (grains.size() < count)
      grains.append(random() % 300,
                    static_cast<char>(random() % 2 == 0 ? '0' : 'A' + random() % 26));
    return grains.substr(0, count);
  }

  testing::MemoryFileSystem files_;
  ManifestHeader header_;
};

TEST_F(ManifestTest, ComesBackAsItWasWritten) {
  for (const char* grains : {"", "0", "A", "A0B", "000AB0C000", "ABCDEF"}) {
    const ManifestRoots roots = write(grains);
    auto reader = open(manifest());
    ASSERT_TRUE(IsOk(reader));
    EXPECT_EQ(read(*reader), grains);
    EXPECT_EQ(reader->roots().root, roots.root);
    EXPECT_EQ(reader->header().disk_bytes, header_.disk_bytes);
  }
}

TEST_F(ManifestTest, LargeOnesComeBackInAnyPieces) {
  const std::string grains = random_grains(1, 30000);
  write(grains);
  for (const std::uint64_t most : {1U, 7U, 4096U, 100000U}) {
    auto reader = open(manifest());
    EXPECT_TRUE(read(*reader, most) == grains) << most;
  }
}

TEST_F(ManifestTest, NamesItsSources) {
  write("A");
  const auto reader = open(manifest());
  ASSERT_EQ(reader->header().sources.size(), 2U);
  const ManifestSource& top = reader->header().sources[0];
  EXPECT_EQ(top.content_id, 0x1a2b3c4dU);
  EXPECT_EQ(top.mtime_ns, -7);
  EXPECT_EQ(top.path, "vm/top.vmdk");
  const ManifestSource& base = reader->header().sources[1];
  EXPECT_EQ(base.link, 1U);
  EXPECT_FALSE(base.content_id.has_value());
  EXPECT_EQ(base.size_bytes, 1ULL << 40);
  EXPECT_EQ(base.path, "base, with an ö");
}

TEST_F(ManifestTest, DependsOnTheGrainsAlone) {
  const std::string grains = random_grains(2, 10000);
  const ManifestRoots roots = write(grains);
  const Bytes whole = manifest();
  for (const std::size_t piece : {1U, 3U, 4U, 4096U, 5000U}) {
    EXPECT_EQ(write(grains, piece).root, roots.root);
    EXPECT_TRUE(manifest() == whole) << piece;
  }
}

TEST_F(ManifestTest, RootsTellDisksApart) {
  const Digest128 root = write("A0B").root;
  EXPECT_NE(write("A0C").root, root);
  EXPECT_NE(write("AB0").root, root);
  EXPECT_NE(write("A0B0").root, root);
  // Where it was read from says nothing of what it holds.
  header_.sources.clear();
  EXPECT_EQ(write("A0B").root, root);
  header_.disk_bytes -= 512;
  EXPECT_NE(write_with("A0B", 1, "/m").root, root);
}

TEST_F(ManifestTest, CostsSixteenBytesAGrainOfDataAndLittleElse) {
  constexpr std::size_t kGrains = 100000;
  write(std::string(kGrains, 'A'));
  EXPECT_LT(manifest().size(), 16 * kGrains + 8 * (kGrains / 4096 + 1) + 512);
  write(std::string(kGrains, '0'));
  EXPECT_LT(manifest().size(), 512U);
}

TEST_F(ManifestTest, RootsNeedNoFile) {
  header_.disk_bytes = 3 * kDigestGrain;
  ManifestWriter writer(nullptr, header_);
  give(writer, "A0B");
  EXPECT_EQ(writer.finish()->root, write("A0B").root);
}

// Every root is the digest of the disk's size and the records, computed here from nothing.
TEST_F(ManifestTest, CryptoRootsAreOverAllLeaves) {
  for (const CryptoAlgorithm crypto : {CryptoAlgorithm::sha256, CryptoAlgorithm::blake2b512}) {
    header_.crypto = crypto;
    const ManifestRoots roots = write("A0B");
    const std::size_t leaf = crypto_digest_bytes(crypto);
    Bytes plain(8 + 2 * (8 + leaf));
    store_le<std::uint64_t>(plain.data(), 3 * kDigestGrain);
    store_le<std::uint32_t>(plain.data() + 12, 1);
    std::fill_n(plain.begin() + 16, leaf, std::byte{'A'});
    store_le<std::uint32_t>(plain.data() + 16 + leaf, 1);
    store_le<std::uint32_t>(plain.data() + 20 + leaf, 1);
    std::fill_n(plain.begin() + 24 + static_cast<std::ptrdiff_t>(leaf), leaf, std::byte{'B'});
    CryptoDigest digest(crypto);
    digest.update(plain);
    Bytes root(leaf);
    digest.finish(root.data());
    EXPECT_TRUE(roots.crypto == root) << crypto_name(crypto);
    EXPECT_TRUE(open(manifest())->roots().crypto == root);
    EXPECT_EQ(roots.data_grains, 2U);
  }
}

TEST_F(ManifestTest, EveryFlippedByteIsNoticed) {
  header_.crypto = CryptoAlgorithm::sha256;
  write("A0BC000");
  const Bytes good = manifest();
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const unsigned mask : {1U, 0x80U, 0xffU}) {
      Bytes bad = good;
      bad[at] ^= std::byte(mask);
      EXPECT_FALSE(open(bad).has_value()) << "byte " << at << " mask " << mask;
    }
  }
}

TEST_F(ManifestTest, EveryCutAndEveryAdditionIsNoticed) {
  write("A0BC000");
  const Bytes good = manifest();
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(open({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}).has_value())
        << size;
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_TRUE(HasError(open(longer), ErrorKind::corrupt));
  longer.insert(longer.end(), good.begin(), good.end());
  EXPECT_TRUE(HasError(open(longer), ErrorKind::corrupt, "checksum"));
}

TEST_F(ManifestTest, SaysWhatItIsNot) {
  write("A");
  Bytes bytes = manifest();
  EXPECT_TRUE(HasError(open({}), ErrorKind::invalid_argument, "not a Grainmill manifest"));
  EXPECT_TRUE(HasError(open(Bytes(5000)), ErrorKind::invalid_argument));
  store_le<std::uint32_t>(bytes.data() + 8, kManifestVersion + 1);
  EXPECT_TRUE(HasError(open(bytes), ErrorKind::unsupported, "version 2"));
  EXPECT_TRUE(HasError(ManifestReader::open(files_, "/absent"), ErrorKind::not_found));
}

// A transfer in text mode turns CR LF into LF; the magic shows it.
TEST_F(ManifestTest, SeesTransfersInTextMode) {
  write("A");
  Bytes bytes = manifest();
  bytes.erase(bytes.begin() + 4);
  EXPECT_TRUE(HasError(open(bytes), ErrorKind::invalid_argument));
}

// A forger can make the checksum right; the reader must then fail in order, never crash.
TEST_F(ManifestTest, ForgedFieldsAreRefusedOrHarmless) {
  header_.crypto = CryptoAlgorithm::sha256;
  write("A0BC000");
  const Bytes good = manifest();
  for (std::size_t at = 0; at < good.size() - 24; ++at) {
    for (const unsigned value : {0U, 1U, 0x7fU, 0xffU}) {
      Bytes bad = good;
      bad[at] = std::byte(value);
      auto reader = open(resealed(bad));
      if (reader) (void)reader->take(5).has_value();
    }
  }
}

TEST_F(ManifestTest, ForgedRecordsAreRefused) {
  header_.sources.clear();
  write("A");
  Bytes bytes = manifest();
  const std::size_t record = bytes.size() - kManifestTrailerBytes - 8 - kDigest128Bytes;
  for (const std::uint32_t digests : {2U, 4097U, 0xffffffffU}) {
    store_le<std::uint32_t>(bytes.data() + record + 4, digests);
    auto reader = open(resealed(bytes));
    ASSERT_TRUE(IsOk(reader));
    EXPECT_TRUE(HasError(reader->take(1), ErrorKind::corrupt, "does not fit"));
  }
}

TEST_F(ManifestTest, ReportsFailedWrites) {
  testing::MemoryFile file("m");
  file.content().fail_writes(0, 1);
  ManifestWriter writer(&file, header_);
  give(writer, "A0B");
  EXPECT_TRUE(HasError(writer.finish(), ErrorKind::io, "made to fail"));
}

}  // namespace
}  // namespace grainmill
