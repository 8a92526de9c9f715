// SPDX-License-Identifier: Apache-2.0
//
// Chains of snapshots: how deep, which parent, and whether it is the right one.
#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class Chain : public ::testing::Test {
 protected:
  Result<ConvertReport> convert_disk(const fs::path& source, const DiskOptions& disk = {}) {
    ConvertOptions options = convert_options(source, output_);
    options.disk = disk;
    return convert(posix_file_system(), options);
  }

  void expect_converts(const fs::path& source, const Layout& layout, const DiskOptions& disk = {}) {
    const Result<ConvertReport> report = convert_disk(source, disk);
    ASSERT_TRUE(report) << report.error();
    expect_same_bytes(file_bytes(output_), expected_bytes(layout, 0, layout.size_bytes()));
    fs::remove(output_);
  }

  void expect_refused(const fs::path& source, ErrorKind kind, const std::vector<std::string>& words,
                      const DiskOptions& disk = {}) {
    const Result<ConvertReport> report = convert_disk(source, disk);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, kind) << report.error();
    for (const std::string& word : words)
      EXPECT_NE(report.error().to_string().find(word), std::string::npos)
          << word << " is not in: " << report.error();
    EXPECT_FALSE(fs::exists(output_));
  }

  // A delta of a link with this ID, under a name of its own.
  BuiltLink build_delta(const DescriptorOptions& descriptor) {
    return build_link(dir_.path(), "disk", layout_, 1, {.descriptor = descriptor}, nullptr);
  }

  Layout layout_ = parse_layout("64k:A 64k:B | 64k:^ 64k:C");
  TempDir dir_;
  fs::path output_ = dir_ / "out.img";
};

// Every link writes one of four grains; the parents show through in the others.
Layout deep_layout(std::size_t links) {
  std::string text = "256k:A";
  for (std::size_t i = 1; i < links; ++i) {
    text += " | ";
    for (std::size_t grain = 0; grain < 4; ++grain)
      text += std::string("64k:") +
              (grain == i % 4 ? static_cast<char>('A' + static_cast<char>(i % 26)) : '^') + " ";
  }
  return parse_layout(text);
}

TEST_F(Chain, OfAnyDepthUpTo255Links) {
  for (const std::size_t links : {1U, 3U, 10U, 32U, 255U}) {
    const Layout layout = deep_layout(links);
    const BuiltDisk disk = build_disk(dir_.path(), std::to_string(links), layout);
    SCOPED_TRACE(links);
    expect_converts(disk.path(), layout);
  }
}

TEST_F(Chain, Of256LinksIsRefused) {
  const BuiltDisk disk = build_disk(dir_.path(), "disk", deep_layout(256));
  expect_refused(disk.path(), ErrorKind::unsupported, {"more than 255 links"});
}

TEST_F(Chain, ThatIsItsOwnParentIsRefused) {
  const BuiltLink delta =
      build_delta({.cid = 0x1234, .parent_cid = 0x1234, .parent_hint = "disk-000001.vmdk"});
  expect_refused(delta.path, ErrorKind::corrupt, {"disk-000001.vmdk", "cycle"});
}

TEST_F(Chain, ThatGoesInACircleIsRefused) {
  const auto build = [&](const std::string& name, const std::string& parent) {
    return build_link(
        dir_.path(), name, layout_, 1,
        {.descriptor = {.cid = 7, .parent_cid = 7, .parent_hint = parent + "-000001.vmdk"}},
        nullptr);
  };
  build("one", "two");
  build("two", "three");
  const BuiltLink last = build("three", "one");
  expect_refused(last.path, ErrorKind::corrupt, {"-000001.vmdk", "cycle"});
  // The same file by another name is the same file.
  fs::create_symlink("three-000001.vmdk", dir_ / "alias.vmdk");
  expect_refused(dir_ / "alias.vmdk", ErrorKind::corrupt, {"cycle"});
}

