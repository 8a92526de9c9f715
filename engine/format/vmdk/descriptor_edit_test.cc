// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_edit.h"

#include "engine/format/vmdk/descriptor_store.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

namespace grainmill::vmdk {
namespace {

using testing::HasError;
using testing::IsOk;

constexpr std::string_view kText =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "CID=0123abcd\n"
    "parentCID=ffffffff\n"
    "createType=\"monolithicSparse\"\n"
    "\n"
    "# Extent description\n"
    "RW 2048 SPARSE \"disk.vmdk\"\n"
    "\n"
    "ddb.adapterType = \"ide\"\n"
    "ddb.longContentID = \"00112233445566778899aabb0123abcd\"\n";

std::string changed(std::string_view from, std::string_view to) {
  std::string text(kText);
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

TEST(DescriptorEdit, StoresAContentIdInBothPlaces) {
  EXPECT_EQ(with_content_id(kText, 0xdeadbeef), changed("0123abcd", "deadbeef"));
  EXPECT_EQ(with_content_id(kText, 0xbeef), changed("0123abcd", "0000beef"));
}

TEST(DescriptorEdit, KeepsTheLengthWhereTheIdFits) {
  const std::string text = changed("CID=0123abcd", "CID=123abcd");
  EXPECT_EQ(content_id_digits(text), 7U);
  EXPECT_EQ(with_content_id(text, 0xbeef).size(), text.size());
  EXPECT_EQ(with_content_id(text, 0xdeadbeef).size(), text.size() + 1);
}

TEST(DescriptorEdit, FindsKeysAsReadersDo) {
  EXPECT_EQ(with_value("cid = 1 \r\n", "CID", "2"), "cid = 2 \r\n");
  EXPECT_EQ(with_value("  Cid=1\n", "CID", "2"), "  Cid=2\n");
  EXPECT_EQ(with_value("#CID=1\nCID=3\n", "CID", "2"), "#CID=1\nCID=2\n");
  EXPECT_EQ(with_value("parentCID=1\n", "CID", "2"), std::nullopt);
  EXPECT_EQ(with_value("a = \"x y\"\n", "a", "z"), "a = \"z\"\n");
  EXPECT_EQ(with_value("a=\n", "a", "z"), "a=z\n");
}

TEST(DescriptorEdit, AddsWhatIsMissing) {
  EXPECT_EQ(with_content_id("# x\nversion=1\ncreateType=\"y\"\n", 0xab),
            "# x\nversion=1\nCID=ab\ncreateType=\"y\"\n");
  EXPECT_EQ(with_parent(kText, "base.vmdk", 0x42),
            changed("parentCID=ffffffff\ncreateType=\"monolithicSparse\"\n",
                    "parentCID=00000042\ncreateType=\"monolithicSparse\"\n"
                    "parentFileNameHint=\"base.vmdk\"\n"));
}

TEST(DescriptorEdit, KeepsLineEnds) {
  EXPECT_EQ(with_parent("version=1\r\nCID=1\r\nparentCID=2\r\ncreateType=\"x\"\r\n", "b", 3),
            "version=1\r\nCID=1\r\nparentCID=00000003\r\ncreateType=\"x\"\r\n"
            "parentFileNameHint=\"b\"\r\n");
}

TEST(DescriptorEdit, TakesAParentAway) {
  EXPECT_EQ(with_parent(with_parent(kText, "base.vmdk", 0x42), "", 0), kText);
}

class DescriptorStoreTest : public ::testing::Test {
 protected:
  std::string stored() {
    const std::vector<std::byte> bytes = files_.content("/d").bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  testing::MemoryFileSystem files_;
};

TEST_F(DescriptorStoreTest, TouchesOnlySectorsThatDiffer) {
  std::string text = std::string(kText) + std::string(1000, '#') + "\n";
  testing::MemoryContent& content = files_.add("/d", std::string(512, 'x') + text);
  const auto file = files_.open_write("/d").value();
  DescriptorStore store(*file, 512, text.size(), text);
  text[3] = '!';
  content.forget_calls();
  ASSERT_TRUE(IsOk(store.store(text)));
  EXPECT_EQ(content.writes(), (std::vector<testing::Call>{{512, 512}}));
  EXPECT_EQ(stored(), std::string(512, 'x') + text);
  EXPECT_EQ(store.text(), text);
}

TEST_F(DescriptorStoreTest, FillsTheRoomOfAnEmbeddedOne) {
  files_.add("/d", std::string(kText) + std::string(200, '\0') + "behind");
  const auto file = files_.open_write("/d").value();
  DescriptorStore store(*file, 0, kText.size() + 200, std::string(kText) + std::string(200, '\0'));
  EXPECT_EQ(store.text(), kText);
  const std::string longer = std::string(kText) + "# more\n";
  ASSERT_TRUE(IsOk(store.store(longer)));
  EXPECT_EQ(stored(), longer + std::string(193, '\0') + "behind");
  ASSERT_TRUE(IsOk(store.store(std::string(kText))));
  EXPECT_EQ(stored(), std::string(kText) + std::string(200, '\0') + "behind");
}

TEST_F(DescriptorStoreTest, RefusesWhatDoesNotFitBeforeWriting) {
  testing::MemoryContent& content = files_.add("/d", std::string(kText));
  const auto file = files_.open_write("/d").value();
  DescriptorStore store(*file, 0, kText.size(), std::string(kText));
  content.forget_calls();
  EXPECT_TRUE(HasError(store.store(std::string(kText) + "#"), ErrorKind::unsupported, "reserved"));
  EXPECT_TRUE(content.writes().empty());
  EXPECT_EQ(store.text(), kText);
}

TEST_F(DescriptorStoreTest, ReplacesOneThatStandsAlone) {
  files_.add("/d", std::string(kText));
  DescriptorStore store(files_.open_write("/d").value(), files_, std::string(kText));
  ASSERT_TRUE(IsOk(store.store(std::string(kText) + "# more\n")));
  EXPECT_EQ(stored(), std::string(kText) + "# more\n");
  ASSERT_TRUE(IsOk(store.store(std::string(kText) + "# MORE\n")));
  EXPECT_EQ(stored(), std::string(kText) + "# MORE\n");
}

}  // namespace
}  // namespace grainmill::vmdk
