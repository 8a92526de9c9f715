// SPDX-License-Identifier: Apache-2.0
//
// What every kind of disk that is written must do (tests/outputs.cc), from every kind that is read
// (tests/variants.cc).
#include "tests/outputs.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"
#include "tests/variants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

class WriterConformance : public ::testing::TestWithParam<Output> {
 protected:
  // Converts a layout that is stored as `variant`; reads what comes out in all ways there are.
  void expect_converts(const Variant& variant, const NamedLayout& named) {
    SCOPED_TRACE("from " + variant.name + ", " + named.name);
    const Layout layout = parse_layout(named.text);
    const BuiltDisk source = build_variant(source_.path(), "disk", layout, variant);
    ConvertOptions options = convert_options(source.path(), GetParam(), out_.path());
    options.disk = disk_options(variant);
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    EXPECT_EQ(report->disk_bytes, layout.size_bytes());
    EXPECT_EQ(names_in(out_.path()), output_names(GetParam()));
    expect_output(expected_bytes(layout, 0, layout.size_bytes()));
    for (const std::string& name : names_in(out_.path())) fs::remove(out_ / name);
    for (const std::string& name : names_in(source_.path())) fs::remove(source_ / name);
  }

  void expect_output(const std::vector<std::byte>& want) {
    const fs::path path = output_path(GetParam(), out_.path());
    expect_disk_holds(path, GetParam(), want);
    if (GetParam().is_vmdk()) {
      const ReferenceDisk reference = ReferenceDisk::open(path);
      ASSERT_EQ(reference.size_bytes(), want.size());
      expect_same_bytes(reference.read(0, want.size()), want);
    }
    if (GetParam().is_raw()) expect_same_bytes(file_bytes(path), want);
    const Verification found =
        verify_image(path, path.string() + ".manifest", disk_options(GetParam()));
    EXPECT_TRUE(found.same()) << found;
    EXPECT_EQ(found.report->format, GetParam().format);
  }

  TempDir source_;
  TempDir out_;
};

// Those from which every layout is converted; from the others, one for each output.
const std::set<std::string> kThorough = {"raw", "sparse", "sparse_4k_over_streams"};

TEST_P(WriterConformance, HoldsEveryLayout) {
  for (const Variant& variant : variants()) {
    if (!kThorough.contains(variant.name)) continue;
    for (const NamedLayout& layout : layouts_of(variant)) expect_converts(variant, layout);
  }
}

TEST_P(WriterConformance, TakesEveryVariant) {
  std::uint64_t turn = 0;
  for (const char letter : GetParam().name) turn = mix(turn + static_cast<unsigned char>(letter));
  for (const Variant& variant : variants()) {
    if (kThorough.contains(variant.name)) continue;
    const std::vector<NamedLayout> all = layouts_of(variant);
    expect_converts(variant, all[++turn % all.size()]);
  }
}

// What is written depends on the disk alone, but for the random numbers in a VMDK's descriptor.
TEST_P(WriterConformance, ThreadsDoNotChangeTheBytes) {
  const Layout layout = parse_layout(
      "3m:A 5m:- 64k:r 64k:B 192k:r 1m:C 3s:- 125s:D 2m:r 64k:E 10m:- 64k:F 1m:r 700k:G 7s:r");
  const BuiltDisk source = build_disk(source_.path(), "disk", layout);
  std::vector<std::vector<std::vector<std::byte>>> runs;
  for (const unsigned threads : {1U, 8U, 8U}) {
    ConvertOptions options = convert_options(source.path(), GetParam(), out_.path());
    options.graph.threads = threads;
    options.graph.memory_bytes = (threads == 1 ? 64 : 256) * kMiB;
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    std::vector<std::vector<std::byte>>& files = runs.emplace_back();
    for (const std::string& name : output_names(GetParam())) {
      if (!name.ends_with(".manifest"))
        files.push_back(without_random_numbers(file_bytes(out_ / name)));
    }
  }
  for (std::size_t i = 1; i < runs.size(); ++i)
    for (std::size_t file = 0; file < runs[i].size(); ++file)
      expect_same_bytes(runs[i][file], runs[0][file]);
}

// From each kind to the next: the manifests all tell of the same disk.
TEST(Writers, ReadWhatTheOthersWrote) {
  const Layout layout = parse_layout("64k:A 64k:- 192k:r 3s:B 1m:0 64k:C 2m:- 5s:D");
  TempDir dir;
  fs::path source = build_disk(dir.path(), "disk", layout).path();
  DiskOptions disk;
  std::set<std::string> roots;
  for (const Output& output : outputs()) {
    SCOPED_TRACE(output.name);
    fs::create_directory(dir / output.name);
    ConvertOptions options = convert_options(source, output, dir / output.name);
    options.disk = disk;
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    roots.insert(to_hex(report->roots.root));
    source = output_path(output, dir / output.name);
    disk = disk_options(output);
  }
  EXPECT_EQ(roots.size(), 1U);
  expect_disk_holds(source, outputs().back(), expected_bytes(layout, 0, layout.size_bytes()));
}

INSTANTIATE_TEST_SUITE_P(All, WriterConformance, ::testing::ValuesIn(outputs()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