TEST_F(Chain, OfWrongContentIdsNamesFilesAndIds) {
  const std::vector<LinkOptions> options = {
      {.descriptor = {.cid = 0xaabbccdd}},
      {.descriptor = {.cid = 0x11223344, .parent_cid = 0x55667788}}};
  const BuiltDisk disk = build_disk(dir_.path(), "disk", layout_, options);
  const std::vector<std::string> words = {disk.links[0].path.string(), disk.links[1].path.string(),
                                          "aabbccdd", "55667788"};
  expect_refused(disk.path(), ErrorKind::mismatch, words);
  DiskOptions ignoring;
  ignoring.ignore_content_ids = true;
  expect_converts(disk.path(), layout_, ignoring);

  // It is found before the tables are looked at, let alone data.
  const BuiltExtent& base = disk.links[0].extents[0];
  patch_word(base.path, base.gte_offset_of(0), 0x7fffffff);
  expect_refused(disk.path(), ErrorKind::mismatch, words);
}

TEST_F(Chain, WhoseMiddleWasWrittenToIsRefused) {
  const Layout layout = parse_layout("64k:A | 64k:^ | 64k:^");
  const std::vector<LinkOptions> options = {{}, {}, {.descriptor = {.parent_cid = 0x600df00d}}};
  const BuiltDisk disk = build_disk(dir_.path(), "disk", layout, options);
  expect_refused(disk.path(), ErrorKind::mismatch,
                 {"disk-000001.vmdk", "disk-000002.vmdk", "600df00d"});
}

TEST_F(Chain, FindsItsParentByAnyKindOfHint) {
  const BuiltDisk base = build_disk(dir_.path(), "disk", parse_layout("64k:A 64k:B"));
  fs::create_directory(dir_ / "below");
  fs::copy_file(base.path(), dir_ / "below" / "base.vmdk");
  for (const std::string& hint : std::vector<std::string>{
           "disk.vmdk", "./disk.vmdk", "below/base.vmdk", "below\\base.vmdk",
           (dir_ / "disk.vmdk").string(), (dir_ / "below/base.vmdk").string(),
           "C:\\Users\\me\\Virtual Machines\\disk.vmdk", "D:disk.vmdk", "\\\\server\\vm\\disk.vmdk",
           "/vmfs/volumes/5f0c-11/vm/disk.vmdk", "/disk.vmdk"}) {
    const BuiltLink delta = build_delta({.parent_cid = base.links[0].cid, .parent_hint = hint});
    SCOPED_TRACE(hint);
    expect_converts(delta.path, layout_);
  }
}

TEST_F(Chain, WithoutItsParentNamesIt) {
  const BuiltLink near = build_delta({.parent_cid = 1, .parent_hint = "gone.vmdk"});
  expect_refused(near.path, ErrorKind::not_found, {near.path.string(), "gone.vmdk", "beside it"});
  const BuiltLink far = build_delta({.parent_cid = 1, .parent_hint = "C:\\vm\\gone.vmdk"});
  expect_refused(far.path, ErrorKind::not_found, {far.path.string(), "C:\\vm\\gone.vmdk"});
  const BuiltLink unnamed = build_delta({.parent_cid = 1, .parent_hint = ""});
  expect_refused(unnamed.path, ErrorKind::corrupt, {"parentFileNameHint"});
}

TEST_F(Chain, DoesNotTakeAnyFileForAParent) {
  const BuiltLink delta = build_delta({.parent_cid = 1, .parent_hint = "disk.vmdk"});
  write_file(dir_ / "disk.vmdk", std::string(128 << 10, 'x'));
  expect_refused(delta.path, ErrorKind::unsupported, {"disk.vmdk", "not recognised"});
  write_file(dir_ / "disk.vmdk", "version https://git-lfs.github.com/spec/v1\noid sha256:0");
  expect_refused(delta.path, ErrorKind::unsupported, {"disk.vmdk", "git lfs pull"});
}

TEST_F(Chain, OfWhichALinkIsDamagedNamesThatLink) {
  const Layout layout = parse_layout("64k:A 64k:B | 64k:C 64k:^ | 64k:^ 64k:D");
  const BuiltDisk disk = build_disk(dir_.path(), "disk", layout);
  const BuiltExtent& middle = disk.links[1].extents[0];
  patch_word(middle.path, middle.gte_offset_of(0), 0x7fffffff);
  patch_word(middle.path, middle.redundant_gte_offset_of(0), 0x7fffffff);
  expect_refused(disk.path(), ErrorKind::corrupt, {"disk-000001.vmdk"});
}

}  // namespace
}  // namespace grainmill::testing
