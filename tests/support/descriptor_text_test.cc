// SPDX-License-Identifier: Apache-2.0
#include "tests/support/descriptor_text.h"

#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

namespace grainmill::testing {
namespace {

DescriptorFacts facts() {
  return {.cid = 0x12345678,
          .parent_cid = 0xffffffff,
          .create_type = "custom",
          .size_bytes = 1 << 20,
          .extents = {{.access = "RW", .size_bytes = 512 << 10, .file_name = "a b.vmdk"},
                      {.access = "RDONLY",
                       .size_bytes = 256 << 10,
                       .type = ExtentType::flat,
                       .file_name = "c.vmdk",
                       .flat_offset_sectors = 9},
                      {.access = "NOACCESS", .size_bytes = 256 << 10, .type = ExtentType::zero}}};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(DescriptorText, LooksLikeTheUsualOne) {
  const std::string text = descriptor_text(facts(), {});
  EXPECT_TRUE(text.starts_with(
      "# Disk "
      "DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"custom\"\n\n"
      "# Extent description\nRW 1024 SPARSE \"a b.vmdk\"\nRDONLY 512 FLAT \"c.vmdk\" 9\n"
      "NOACCESS 512 ZERO\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\n"))
      << text;
  EXPECT_TRUE(contains(text, "12345678\"\nddb.virtualHWVersion"));
}

TEST(DescriptorText, FollowsTheOptions) {
  const auto text = [](const DescriptorOptions& options) {
    return descriptor_text(facts(), options);
  };
  EXPECT_TRUE(contains(text({.encoding = "GBK"}), "\nencoding=\"GBK\"\nCID="));
  EXPECT_TRUE(contains(text({.version = 3}), "\nversion=3\n"));
  EXPECT_TRUE(contains(text({.crlf = true}), "\r\n\r\n# Extent description\r\nRW "));
  EXPECT_FALSE(contains(text({.blank_lines = false}), "\n\n"));
  EXPECT_TRUE(contains(text({.blank_lines_before_extents = 2}), "ion\n\n\nRW 1024"));
  EXPECT_TRUE(contains(text({.trailing_blanks = true}), "version=1  \n"));
  EXPECT_TRUE(contains(text({.blanks_around_equals = true}), "\nCID = 12345678\n"));
  EXPECT_TRUE(contains(text({.keys = TextCase::upper}), "\nPARENTCID=ffffffff\nCREATETYPE="));
  EXPECT_TRUE(contains(text({.keys = TextCase::lower}), "\nddb.adaptertype = \"lsilogic\""));
  EXPECT_TRUE(contains(text({.extent_words = TextCase::lower}), "\nrdonly 512 flat \"c.vmdk\" 9"));
  EXPECT_TRUE(contains(text({.extra_header_lines = {"isNativeSnapshot=\"no\""}}),
                       "\"custom\"\nisNativeSnapshot=\"no\"\n\n# Extent"));
  EXPECT_TRUE(text({.extra_ddb_lines = {"ddb.uuid = \"x\""}}).ends_with("\nddb.uuid = \"x\"\n"));
  EXPECT_EQ(text({.edit = [](const std::string& all) { return all.substr(0, 6); }}), "# Disk");
}

struct Case {
  std::string name;
  DescriptorOptions options;
  bool qemu_agrees = true;
};

std::ostream& operator<<(std::ostream& out, const Case& test) { return out << test.name; }

class EveryText : public ::testing::TestWithParam<Case> {
 protected:
  // A descriptor of its own below, one inside an extent above.
  BuiltDisk build() const {
    const DescriptorOptions& text = GetParam().options;
    return build_disk(
        dir_.path(), "disk", layout_,
        std::vector<LinkOptions>{
            {.kind = Kind::two_gb_sparse, .split_size_bytes = 128 << 10, .descriptor = text},
            {.descriptor = text}});
  }

  TempDir dir_;
  Layout layout_ = parse_layout("64k:A 64k:- 128k:B | 64k:^ 64k:C 128k:^");
  std::vector<std::byte> want_ = expected_bytes(layout_, 0, layout_.size_bytes());
};

TEST_P(EveryText, ReadsBack) {
  const ReferenceDisk disk = ReferenceDisk::open(build().path());
  EXPECT_EQ(disk.read(0, disk.size_bytes()), want_);
}

TEST_P(EveryText, IsWhatQemuReads) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  const CommandResult convert = qemu_convert_to_raw(build().path(), dir_ / "qemu.raw");
  const bool agrees =
      convert.ok() &&
      same_bytes(ReferenceDisk::open_raw(dir_ / "qemu.raw").read(0, want_.size()), want_);
  EXPECT_EQ(agrees, GetParam().qemu_agrees) << convert.err;
}

std::vector<Case> all_cases() {
  // qemu 7.2 compares letters exactly, takes no blanks before `=` and counts an extent line after a
  // blank line twice.
  constexpr bool kQemuDiffers = false;
  return {
      {"usual", {}},
      {"crlf", {.crlf = true}},
      {"no_blank_lines", {.blank_lines = false}},
      {"trailing_blanks", {.trailing_blanks = true}},
      {"encoding", {.encoding = "windows-1252"}},
      {"version_3", {.version = 3}},
      {"lower_case_words", {.extent_words = TextCase::lower}, kQemuDiffers},
      {"extra_lines",
       {.extra_header_lines = {"isNativeSnapshot=\"no\"", "# Change Tracking File",
                               "changeTrackPath=\"disk-ctk.vmdk\""},
        .extra_ddb_lines = {"", "ddb.comment=\"\"", "ddb.thinProvisioned = \"1\""}}},
      {"one_sector", {.embedded_sectors = 1}},
      {"long", {.extra_ddb_lines = std::vector<std::string>(400, "# some words to fill the text")}},
      {"blank_before_extents", {.blank_lines_before_extents = 1}, kQemuDiffers},
      {"blanks_around_equals", {.blanks_around_equals = true}, kQemuDiffers},
      {"upper_case_keys", {.keys = TextCase::upper}, kQemuDiffers},
      {"lower_case_keys", {.keys = TextCase::lower}, kQemuDiffers},
      {"leading_blanks", {.edit = [](const std::string& text) { return "  " + text; }}},
      {"leading_newline", {.edit = [](const std::string& text) { return "\n" + text; }}},
  };
}

INSTANTIATE_TEST_SUITE_P(All, EveryText, ::testing::ValuesIn(all_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
