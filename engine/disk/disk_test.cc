// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk.h"

#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;

// Chains of flat links of 4 KiB, each with a file of its own.
class DiskTest : public ::testing::Test {
 protected:
  void put(const std::string& name, const std::string& cid,
           const std::string& parent_cid = "ffffffff", const std::string& parent = {}) {
    std::string text = "# Disk DescriptorFile\nversion=1\nCID=" + cid +
                       "\nparentCID=" + parent_cid + "\ncreateType=\"monolithicFlat\"\n";
    if (!parent.empty()) text += "parentFileNameHint=\"" + parent + "\"\n";
    text += "RW 8 FLAT \"" + name + "-flat\" 0\n";
    files_.add("/vm/" + name, text);
    files_.add("/vm/" + name + "-flat", std::string(4096, 'x'));
  }
  // Links l0 (the base) to l<depth - 1>.
  void put_chain(std::size_t depth) {
    put("l0", "100");
    for (std::size_t i = 1; i < depth; ++i)
      put(nth(i), fmt::format("{}", 100 + i), fmt::format("{}", 99 + i), nth(i - 1));
  }
  static std::string nth(std::size_t index) { return fmt::format("l{}", index); }

  Result<Disk> open(const std::string& name, const DiskOptions& options = {}) {
    return Disk::open(files_, "/vm/" + name, options);
  }

  testing::MemoryFileSystem files_;
};

TEST_F(DiskTest, OpensAChainFromTheTop) {
  put_chain(3);
  const auto disk = open("l2");
  ASSERT_TRUE(IsOk(disk));
  EXPECT_EQ(disk->depth(), 3U);
  EXPECT_EQ(disk->size_bytes(), 4096U);
  EXPECT_EQ(disk->link(0).description().content_id, 0x102U);
  EXPECT_EQ(disk->link(2).description().content_id, 0x100U);
  EXPECT_TRUE(IsOk(disk->check()));
}

TEST_F(DiskTest, OpensTheTopAloneOnRequest) {
  put("top", "1", "2", "absent");
  DiskOptions options;
  options.open_parents = false;
  EXPECT_EQ(open("top", options)->depth(), 1U);
  EXPECT_TRUE(HasError(open("top"), ErrorKind::not_found, "its parent 'absent'"));
}

TEST_F(DiskTest, ComparesContentIds) {
  put("base", "1");
  put("top", "2", "7", "base");
  EXPECT_TRUE(HasError(open("top"), ErrorKind::mismatch, "00000007"));
  DiskOptions options;
  options.ignore_content_ids = true;
  EXPECT_EQ(open("top", options)->depth(), 2U);
}

TEST_F(DiskTest, SeesCycles) {
  put("self", "1", "1", "self");
  EXPECT_TRUE(HasError(open("self"), ErrorKind::corrupt, "cycle"));
  put("a", "1", "1", "b");
  put("b", "1", "1", "a");
  EXPECT_TRUE(HasError(open("a"), ErrorKind::corrupt, "cycle"));
}

TEST_F(DiskTest, BoundsTheDepth) {
  put_chain(Disk::kMaxDepth + 1);
  EXPECT_EQ(open(nth(Disk::kMaxDepth - 1))->depth(), Disk::kMaxDepth);
  EXPECT_TRUE(HasError(open(nth(Disk::kMaxDepth)), ErrorKind::unsupported, "more than 255"));
}

TEST_F(DiskTest, ParentsAreNeverRaw) {
  files_.add("/vm/base", std::string(4096, 'x'));
  put("top", "2", "1", "base");
  EXPECT_TRUE(HasError(open("top"), ErrorKind::unsupported, "/vm/base"));
  DiskOptions raw;
  raw.format = "raw";
  EXPECT_EQ(open("base", raw)->size_bytes(), 4096U);
  raw.format = "qcow9";
  EXPECT_TRUE(HasError(open("base", raw), ErrorKind::invalid_argument, "qcow9"));
}

TEST_F(DiskTest, ASnapshotWithoutAHintIsNotTakenForABase) {
  put("top", "2", "1");
  EXPECT_TRUE(HasError(open("top"), ErrorKind::corrupt, "parentFileNameHint"));
}

}  // namespace
}  // namespace grainmill
