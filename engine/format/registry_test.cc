// SPDX-License-Identifier: Apache-2.0
#include "engine/format/format.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <string>

namespace grainmill {
namespace {

using namespace std::string_literals;
using testing::HasError;

class DetectFormatTest : public ::testing::Test {
 protected:
  Result<const Format*> detect(const std::string& path) {
    const auto file = files_.open_read(path).value();
    return detect_format(*file, files_);
  }
  Result<const Format*> detect_text(std::string_view text) {
    files_.add("/f", text);
    return detect("/f");
  }

  testing::MemoryFileSystem files_;
};

TEST_F(DetectFormatTest, GoesByContent) {
  for (const char* text : {"KDMV", "COWD", "# Disk DescriptorFile\n", "parentCID=ffffffff\n"})
    EXPECT_EQ(detect_text(text).value()->name, "vmdk") << text;
  // What this version of the format is, its reader says.
  for (const std::string& text : {"QFI\xfb"s, "QFI\xfb\0\0\0\2"s, "QFI\xfb\0\0\0\4"s})
    EXPECT_EQ(detect_text(text).value()->name, "qcow2") << text;
}

TEST_F(DetectFormatTest, NeverGuessesRaw) {
  EXPECT_TRUE(HasError(detect_text("\xeb\x63\x90"), ErrorKind::unsupported, "-f raw"));
  files_.add("/disk.vmdk", std::string(1000, 'x'));
  EXPECT_TRUE(HasError(detect("/disk.vmdk"), ErrorKind::unsupported, "not recognised"));
}

TEST_F(DetectFormatTest, CallsStrangersByName) {
  EXPECT_TRUE(HasError(detect_text("QFI\xfb\0\0\0\1"s), ErrorKind::unsupported, "version 1"));
  EXPECT_TRUE(HasError(detect_text(""), ErrorKind::unsupported, "empty"));
}

// It is damage, not a kind of file that is not read.
TEST_F(DetectFormatTest, KnowsAnExtentWhoseHeaderIsLost) {
  const std::string descriptor = "# Disk DescriptorFile\nversion=1\ncreateType=\"vmfs\"\n";
  std::string head = std::string(512, 'x') + descriptor + std::string(512, '\0') + "\x16";
  for (const std::string& first : {"xxxx"s, "\x1f\x8b"s, "<html>"s, "\0\0\0\0"s}) {
    head.replace(0, first.size(), first);
    EXPECT_TRUE(HasError(detect_text(head), ErrorKind::corrupt,
                         "`grainmill check --repair -f vmdk /f` may put it right"));
  }
  head.replace(0, 4, "vmdk");
  EXPECT_TRUE(HasError(detect_text(head), ErrorKind::unsupported, "unfinished"));
}

TEST_F(DetectFormatTest, NamesTheDescriptorOfAPart) {
  files_.add("/vm/disk.vmdk", "# Disk DescriptorFile\nRW 2048 FLAT \"disk-flat.vmdk\" 0\n");
  files_.add("/vm/disk-flat.vmdk", std::string(1000, 'x'));
  EXPECT_TRUE(HasError(detect("/vm/disk-flat.vmdk"), ErrorKind::unsupported, "/vm/disk.vmdk"));
}

TEST(Formats, AreFoundByName) {
  ASSERT_NE(format_by_name("vmdk"), nullptr);
  EXPECT_EQ(format_by_name("raw")->name, "raw");
  EXPECT_EQ(format_by_name("VMDK"), nullptr);
  EXPECT_EQ(format_by_name(""), nullptr);
  for (const Format& format : formats()) EXPECT_EQ(format_by_name(format.name), &format);
}

}  // namespace
}  // namespace grainmill
