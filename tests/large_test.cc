// SPDX-License-Identifier: Apache-2.0
//
// Disks beyond 2 and 4 GiB and 2 TiB, which are nearly all hole: offsets must not be cut short, and
// neither time nor memory may grow with the size.
#include "engine/base/sanitizers.h"
#include "tests/conversion.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostRss = 150 * kMiB;
// Sanitizers keep shadows and quarantines: only what a user runs is measured.
constexpr bool kMeasuresMemory = !kHasShadowMemory;

class Large : public ::testing::Test {
 protected:
  // Converts by the program and holds the parts that are stored against the layout.
  void expect_converts(const BuiltDisk& disk, const Layout& layout,
                       const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"convert", "-q", "--no-sync", disk.path().string(),
                                          output_.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = run_program(dir_.path(), arguments);
    ASSERT_TRUE(result.ok()) << result.err;
    if (kMeasuresMemory) {
      EXPECT_LT(result.peak_rss_bytes, kMostRss);
    }
    ASSERT_EQ(fs::file_size(output_), layout.size_bytes());
    expect_stored_parts(layout);
  }

  // All that the file stores, and nothing else, is what the layout says.
  void expect_stored_parts(const Layout& layout) {
    const std::unique_ptr<File> file = posix_file_system().open_read(output_.string()).value();
    std::uint64_t data_bytes = 0;
    for (const LinkLayout& link : layout.links) {
      for (const Segment& segment : link.segments) {
        if (!segment.is_stored()) continue;
        data_bytes += segment.size_bytes;
        expect_same_bytes(file_bytes(output_, segment.guest_offset, segment.size_bytes),
                          expected_bytes(layout, segment.guest_offset, segment.size_bytes));
      }
    }
    std::uint64_t stored = 0;
    for (DataRange range = file->next_data(0).value(); range.begin != range.end;
         range = file->next_data(range.end).value())
      stored += range.end - range.begin;
    EXPECT_LE(stored, data_bytes + layout.links.size() * 64 * kKiB);
  }

  TempDir dir_;
  fs::path output_ = dir_ / "out.img";
};

// Data on both sides of 2 GiB and 4 GiB, across them too.
const std::string kAcross4GiB =
    "64k:A 2097024k:- 64k:B 64k:C 2097024k:- 32k:- 64k:D 64k:E 96k:- 64k:F 1g:- 3s:G";
const std::string kAcross2TiB = "64k:A 2147483456k:- 64k:B 64k:C 128k:D 1g:- 5s:E";

TEST_F(Large, FourGibibytesAreCrossed) {
  const Layout layout = parse_layout(kAcross4GiB);
  int number = 0;
  for (const LinkOptions& options : std::vector<LinkOptions>{{},
                                                             {.kind = Kind::two_gb_sparse},
                                                             {.kind = Kind::two_gb_flat},
                                                             {.kind = Kind::monolithic_flat},
                                                             {.kind = Kind::vmfs_sparse},
                                                             {.kind = Kind::stream_optimized}}) {
    SCOPED_TRACE(static_cast<int>(options.kind));
    const BuiltDisk disk =
        build_disk(dir_.path(), "disk" + std::to_string(number++), layout, options);
    expect_converts(disk, layout);
    for (const fs::path& path : disk.files()) fs::remove(path);
  }
}

TEST_F(Large, TwoTebibytesAreCrossed) {
  const Layout layout = parse_layout(kAcross2TiB);
  const BuiltDisk sparse = build_disk(dir_.path(), "sparse", layout);
  expect_converts(sparse, layout);
  const BuiltDisk stream =
      build_disk(dir_.path(), "stream", layout, {.kind = Kind::stream_optimized});
  expect_converts(stream, layout);
  const Verification image = verify_image(stream.path(), output_.string() + ".manifest");
  EXPECT_TRUE(image.same()) << image;
}

TEST_F(Large, ChainsCrossThemToo) {
  const Layout layout = parse_layout(
      "64k:A 4194240k:- 64k:B | 4194304k:^ 32k:^ 32k:C | "
      "2097120k:^ 64k:D 2097184k:^");
  const std::vector<LinkOptions> options = {
      {.kind = Kind::monolithic_flat}, {.kind = Kind::vmfs_sparse}, {.header_version = 2}};
  expect_converts(build_disk(dir_.path(), "disk", layout, options), layout);
}

TEST_F(Large, AnEmptyDiskCostsNothing) {
  const Layout layout = parse_layout("2t:-");
  const BuiltDisk disk = build_disk(dir_.path(), "disk", layout);
  const auto start = std::chrono::steady_clock::now();
  expect_converts(disk, layout);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_LT(fs::file_size(output_.string() + ".manifest"), 4096U);
  EXPECT_TRUE(verify_image(output_, output_.string() + ".manifest").same());
}

TEST_F(Large, LittleMemoryIsEnough) {
  const Layout layout = parse_layout("20m:A 3g:- 10m:r 3s:B");
  const BuiltDisk sparse = build_disk(dir_.path(), "sparse", layout);
  expect_converts(sparse, layout, {"--memory", "8M", "--threads", "2"});
  const BuiltDisk stream =
      build_disk(dir_.path(), "stream", layout,
                 {.kind = Kind::stream_optimized, .stream = {.deflate_level = 1}});
  expect_converts(stream, layout, {"--memory", "8M", "--threads", "2"});
}

TEST_F(Large, TooLittleMemoryIsRefused) {
  const BuiltDisk disk =
      build_disk(dir_.path(), "disk", parse_layout("64k:A"), {.kind = Kind::stream_optimized});
  const CommandResult result = run_program(
      dir_.path(), {"convert", "--memory", "64k", disk.path().string(), output_.string()});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("raise --memory"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(output_));
}

}  // namespace
}  // namespace grainmill::testing
