// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor.h"

#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace grainmill::vmdk {
namespace {

using testing::HasError;
using testing::IsOk;

// What Workstation writes for a split disk.
constexpr std::string_view kText =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"UTF-8\"\n"
    "CID=1a2b3c4d\n"
    "parentCID=ffffffff\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"twoGbMaxExtentSparse\"\n"
    "\n"
    "# Extent description\n"
    "RW 4192256 SPARSE \"disk-s001.vmdk\"\n"
    "RW 2048 SPARSE \"disk-s002.vmdk\"\n"
    "\n"
    "# The Disk Data Base\n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "ddb.geometry.cylinders = \"261\"\n"
    "ddb.uuid = \"60 00 C2 9a 1b 2c 3d 4e-5f 60 71 82 93 a4 b5 c6\"\n"
    "ddb.longContentID = \"0123456789abcdef0123456 1a2b3c4d\"\n";

Result<Descriptor> parse(std::string_view text) { return parse_descriptor(text, "d.vmdk", 512); }

// kText with every `from` in it replaced.
std::string with(std::string_view from, std::string_view to) {
  std::string text(kText);
  EXPECT_NE(text.find(from), std::string::npos) << from;
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string with_line(std::string_view line) { return std::string(kText) + std::string(line); }

void expect_usual(const Result<Descriptor>& parsed) {
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_EQ(parsed->version, 1U);
  EXPECT_EQ(parsed->content_id, 0x1a2b3c4dU);
  EXPECT_EQ(parsed->parent_content_id, 0xffffffffU);
  EXPECT_FALSE(parsed->has_parent());
  EXPECT_EQ(parsed->create_type, "twoGbMaxExtentSparse");
  EXPECT_EQ(parsed->refusal, "");
  ASSERT_EQ(parsed->extents.size(), 2U);
  EXPECT_EQ(parsed->extents[0].file, "disk-s001.vmdk");
  EXPECT_EQ(parsed->extents[0].sectors, 4192256U);
  EXPECT_EQ(parsed->extents[1].type, "SPARSE");
  EXPECT_EQ(parsed->total_sectors(), 4192256U + 2048U);
}

// The one extent of a descriptor whose extent section is `line`.
Result<ExtentLine> extent_of(const std::string& line) {
  GM_TRY(const Descriptor parsed,
         parse("CID=1\nparentCID=ffffffff\ncreateType=\"custom\"\n" + line + "\n"));
  EXPECT_EQ(parsed.extents.size(), 1U);
  return parsed.extents.front();
}

TEST(ParseDescriptor, ReadsWhatWorkstationWrites) {
  expect_usual(parse(kText));
  EXPECT_EQ(parse(kText)->encoding, "UTF-8");
}

TEST(ParseDescriptor, RemembersWhereExtentLinesAre) {
  EXPECT_EQ(parse(kText)->extents[1].text_offset, kText.find("RW 2048"));
}

TEST(ParseDescriptor, TakesAnyEndOfLine) {
  expect_usual(parse(with("\n", "\r\n")));
  expect_usual(parse(with("\n", "\r")));
  expect_usual(parse(with("\n", "\n\n\n")));
  expect_usual(parse(with("\n\n", "\n")));
  expect_usual(parse(std::string_view(kText).substr(0, kText.size() - 1)));
}

TEST(ParseDescriptor, TakesBlanksAnywhere) {
  expect_usual(parse(with("\n", " \t\n \t")));
  expect_usual(parse(with("=", " = ")));
  expect_usual(parse(with("=", "\t=\t")));
  expect_usual(parse(with("RW 2048 SPARSE \"", "RW   2048\tSPARSE  \"")));
}

TEST(ParseDescriptor, TakesAnyCaseOfKeyWords) {
  std::string upper = with("CID", "cid");
  std::ranges::replace(upper, 'W', 'w');
  expect_usual(parse(upper));
  expect_usual(parse(with("SPARSE", "sparse")));
  expect_usual(parse(with("createType", "CREATETYPE")));
}

TEST(ParseDescriptor, TakesQuotesOrNone) {
  expect_usual(parse(with("\"twoGbMaxExtentSparse\"", "twoGbMaxExtentSparse")));
  expect_usual(parse(with("CID=1a2b3c4d", "CID=\"1a2b3c4d\"")));
  expect_usual(parse(with("\"UTF-8\"", "UTF-8")));
}

TEST(ParseDescriptor, EndsAtTheFirstNul) {
  expect_usual(parse(std::string(kText) + std::string(10000, '\0')));
  expect_usual(parse(std::string(kText) + '\0' + "rubbish without meaning"));
}

TEST(ParseDescriptor, SkipsAByteOrderMark) {
  expect_usual(parse("\xef\xbb\xbf" + std::string(kText)));
}

TEST(ParseDescriptor, NeedsNoCommentsNorDatabase) {
  expect_usual(
      parse("version=1\nCID=1a2b3c4d\nparentCID=ffffffff\n"
            "createType=\"twoGbMaxExtentSparse\"\nRW 4192256 SPARSE \"disk-s001.vmdk\"\n"
            "RW 2048 SPARSE \"disk-s002.vmdk\""));
}

TEST(ParseDescriptor, ReadsContentIdsOfAnyWidth) {
  EXPECT_EQ(parse(with("CID=1a2b3c4d", "CID=453210c"))->content_id, 0x453210cU);
  EXPECT_EQ(parse(with("CID=1a2b3c4d", "CID=0"))->content_id, 0U);
  EXPECT_EQ(parse(with("CID=1a2b3c4d", "CID=FFFFFFFE"))->content_id, 0xfffffffeU);
  for (const char* bad : {"", "xyz", "0x12", "123456789", "-1", "12 34", "\"12"})
    EXPECT_TRUE(
        HasError(parse(with("CID=1a2b3c4d", std::string("CID=") + bad)), ErrorKind::corrupt))
        << bad;
}

TEST(ParseDescriptor, ReadsTheParent) {
  const auto parsed =
      parse(with("parentCID=ffffffff\n",
                 "parentCID=0badcafe\nparentFileNameHint=\"C:\\VMs\\base = 1.vmdk\"\n"));
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_TRUE(parsed->has_parent());
  EXPECT_EQ(parsed->parent_content_id, 0x0badcafeU);
  EXPECT_EQ(parsed->parent_hint, "C:\\VMs\\base = 1.vmdk");
}

TEST(ParseDescriptor, AHintNeedsAParentCid) {
  EXPECT_TRUE(HasError(parse(with("parentCID=ffffffff", "parentFileNameHint=\"base.vmdk\"")),
                       ErrorKind::corrupt, "no parentCID"));
}

TEST(ParseDescriptor, ReadsEncodingsFromEitherPlace) {
  EXPECT_EQ(parse(with("UTF-8", "windows-1252"))->encoding, "windows-1252");
  EXPECT_EQ(parse(with("encoding=\"UTF-8\"", "ddb.encoding = \"GBK\""))->encoding, "GBK");
  EXPECT_EQ(parse(with_line("ddb.encoding = \"GBK\""))->encoding, "UTF-8");
  EXPECT_EQ(parse(with("encoding=\"UTF-8\"\n", ""))->encoding, "");
}

TEST(ParseDescriptor, KeepsFileNamesAsBytes) {
  const auto parsed = parse(with("disk-s001", "d\xe4\xbd\xa0 = #;'\\\x82\xa0"));
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_EQ(parsed->extents[0].file, "d\xe4\xbd\xa0 = #;'\\\x82\xa0.vmdk");
}

TEST(ParseDescriptor, TakesOddDatabases) {
  for (const char* line :
       {"ddb.x = \"\"", "ddb.x =", "ddb.comment = \"a \"quoted\" = b\"", "ddb.uuid.image=\"1-2\"",
        "ddb.iofilters = \"vmwarelwd\"", "ddb. = \"\"", "ddb.x = \"1\"\nddb.x = \"2\"",
        "changeTrackPath=\"disk-ctk.vmdk\"", "unknown.key=1", "=x"})
    EXPECT_TRUE(IsOk(parse(with_line(line)))) << line;
}

TEST(ParseDescriptor, KnowsVersionsOneToThree) {
  for (const char* version : {"1", "2", "3", "\"3\""}) {
    const auto parsed = parse(with("version=1", std::string("version=") + version));
    ASSERT_TRUE(IsOk(parsed)) << version;
    EXPECT_EQ(parsed->refusal, "");
  }
  EXPECT_NE(parse(with("version=1", "version=4"))->refusal, "");
  EXPECT_NE(parse(with("version=1", "version=0"))->refusal, "");
  EXPECT_TRUE(HasError(parse(with("version=1", "version=one")), ErrorKind::corrupt, "version"));
  EXPECT_EQ(parse(with("version=1\n", ""))->version, 1U);
}

TEST(ParseDescriptor, RefusesWhatWouldReadAsWrongBytes) {
  for (const char* line : {"encryptionKeys=\"vmware:key/list/(pair)\"", "keyID=\"abc\"",
                           "KEYID=abc", "encryption.keySafe = \"vmware:key\"",
                           "encryption.data=\"x\"", "ddb.iofilters = \"vmwarevmcrypt\"",
                           "ddb.iofilters = \"a,VMwareVMCrypt\"", "isNativeSnapshot=yes"}) {
    const auto parsed = parse(with_line(line));
    ASSERT_TRUE(IsOk(parsed)) << line;
    EXPECT_NE(parsed->refusal, "") << line;
  }
}

TEST(ParseDescriptor, RefusesDamagedLines) {
  for (const char* line :
       {"RW", "RW 100", "RW SPARSE \"f\"", "RW 100 SPARSE", "RW -1 SPARSE \"f\"",
        "RW 1e3 SPARSE \"f\"", "RW 100 SPARSE \"f", "RW 100 FLAT \"f\" x", "RW 100 FLAT \"f\" -1",
        "RW 100 FLAT \"f\" 99999999999999999999", "RW 99999999999999999999 SPARSE \"f\"",
        "RX 2048 SPARSE \"f\"", "garbage", "\x01\x02\x03", "ddb.adapterType \"lsilogic\"",
        "ddb.x = \"unclosed", "createType=\"unclosed", "ddb.x = \"",
        "RW 100 FLAT \"f\" 0\vRW 100 FLAT \"g\" 0"})
    EXPECT_TRUE(HasError(parse(with_line(line)), ErrorKind::corrupt)) << line;
}

TEST(ParseDescriptor, SaysWhereTheDamageIs) {
  const auto damaged = parse(with("RW 2048 SPARSE", "RX 2048 SPARSE"));
  ASSERT_FALSE(damaged.has_value());
  EXPECT_EQ(damaged.error().offset, 512 + kText.find("RW 2048"));
  EXPECT_EQ(damaged.error().path, "d.vmdk");
}

TEST(ParseDescriptor, RefusesContradictions) {
  EXPECT_TRUE(HasError(parse(with_line("CID=99999999")), ErrorKind::corrupt, "given twice"));
  EXPECT_TRUE(HasError(parse(with_line("parentCID=1")), ErrorKind::corrupt, "given twice"));
  EXPECT_TRUE(HasError(parse(with_line("createType=\"vmfs\"")), ErrorKind::corrupt, "given twice"));
  EXPECT_TRUE(HasError(parse(with_line("version=2")), ErrorKind::corrupt, "given twice"));
  expect_usual(parse(with_line("CID=1a2b3c4d\nversion=1")));
}

TEST(ParseDescriptor, RefusesWhatIsCutShort) {
  EXPECT_TRUE(HasError(parse(""), ErrorKind::corrupt, "no createType"));
  EXPECT_TRUE(HasError(parse("# Disk DescriptorFile\n"), ErrorKind::corrupt, "no createType"));
  const auto no_extents = parse(kText.substr(0, kText.find("RW")));
  EXPECT_TRUE(HasError(no_extents, ErrorKind::corrupt, "no extents"));
}

TEST(ParseDescriptor, ReadsEveryFormOfExtent) {
  EXPECT_EQ(extent_of("RW 100 FLAT \"f\" 63")->offset_sectors, 63U);
  EXPECT_EQ(extent_of("RW 100 VMFS \"f\"")->offset_sectors, 0U);
  EXPECT_EQ(extent_of("RDONLY 100 FLAT \"f\"")->access, Access::read_only);
  EXPECT_EQ(extent_of("noaccess 100 zero")->access, Access::none);
  EXPECT_EQ(extent_of("RW 100 ZERO")->file, "");
  EXPECT_EQ(extent_of("RW 100 ZERO \"\"")->type, "ZERO");
  EXPECT_EQ(extent_of("RW 100 FLAT bare-name 7")->file, "bare-name");
  EXPECT_EQ(extent_of("RW 0 FLAT \"f\" 0")->sectors, 0U);
  EXPECT_EQ(extent_of("RW 100 FLAT \"\\\\.\\PhysicalDrive0\" 0 partitionUUID dev")->file,
            "\\\\.\\PhysicalDrive0");
  EXPECT_TRUE(HasError(extent_of("RW 100 FLAT"), ErrorKind::corrupt, "without a file"));
  EXPECT_TRUE(HasError(extent_of("RW 100 FLAT \"\""), ErrorKind::corrupt, "without a file"));
}

// qemu-img writes names as they are.
TEST(ParseDescriptor, ReadsNamesWithQuotes) {
  for (const std::string name : {"\"test\".vmdk", "te\"st.vmdk", "\"", "\"\"", "a\" 5",
                                 "a \"b\" 2 copy.vmdk", "a\"0", "\"a.vmdk\"", "a\" \"b"}) {
    SCOPED_TRACE(name);
    for (const std::string behind : {"", " ", " 0", "\t63", " 63 ", " 63 partitionUUID dev"}) {
      const auto extent = extent_of("RW 100 FLAT \"" + name + "\"" + behind);
      ASSERT_TRUE(IsOk(extent)) << behind;
      EXPECT_EQ(extent->file, name) << behind;
      EXPECT_EQ(extent->offset_sectors, behind.contains("63") ? 63U : 0U);
    }
    EXPECT_TRUE(HasError(extent_of("RW 100 FLAT \"" + name + "\" x"), ErrorKind::corrupt));
  }
  EXPECT_EQ(extent_of("RW 100 FLAT \"/dev/sda\" 0 deviceID \"a b\"")->file, "/dev/sda");
}

TEST(ParseDescriptor, TakesNoSecondLineForAName) {
  for (const char* line :
       {"RW 100 FLAT \"f\" 0 RW 100 FLAT \"g\" 0", "RW 100 SPARSE \"f\" RW 100 SPARSE \"g\"",
        "RW 100 SPARSE \"f\"RDONLY 100 SPARSE \"g\"", "RW 100 SPARSE \"f\" RW 100 SPARSE \"g\" x"})
    EXPECT_TRUE(HasError(extent_of(line), ErrorKind::corrupt, "two extent lines")) << line;
}

TEST(ParseDescriptor, RefusesDisksThatCannotBe) {
  EXPECT_TRUE(IsOk(extent_of("RW 1125899906842624 FLAT \"f\"")));
  EXPECT_TRUE(HasError(extent_of("RW 1125899906842625 FLAT \"f\""), ErrorKind::corrupt));
  const std::string max = "RW 18446744073709551615 FLAT \"f\"\n";
  EXPECT_TRUE(HasError(extent_of(max + max), ErrorKind::corrupt, "impossible disk"));
  EXPECT_TRUE(HasError(extent_of("RW 1 FLAT \"f\" 1125899906842625"), ErrorKind::corrupt));
}

TEST(ParseDescriptor, ReadsManyExtentsButNotAnyNumber) {
  std::string text = "createType=\"custom\"\n";
  for (int i = 0; i < 65536; ++i) text += "RW 1 ZERO\n";
  EXPECT_EQ(parse(text)->extents.size(), 65536U);
  EXPECT_TRUE(HasError(parse(text + "RW 1 ZERO\n"), ErrorKind::corrupt, "more than"));
}

// Damage must not drop an extent unseen: whatever one changed byte leaves readable has both extents
// where they were, or says so.
TEST(ParseDescriptor, OneDamagedByteNeverLosesAnExtent) {
  const std::size_t begin = kText.find("RW");
  for (std::size_t at = begin; at < kText.find("\n# The Disk") - 1; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string text(kText);
      text[at] = static_cast<char>(static_cast<unsigned char>(text[at]) ^ (1U << bit));
      const auto parsed = parse(text);
      if (!parsed || text[at] == '\0' || text[at] == '#') continue;
      EXPECT_EQ(parsed->extents.size(), 2U) << at << " bit " << bit;
    }
  }
}

bool looks(std::string_view text) { return looks_like_descriptor(std::as_bytes(std::span(text))); }

TEST(LooksLikeDescriptor, KnowsOneInAnyForm) {
  EXPECT_TRUE(looks(kText));
  EXPECT_TRUE(looks(with("\n", "\r\n")));
  EXPECT_TRUE(looks(with("\n", "\r")));
  EXPECT_TRUE(looks("\xef\xbb\xbf" + std::string(kText)));
  EXPECT_TRUE(looks("\n\n# a comment of one's own\nversion=1\nCID=1\nparentCID=ffffffff\n"));
  EXPECT_TRUE(looks("# disk descriptorfile\n"));
  EXPECT_TRUE(looks("# mine\rversion=1\rcreateType=\"vmfs\"\r"));
  EXPECT_TRUE(looks("version=1\n  createType=\"vmfs\"\n"));
}

TEST(LooksLikeDescriptor, IsNotFooledByOrdinaryText) {
  for (const char* text :
       {"", "#", "# Disk", "version=1\n", "#!/bin/sh\necho createType=vmfs\n",
        "In a descriptor, createType says what kind of disk it is.\n", "encoding=\"UTF-8\"\n",
        "config.version = \"8\"\nscsi0:0.fileName = \"disk.vmdk\"\n", "<html>parentCID</html>"})
    EXPECT_FALSE(looks(text)) << text;
}

TEST(LooksLikeDescriptor, DoesNotLookBehindANul) {
  EXPECT_FALSE(looks(std::string(512, '\0') + std::string(kText)));
  EXPECT_FALSE(looks(std::string("raw\0\ncreateType=\"vmfs\"", 22)));
}

bool lost(const std::string& head) { return has_lost_header(std::as_bytes(std::span(head))); }

// As a sparse extent begins: a sector for the header, the descriptor, and tables.
std::string extent_with(std::string header) {
  header.resize(512, header.empty() ? '\0' : header.back());
  std::string head = header + std::string(kText);
  head.resize(21UL * 512, '\0');
  return head + "\x16" + std::string(511, '\0');
}

TEST(HasLostHeader, WhateverStandsInItsPlace) {
  for (const std::string& bytes :
       {std::string(), std::string("x"), std::string("\n"), std::string(" "), std::string("\xff"),
        std::string("#"), std::string("a=b\n"), std::string("MZ\0\x01", 4)})
    EXPECT_TRUE(lost(extent_with(bytes))) << bytes;
  std::string long_one = extent_with("#");
  long_one.resize(65536, '\0');
  EXPECT_TRUE(lost(long_one));
}

TEST(HasLostHeader, NotWhereThereIsOneOrNone) {
  EXPECT_FALSE(lost(extent_with("KDMV")));
  EXPECT_FALSE(lost(extent_with("COWD")));
  EXPECT_FALSE(lost(""));
  EXPECT_FALSE(lost(std::string(kText)));
  EXPECT_FALSE(lost(std::string(1000, 'x')));
  // A descriptor that stands alone, with one's own comment before it.
  std::string comment = "# mine\n#" + std::string(503, '-') + "\n";
  ASSERT_EQ(comment.size(), 512U);
  EXPECT_FALSE(lost(comment + std::string(kText)));
  EXPECT_FALSE(
      lost(std::string(kText) + std::string(512 - kText.size() % 512, '\n') + std::string(kText)));
}

}  // namespace
}  // namespace grainmill::vmdk
