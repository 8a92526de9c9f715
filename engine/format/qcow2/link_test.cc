// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/image_test.h"
#include "engine/format/qcow2/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace grainmill::qcow2 {
namespace {

using testing::HasError;
using testing::IsOk;
using testing::Qcow2Codec;
using testing::Qcow2Options;

TEST_F(Qcow2LinkTest, MapsWhatIsThere) {
  make(small());
  image_->put_data(0, 'A');
  image_->put_data(1, 'B');
  image_->put_data(3, 'C');
  image_->put_zero(4);
  image_->put_zero(5, true);
  image_->put_data(199, 'D');
  open_stored();
  EXPECT_EQ(link_->size_bytes(), 200 * kCluster);
  EXPECT_EQ(link_->grain_bytes(), kCluster);
  const ExtentList all = map(0, 200 * kCluster);
  EXPECT_EQ(text_of(all), "d1024 h512 d512 z1024 h98816 d512");
  EXPECT_EQ(all[0].file_offset, image_->data_offset(0));
  EXPECT_EQ(all[2].file_offset, image_->data_offset(3));
  EXPECT_EQ(all[5].guest_offset, 199 * kCluster);
  // Parts: of a run, of clusters, across the end of a table.
  const ExtentList part = map(700, 2000);
  EXPECT_EQ(text_of(part), "d324 h512 d512 z652");
  EXPECT_EQ(part[0].file_offset, image_->data_offset(1) + 188);
  EXPECT_EQ(text_of(map(63 * kCluster + 1, kCluster)), "h512");
  EXPECT_TRUE(IsOk(link_->check()));
}

TEST_F(Qcow2LinkTest, ADiskMayEndAnywhere) {
  for (const std::uint64_t size : {1ULL, 511ULL, 513ULL, 1000ULL, 64 * 512ULL + 1}) {
    make(small(), size);
    const std::uint64_t last = image_->clusters() - 1;
    image_->put_data(last, 'A');
    open_stored();
    EXPECT_EQ(link_->size_bytes(), size);
    const ExtentList all = map(0, size);
    EXPECT_EQ(all.back().guest_end(), size);
    EXPECT_EQ(all.back().length, size - last * kCluster);
    EXPECT_EQ(all.back().kind, ExtentKind::data);
    EXPECT_TRUE(IsOk(link_->check()));
  }
}

TEST_F(Qcow2LinkTest, ADiskMayBeEmpty) {
  make(small(), 0);
  open_stored();
  EXPECT_EQ(link_->size_bytes(), 0U);
  EXPECT_TRUE(IsOk(link_->check()));
}

TEST_F(Qcow2LinkTest, AnEmptyDiskIsNotRead) {
  Qcow2Options options = small();
  options.cluster_bits = 16;
  make(options, kTiB);
  open_stored();
  content_->forget_calls();
  EXPECT_EQ(text_of(map(0, kTiB)), "h1099511627776");
  EXPECT_TRUE(content_->reads().empty());
}

TEST_F(Qcow2LinkTest, OnlyTheEntriesThatAreAskedForAreRead) {
  Qcow2Options options = small();
  options.cluster_bits = 16;
  make(options, kTiB);
  image_->put_data(8192 * 5 + 100, 'A');
  open_stored();
  content_->forget_calls();
  EXPECT_EQ(text_of(map((8192 * 5 + 99) * 65536ULL, 3 * 65536ULL)), "h65536 d65536 h65536");
  EXPECT_EQ(content_->reads(),
            (std::vector<testing::Call>{{image_->entry_offset(8192 * 5 + 99), 24}}));
}

TEST_F(Qcow2LinkTest, InflatesStreamsThatShareSectors) {
  for (const Qcow2Codec codec : {Qcow2Codec::zlib, Qcow2Codec::zstd}) {
    Qcow2Options options = small();
    options.codec = codec;
    make(options);
    for (std::uint64_t i = 0; i < 130; ++i)
      image_->put_compressed(i, letters(static_cast<char>('a' + i % 26)));
    open_stored();
    EXPECT_TRUE(IsOk(link_->check()));
    const ExtentList all = map(0, 131 * kCluster);
    ASSERT_EQ(all.size(), 131U);
    for (std::uint64_t i = 0; i < 130; ++i) {
      const Extent& extent = all[i];
      ASSERT_EQ(extent.kind, ExtentKind::deflated);
      EXPECT_EQ(extent.guest_offset, i * kCluster);
      EXPECT_EQ(extent.grain_address, i * kCluster);
      EXPECT_EQ(extent.grain_bytes, kCluster);
      EXPECT_EQ(extent.file_offset, image_->data_offset(i));
      EXPECT_TRUE((extent.file_offset + extent.stored_bytes) % 512 == 0);
      std::vector<std::byte> got;
      ASSERT_TRUE(IsOk(inflate(extent, got)));
      EXPECT_EQ(got, letters(static_cast<char>('a' + i % 26)));
    }
  }
}

TEST_F(Qcow2LinkTest, CheckingTellsWhetherAnythingIsCompressed) {
  for (const bool compressed : {false, true}) {
    Qcow2Options options = small();
    options.codec = Qcow2Codec::zlib;
    make(options);
    image_->put_data(3, 'A');
    if (compressed) image_->put_compressed(150, letters('b'));
    open_stored();
    EXPECT_TRUE(link_->may_deflate());
    EXPECT_TRUE(IsOk(link_->check()));
    EXPECT_EQ(link_->may_deflate(), compressed);
  }
}

TEST_F(Qcow2LinkTest, TheLastStreamMayEndWithTheFile) {
  Qcow2Options options = small();
  options.codec = Qcow2Codec::zlib;
  make(options);
  image_->put_compressed(0, letters('x'));
  std::vector<std::byte> bytes = image_->finish();
  const std::vector<std::byte> stream = testing::compress_for_qcow2(Qcow2Codec::zlib, letters('y'));
  // Behind all else, in a cluster that no refcount knows.
  const std::uint64_t at = bytes.size();
  bytes.insert(bytes.end(), stream.begin(), stream.end());
  content_ = &files_.add("/vm/a.qcow2", bytes);
  put(image_->entry_offset(1), kCompressed | 1ULL << 61 | at);
  link_ = open().value();
  const ExtentList list = map(kCluster, kCluster);
  EXPECT_EQ(list[0].stored_bytes, stream.size());
  std::vector<std::byte> got;
  EXPECT_TRUE(IsOk(inflate(list[0], got)));
  EXPECT_EQ(got, letters('y'));
}

TEST_F(Qcow2LinkTest, DamagedStreamsAreErrors) {
  for (const Qcow2Codec codec : {Qcow2Codec::zlib, Qcow2Codec::zstd}) {
    Qcow2Options options = small();
    options.codec = codec;
    make(options);
    image_->put_stream(0, testing::compress_for_qcow2(codec, letters('x', 513)));
    image_->put_stream(1, testing::compress_for_qcow2(codec, letters('x', 511)));
    image_->put_stream(2, std::vector<std::byte>(100, std::byte{0xff}));
    image_->put_stream(3, std::vector<std::byte>(3, std::byte{0x28}));
    open_stored();
    const ExtentList list = map(0, 4 * kCluster);
    std::vector<std::byte> got;
    EXPECT_TRUE(HasError(inflate(list[0], got), ErrorKind::corrupt, "more than its 512 bytes"));
    EXPECT_TRUE(HasError(inflate(list[1], got), ErrorKind::corrupt, "gives 511 bytes"));
    EXPECT_TRUE(HasError(inflate(list[2], got), ErrorKind::corrupt, "for address 0x400"));
    EXPECT_TRUE(HasError(inflate(list[3], got), ErrorKind::corrupt));
    EXPECT_EQ(inflate(list[2], got).error().offset, list[2].file_offset);
  }
}

TEST_F(Qcow2LinkTest, DescribesItself) {
  Qcow2Options options = small();
  options.codec = Qcow2Codec::zstd;
  options.compatible = 1;
  options.incompatible = kDirty | kCorrupt;
  options.autoclear = 1;
  options.snapshots = 2;
  options.refcount_order = 3;
  options.extensions = {{0x23852875, std::string("\0\0\0\1", 4) + std::string(20, '\0')}};
  make(options);
  image_->set_backing("base.img", "raw");
  open_stored();
  const LinkDescription& description = link_->description();
  EXPECT_EQ(description.format, "qcow2");
  EXPECT_EQ(description.create_type, "v3");
  EXPECT_FALSE(description.content_id.has_value());
  EXPECT_EQ(description.parent->hint, "base.img");
  EXPECT_EQ(description.parent->format, "raw");
  EXPECT_FALSE(description.parent->content_id.has_value());
  EXPECT_EQ(description.extents.size(), 1U);
  EXPECT_EQ(description.extents[0].grain_bytes, kCluster);
  EXPECT_TRUE(description.extents[0].compressed);
  EXPECT_TRUE(description.unclean_shutdown);
  std::vector<std::string> facts;
  facts.reserve(description.facts.size());
  for (const FormatFact& fact : description.facts) facts.push_back(fact.name);
  EXPECT_EQ(facts, (std::vector<std::string>{"compat", "compression-type", "refcount-bits",
                                             "lazy-refcounts", "corrupt", "extended-l2"}));
  EXPECT_EQ(std::get<std::uint64_t>(description.facts[2].value), 8U);
  EXPECT_TRUE(std::get<bool>(description.facts[4].value));
  ASSERT_EQ(description.warnings.size(), 4U);
  for (const std::string& warning : description.warnings)
    EXPECT_TRUE(warning.starts_with("/vm/a.qcow2: ")) << warning;
  EXPECT_NE(description.warnings[2].find("2 internal snapshots"), std::string::npos);
  EXPECT_NE(description.warnings[3].find("1 bitmap,"), std::string::npos);
  EXPECT_EQ(link_->files().size(), 1U);
  EXPECT_TRUE(IsOk(link_->check()));
}

TEST_F(Qcow2LinkTest, IsNotWritten) {
  make(small());
  store();
  EXPECT_TRUE(HasError(open({.policy = {}, .mode = OpenMode::read_write}), ErrorKind::unsupported,
                       "not written"));
}

TEST_F(Qcow2LinkTest, BackingFilesArePlainPaths) {
  for (const char* name : {"json:{\"driver\":\"nbd\"}", "nbd:localhost:10809", "fat:/etc",
                           "http://x/y", "file:base.img", "x:base.img", ":x"}) {
    make(small());
    image_->set_backing(name, "raw");
    store();
    EXPECT_TRUE(HasError(open(), ErrorKind::unsupported, "only plain paths")) << name;
  }
  for (const char* name : {"base.img", "./a:b.img", "/x/y:z", "../base", "{json}"}) {
    make(small());
    image_->set_backing(name);
    open_stored();
    EXPECT_EQ(link_->description().parent->hint, name);
    EXPECT_EQ(link_->description().parent->format, "");
  }
}

TEST_F(Qcow2LinkTest, TablesLieInsideTheFile) {
  make(small());
  image_->put_data(0, 'A');
  store();
  const std::uint64_t size = content_->size_bytes();
  for (const std::uint64_t entry :
       {kCopied | align_up(size, kCluster), kCopied | 0x00fffffffffffe00, kCopied | (size - 511),
        std::uint64_t{1}, kCopied | 0}) {
    put(image_->l1_offset(), entry);
    EXPECT_TRUE(HasError(open(), ErrorKind::corrupt, "L1 entry 0")) << entry;
  }
  put(image_->l1_offset(), 0);
  put(40, align_down(size, kCluster));
  EXPECT_TRUE(HasError(open(), ErrorKind::corrupt, "L1 table"));
}

TEST_F(Qcow2LinkTest, EntriesAreCheckedWhenTheyAreMapped) {
  make(small());
  image_->put_data(5, 'A');
  open_stored();
  const std::uint64_t size = content_->size_bytes();
  const std::vector<std::uint64_t> bad = {kCopied,
                                          2,
                                          kCopied | 0x100,
                                          kCopied | size,
                                          1ULL << 56,
                                          kCompressed,
                                          kCompressed | 511,
                                          kCompressed | size,
                                          kCompressed | kCopied | 1024};
  for (const std::uint64_t entry : bad) {
    put(image_->entry_offset(7), entry);
    const Status mapped = map_all();
    EXPECT_TRUE(HasError(mapped, ErrorKind::corrupt, "L2 entry for address 0xe00")) << entry;
    EXPECT_EQ(mapped.error().offset, image_->entry_offset(7));
    EXPECT_TRUE(HasError(link_->check(), ErrorKind::corrupt, "0xe00"));
  }
}

TEST_F(Qcow2LinkTest, RunsAreCheckedToTheirEnd) {
  make(small());
  for (std::uint64_t i = 0; i < 8; ++i) image_->put_data(i, 'A');
  open_stored();
  const std::uint64_t size = content_->size_bytes();
  // Eight clusters of which the last would lie behind the file.
  for (std::uint64_t i = 0; i < 8; ++i)
    put(image_->entry_offset(i), align_down(size, kCluster) - (7 - i) * kCluster);
  EXPECT_TRUE(HasError(map_all(), ErrorKind::corrupt, "address 0xe00"));
}

// The disk ends inside its last cluster, and so may the file; but no sooner.
TEST_F(Qcow2LinkTest, TheLastClusterMayBeShort) {
  make(small(), 3 * kCluster + 100);
  image_->put_data(0, 'A');
  store();
  const std::uint64_t end = content_->size_bytes();
  content_->set_size(end + 100);
  put(image_->entry_offset(3), end);
  link_ = open().value();
  EXPECT_EQ(text_of(map(0, link_->size_bytes())), "d512 h1024 d100");
  content_->set_size(end + 99);
  EXPECT_TRUE(HasError(map_all(), ErrorKind::corrupt, "past the end of the file"));
}

TEST_F(Qcow2LinkTest, VersionTwoHasNoZeros) {
  make(small(2));
  image_->put_data(0, 'A');
  open_stored();
  EXPECT_TRUE(IsOk(link_->check()));
  put(image_->entry_offset(1), 1);
  EXPECT_TRUE(HasError(map_all(), ErrorKind::corrupt, "version 2"));
  EXPECT_TRUE(HasError(link_->check(), ErrorKind::corrupt, "version 2"));
}

}  // namespace
}  // namespace grainmill::qcow2
