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
using testing::Qcow2Builder;
using testing::Qcow2Codec;
using testing::Qcow2Options;

class Qcow2CheckTest : public Qcow2LinkTest {
 protected:
  void SetUp() override {
    Qcow2Options options = small();
    options.codec = Qcow2Codec::zlib;
    options.snapshots = snapshots_;
    make(options);
    for (std::uint64_t i = 0; i < 10; ++i) image_->put_data(i, 'A');
    for (std::uint64_t i = 10; i < 20; ++i) image_->put_compressed(i, letters('b'));
    image_->put_zero(30, true);
    image_->put_data(150, 'C');
    store();
    whole_ = content_->bytes();
    ASSERT_TRUE(IsOk(check()));
  }
  // The image as it was before it was damaged.
  void store_again() { content_ = &files_.add("/vm/a.qcow2", whole_); }
  void clear_refcount(std::uint64_t offset) {
    const std::vector<std::byte> none(2);
    content_->put(image_->refcount_block_offset(0) + offset / kCluster * 2, none);
  }
  void set_incompatible(std::uint64_t bits) { put(72, bits); }

  std::uint32_t snapshots_ = 0;
  std::vector<std::byte> whole_;
};

TEST_F(Qcow2CheckTest, NoTwoMappingsShareACluster) {
  put(image_->entry_offset(40), kCopied | image_->data_offset(3));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x5000"));
  put(image_->entry_offset(40), image_->data_offset(30));  // kept behind zeros
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "something else takes"));
  put(image_->entry_offset(40), align_down(image_->data_offset(12), kCluster));  // with streams
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "something else takes"));
  put(image_->entry_offset(40), kCompressed | image_->data_offset(3));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "something else takes"));
  put(image_->entry_offset(40), kCompressed | image_->data_offset(12));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "compressed cluster at offset"));
  put(image_->entry_offset(40), kCompressed | (image_->data_offset(12) + 1));
  EXPECT_TRUE(IsOk(check()));  // for who inflates it to find
}

TEST_F(Qcow2CheckTest, NoMappingIsOnMetadata) {
  for (const std::uint64_t place :
       {image_->l1_offset(), image_->refcount_table_offset(), image_->refcount_block_offset(0),
        align_down(image_->entry_offset(0), kCluster),
        align_down(image_->entry_offset(150), kCluster)}) {
    put(image_->entry_offset(40), kCopied | place);
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x5000"));
    put(image_->entry_offset(40), kCompressed | (place + 17));
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x5000"));
  }
}

TEST_F(Qcow2CheckTest, NoTwoTablesShareACluster) {
  put(image_->l1_offset() + 8, kCopied | align_down(image_->entry_offset(0), kCluster));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 table 1"));
  put(image_->l1_offset() + 8, kCopied | image_->l1_offset());
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 table 1"));
  put(image_->l1_offset() + 8, kCopied | image_->data_offset(150));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x8000"));
}

TEST_F(Qcow2CheckTest, WhatIsInUseIsCounted) {
  for (const std::uint64_t place :
       {std::uint64_t{0}, image_->l1_offset(), image_->data_offset(4), image_->data_offset(13),
        image_->data_offset(30), image_->entry_offset(150), image_->refcount_table_offset(),
        image_->refcount_block_offset(0)}) {
    store_again();
    clear_refcount(place);
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "free by its refcount of 0")) << place;
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "qemu-img check -r all"));
    // Whoever knows better may read it.
    EXPECT_TRUE(IsOk(check({.policy = {}, .tables = TableChoice::primary})));
    set_incompatible(kDirty);
    EXPECT_TRUE(IsOk(check()));
    set_incompatible(kCorrupt);
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt));
  }
}

TEST_F(Qcow2CheckTest, RefcountTablesAreChecked) {
  for (const std::uint64_t entry :
       {std::uint64_t{1}, std::uint64_t{0x300}, align_up(content_->size_bytes(), kCluster),
        ~std::uint64_t{0}}) {
    put(image_->refcount_table_offset() + 8, entry);
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "refcount table entry 1")) << entry;
  }
  put(image_->refcount_table_offset() + 8, image_->data_offset(4));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "address 0x800"));
  put(image_->refcount_table_offset() + 8, 0);
  put(image_->refcount_table_offset(), 0);
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "header points at offset 0x0"));
  put(48, content_->size_bytes());
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "refcount table"));
}

