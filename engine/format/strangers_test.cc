// SPDX-License-Identifier: Apache-2.0
#include "engine/format/strangers.h"

#include <gtest/gtest.h>

#include <string>

namespace grainmill {
namespace {

using namespace std::string_literals;

std::string_view name_of_text(std::string_view head) {
  return name_stranger(std::as_bytes(std::span(head)));
}

bool is_named(const std::string& head, std::string_view part) {
  return name_of_text(head).find(part) != std::string_view::npos;
}

TEST(Strangers, AreNamed) {
  EXPECT_TRUE(is_named("QFI\xfb\0\0\0\1"s, "qcow image of version 1"));
  EXPECT_TRUE(is_named("QED\0"s, "QED"));
  EXPECT_TRUE(is_named("conectix"s, "VHD"));
  EXPECT_TRUE(is_named("vhdxfile"s, "VHDX"));
  EXPECT_TRUE(is_named("\xbe\xba\xfe\xca\0\0\0\0"s, "seSparse"));
  EXPECT_TRUE(is_named("vmdk"s, "unfinished"));
  EXPECT_TRUE(is_named(std::string(0x40, '\0') + "\x7f\x10\xda\xbe", "VDI"));
  EXPECT_TRUE(is_named("version https://git-lfs.github.com/spec/v1\n"s, "git lfs pull"));
}

TEST(Strangers, ArchivesAreToBeUnpacked) {
  EXPECT_TRUE(is_named(std::string(257, 'x') + "ustar\0"s, "OVA"));
  EXPECT_TRUE(is_named("\x1f\x8b\x08"s, "gzip"));
  EXPECT_TRUE(is_named("BZh9"s, "bzip2"));
  EXPECT_TRUE(is_named("\xfd\x37zXZ"s, "xz"));
  EXPECT_TRUE(is_named("\x28\xb5\x2f\xfd"s, "zstd"));
  EXPECT_TRUE(is_named("PK\x03\x04"s, "zip"));
}

TEST(Strangers, WebPagesAreToldFromText) {
  EXPECT_TRUE(is_named("<!DOCTYPE html><html>", "HTML"));
  EXPECT_TRUE(is_named("\xef\xbb\xbf\r\n  <HTML lang=en>", "HTML"));
  EXPECT_TRUE(is_named("<head>", "HTML"));
  EXPECT_EQ(name_of_text("<h1>"), "");
  EXPECT_EQ(name_of_text("see <html>"), "");
}

TEST(Strangers, EmptyAndZeroFilesAreNamed) {
  EXPECT_TRUE(is_named("", "empty"));
  EXPECT_TRUE(is_named(std::string(65536, '\0'), "nothing but zeros"));
  EXPECT_TRUE(is_named(std::string(1, '\0'), "nothing but zeros"));
  // As many raw disks begin.
  EXPECT_TRUE(is_named(std::string(65536, '\0'), "if it is a raw disk, say so with -f raw"));
}

TEST(Strangers, WhatIsUnknownStaysSo) {
  for (const std::string& head :
       {"KDMV"s, "COWD"s, "hello"s, " "s, "QFI"s, "QFI\xfb\0\0\0\3"s, "\xbe\xba\xfe\xca"s,
        std::string(0x40, '\0') + "\x7f", std::string(600, 'x')})
    EXPECT_EQ(name_of_text(head), "");
}

TEST(Strangers, ShortHeadsAreNotReadPastTheirEnd) {
  const std::string tar = std::string(257, 'x') + "ustar";
  for (std::size_t size = 1; size < tar.size(); ++size)
    EXPECT_EQ(name_of_text(tar.substr(0, size)), "");
}

}  // namespace
}  // namespace grainmill
