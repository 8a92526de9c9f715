// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/parent.h"

#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

namespace grainmill {
namespace {

using testing::HasError;

class ParentTest : public ::testing::Test {
 protected:
  void put(const std::string& path) { files_.add(path, "x"); }
  // The path of the parent that the child in /vm finds by this hint.
  Result<std::string> find(const std::string& hint, const OpenPolicy& policy = {}) {
    GM_TRY(const std::unique_ptr<File> file,
           open_parent_file(files_, policy, "/vm/child.vmdk", {hint, 1}));
    return file->path();
  }

  testing::MemoryFileSystem files_;
};

TEST_F(ParentTest, IsLookedForAsWritten) {
  put("/vm/base.vmdk");
  put("/vm/sub/base.vmdk");
  EXPECT_EQ(find("base.vmdk"), "/vm/base.vmdk");
  EXPECT_EQ(find("sub/base.vmdk"), "/vm/sub/base.vmdk");
  EXPECT_EQ(find("/vm/sub/base.vmdk"), "/vm/sub/base.vmdk");
}

TEST_F(ParentTest, IsFoundBesideTheChildWhenThePathIsOfAnotherMachine) {
  put("/vm/base.vmdk");
  EXPECT_EQ(find("/vmfs/volumes/4f3c/other/base.vmdk"), "/vm/base.vmdk");
  EXPECT_EQ(find("../elsewhere/base.vmdk"), "/vm/base.vmdk");
}

TEST_F(ParentTest, IsFoundByAWindowsPath) {
  put("/vm/base.vmdk");
  EXPECT_EQ(find("C:\\Virtual Machines\\vm\\base.vmdk"), "/vm/base.vmdk");
  EXPECT_EQ(find("C:base.vmdk"), "/vm/base.vmdk");
  EXPECT_EQ(find("\\\\server\\share\\base.vmdk"), "/vm/base.vmdk");
  put("/vm/sub/other.vmdk");
  EXPECT_EQ(find("sub\\other.vmdk"), "/vm/sub/other.vmdk");
}

TEST_F(ParentTest, BackslashesBesideSlashesArePartOfANameSometimes) {
  put("/vm/sub/a\\b.vmdk");
  EXPECT_EQ(find("sub/a\\b.vmdk"), "/vm/sub/a\\b.vmdk");
}

// Another file of that name would be taken for the parent, and nothing would tell.
TEST_F(ParentTest, IsNotGuessedWhereNoContentIdWouldTell) {
  put("/vm/base.img");
  const auto find_plain = [&](const std::string& hint) {
    return open_parent_file(files_, {}, "/vm/child.qcow2", {.hint = hint, .content_id = {}});
  };
  EXPECT_EQ(find_plain("base.img").value()->path(), "/vm/base.img");
  EXPECT_TRUE(HasError(find_plain("/other/base.img"), ErrorKind::denied, "/other/base.img"));
  EXPECT_TRUE(HasError(find_plain("sub/base.img"), ErrorKind::not_found));
  EXPECT_TRUE(HasError(find_plain("C:\\base.img"), ErrorKind::not_found));
}

TEST_F(ParentTest, StaysInsideThePolicy) {
  put("/secret/base.vmdk");
  EXPECT_TRUE(HasError(find("/secret/base.vmdk"), ErrorKind::denied, "--allow-dir /secret"));
  EXPECT_TRUE(HasError(find("../secret/base.vmdk"), ErrorKind::denied));
  EXPECT_EQ(find("/secret/base.vmdk", {.allowed_folders = {"/secret"}, .allow_any_path = false}),
            "/secret/base.vmdk");
}

TEST_F(ParentTest, TellsEverythingThatWasTried) {
  const auto missing = find("sub\\base.vmdk");
  EXPECT_TRUE(HasError(missing, ErrorKind::not_found, "'sub\\base.vmdk'"));
  EXPECT_TRUE(HasError(missing, ErrorKind::not_found, "'sub/base.vmdk', 'base.vmdk'"));
  EXPECT_EQ(missing.error().path, "/vm/child.vmdk");
}

TEST_F(ParentTest, HintsThatNameNothingAreNotFound) {
  for (const char* hint : {"/", "\\", "sub/", "..", "."})
    EXPECT_FALSE(find(hint).has_value()) << hint;
}

}  // namespace
}  // namespace grainmill