TEST_F(Qcow2CheckTest, NothingIsStoredBehindTheEnd) {
  put(24, 150 * kCluster);
  const Status checked = check();
  EXPECT_TRUE(HasError(checked, ErrorKind::corrupt, "size in the header"));
  EXPECT_EQ(checked.error().offset, 24U);
  EXPECT_TRUE(IsOk(check({.policy = {}, .tables = TableChoice::primary})));
  put(24, 151 * kCluster - 1);
  EXPECT_TRUE(IsOk(check()));
}

// What a crash leaves is less than what is there.
TEST_F(Qcow2CheckTest, MostOfWhatIsCountedIsUsed) {
  const std::uint64_t used = content_->size_bytes() / kCluster;  // all there are
  const std::vector<std::byte> ones(2 * (used + 1), std::byte{1});
  content_->set_size((2 * used + 1) * kCluster);
  content_->put(image_->refcount_block_offset(0) + used * 2, std::span(ones).first(2 * used));
  EXPECT_TRUE(IsOk(check()));
  content_->put(image_->refcount_block_offset(0) + used * 2, ones);
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "a table is lost"));
  EXPECT_TRUE(IsOk(check({.policy = {}, .tables = TableChoice::primary})));
  set_incompatible(kDirty);
  EXPECT_TRUE(IsOk(check()));
  store_again();
  put(image_->l1_offset(), 0);
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "a table is lost"));
}

TEST_F(Qcow2CheckTest, FailedReadsAreNoDamage) {
  for (const std::uint64_t place : {image_->entry_offset(0), image_->refcount_table_offset(),
                                    image_->refcount_block_offset(0)}) {
    store_again();
    content_->fail_reads(place, 1);
    EXPECT_TRUE(HasError(check(), ErrorKind::io));
  }
}

TEST_F(Qcow2CheckTest, HugeFilesAreNotFollowed) {
  content_->set_size(std::uint64_t{1} << 42);
  EXPECT_TRUE(HasError(check(), ErrorKind::unsupported, "2^32 clusters"));
}

class Qcow2SnapshotTest : public Qcow2CheckTest {
 protected:
  Qcow2SnapshotTest() { snapshots_ = 3; }
};

TEST_F(Qcow2SnapshotTest, TheirTablesAreMetadata) {
  put(image_->entry_offset(40), kCopied | image_->snapshots_offset());
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x5000"));
  std::vector<std::byte> bytes(8);
  ASSERT_TRUE(IsOk(open().value()->files()[0]->read_exact_at(image_->snapshots_offset(), bytes)));
  put(image_->entry_offset(40), kCopied | load_be<std::uint64_t>(bytes.data()));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "L2 entry for address 0x5000"));
}

TEST_F(Qcow2SnapshotTest, TheirTablesAreChecked) {
  const std::uint64_t at = image_->snapshots_offset();
  for (const std::uint64_t offset : {std::uint64_t{5}, content_->size_bytes(), ~std::uint64_t{0}}) {
    put(at + 64, offset);
    EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "internal snapshot 1")) << offset;
  }
  put(at + 64, 0);
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "internal snapshot 1"));
  store_again();
  put_byte(at + 36, std::byte{0xff});  // its extra data goes on for gigabytes
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "internal snapshot 1 of 3"));
  store_again();
  put(64, align_up(content_->size_bytes(), kCluster));
  EXPECT_TRUE(HasError(check(), ErrorKind::corrupt, "internal snapshot 0 of 3"));
}

// The state of a machine is stored behind the disk, and may be found there later.
TEST_F(Qcow2SnapshotTest, DataMayBeStoredBehindTheEnd) {
  put(24, 150 * kCluster);
  EXPECT_TRUE(IsOk(check()));
}

TEST(Qcow2Refcounts, AreReadInAnyWidth) {
  for (unsigned order = 0; order <= 6; ++order) {
    Qcow2Options options;
    options.cluster_bits = 9;
    options.refcount_order = order;
    Qcow2Builder image(options, 3000 * kCluster);
    for (std::uint64_t i = 0; i < 3000; i += 2) image.put_data(i, 'A');
    testing::MemoryFileSystem files;
    files.add("/a", image.finish());
    const auto link = qcow2::open(files.open_read("/a").value(), files, {});
    ASSERT_TRUE(IsOk(link));
    EXPECT_TRUE(IsOk((*link)->check())) << order;
  }
}

}  // namespace
}  // namespace grainmill::qcow2
