// SPDX-License-Identifier: Apache-2.0
//
// What every format that is read must do, for every layout of a disk (tests/variants.cc).
#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/variants.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

struct Case {
  Variant variant;
  NamedLayout layout;
};

std::ostream& operator<<(std::ostream& out, const Case& test) {
  return out << test.variant.name << ", " << test.layout.text;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Variant& variant : variants())
    for (const NamedLayout& layout : layouts_of(variant)) cases.push_back({variant, layout});
  return cases;
}

class Conformance : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    ConvertOptions options = convert_options(disk_.path(), output_);
    options.disk = disk_options_;
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    EXPECT_EQ(report->disk_bytes, layout_.size_bytes());
  }

  ReferenceDisk reference() const {
    return GetParam().variant.is_raw() ? ReferenceDisk::open_raw(disk_.path())
                                       : ReferenceDisk::open(disk_.path());
  }

  Layout layout_ = parse_layout(GetParam().layout.text);
  TempDir dir_;
  fs::path output_ = dir_ / "out.img";
  fs::path manifest_ = dir_ / "out.img.manifest";
  DiskOptions disk_options_ = disk_options(GetParam().variant);
  BuiltDisk disk_ = build_variant(dir_.path(), "disk", layout_, GetParam().variant);
  std::vector<std::byte> want_ = expected_bytes(layout_, 0, layout_.size_bytes());
};

TEST_P(Conformance, ConvertsToTheSameBytes) {
  expect_same_bytes(file_bytes(output_), want_);
  // The reference reader reads VMDK only.
  if (!GetParam().variant.is_qcow2()) expect_same_bytes(reference().read(0, want_.size()), want_);
}

TEST_P(Conformance, OutputAndImageAreWhatTheManifestSays) {
  const Verification output = verify_image(output_, manifest_);
  EXPECT_TRUE(output.same()) << output;
  EXPECT_EQ(output.report->format, "raw");
  const Verification image = verify_image(disk_.path(), manifest_, disk_options_);
  EXPECT_TRUE(image.same()) << image;
}

TEST_P(Conformance, OneBitIsFoundInItsRange) {
  const std::uint64_t place = mix(want_.size() + disk_.links.size()) % want_.size();
  flip_bits(output_, place);
  const Verification found = verify_image(output_, manifest_);
  ASSERT_TRUE(found.report) << found;
  ASSERT_EQ(found.differences.size(), 1U) << found;

  const std::uint64_t begin = place - place % kDigestGrain;
  const std::uint64_t length = std::min<std::uint64_t>(kDigestGrain, want_.size() - begin);
  EXPECT_EQ(found.differences[0].kind, Difference::Kind::differs);
  EXPECT_EQ(found.differences[0].guest_offset, begin);
  EXPECT_EQ(found.differences[0].length, length);
  EXPECT_EQ(found.report->differing_bytes, length);
  EXPECT_FALSE(found.report->same());
}

TEST_P(Conformance, ZerosTakeNoRoom) {
  constexpr std::size_t kBlock = 4096;
  std::uint64_t stored = 0;
  for (std::size_t at = 0; at < want_.size(); at += kBlock) {
    const auto block = std::span(want_).subspan(at, std::min(kBlock, want_.size() - at));
    if (std::ranges::any_of(block, [](std::byte byte) { return byte != std::byte{0}; }))
      stored += kBlock;
  }
  const auto info = (*posix_file_system().open_read(output_.string()))->info();
  ASSERT_TRUE(info) << info.error();
  EXPECT_EQ(info->size_bytes, want_.size());
  EXPECT_LE(info->allocated_bytes, stored + kBlock);  // a block for the file system's own needs
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, ::testing::ValuesIn(all_cases()), [](const auto& test) {
  return test.param.variant.name + "_" + test.param.layout.name;
});

}  // namespace
}  // namespace grainmill::testing
