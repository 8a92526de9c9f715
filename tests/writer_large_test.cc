// SPDX-License-Identifier: Apache-2.0
//
// Outputs beyond 2 and 4 GiB and 2 TiB, which are nearly all hole, and outputs with many tables:
// numbers must not be cut short, and memory may not grow with the size.
#include "engine/base/sanitizers.h"
#include "tests/outputs.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <sys/resource.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostRss = 150 * kMiB;
// Sanitizers keep shadows and quarantines: only what a user runs is measured.
constexpr bool kMeasuresMemory = !kHasShadowMemory;

// Data at both ends of more than 2 TiB, and across 2 GiB and 4 GiB.
const std::string kAcross2TiB =
    "64k:A 2097024k:- 128k:B 2097024k:- 127k:C 1k:D 2143289216k:- 64k:r 3s:E";

class WriterLarge : public ::testing::Test {
 protected:
  // A split disk of 2 TiB has more files than a program may usually have open.
  static void SetUpTestSuite() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }

  CommandResult convert_layout(const Output& output, const std::string& text,
                               const std::vector<std::string>& more = {}) {
    layout_ = parse_layout(text);
    const BuiltDisk source = build_disk(dir_.path(), "disk", layout_, {.kind = Kind::raw});
    std::vector<std::string> arguments = convert_arguments(output);
    arguments.insert(arguments.end(), {"-q", "--no-sync", "-f", "raw"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    path_ = output_path(output, dir_.path());
    arguments.insert(arguments.end(), {source.path().string(), path_.string()});
    return run_program(dir_.path(), arguments);
  }

  static void expect_ran(const CommandResult& result) {
    ASSERT_TRUE(result.ok()) << result.out << result.err;
    if (kMeasuresMemory) {
      EXPECT_LT(result.peak_rss_bytes, kMostRss);
    }
  }

  void expect_output(const Output& output, const std::string& text,
                     const std::vector<std::string>& more = {}) {
    expect_ran(convert_layout(output, text, more));
    if (HasFatalFailure()) return;
    expect_ran(run_program(dir_.path(), {"verify", "-q", "-f", output.format, path_.string()}));
    expect_we_read(output);
    if (has_qemu_img()) expect_qemu_reads(output);
  }

  template <typename Read>
  void expect_segments(const Read& read) {
    for (const Segment& segment : layout_.links[0].segments) {
      if (!segment.is_stored()) continue;
      SCOPED_TRACE(segment.guest_offset);
      expect_same_bytes(read(segment),
                        expected_bytes(layout_, segment.guest_offset, segment.size_bytes));
    }
  }

  void expect_we_read(const Output& output) {
    const Result<Disk> disk = Disk::open(posix_file_system(), path_.string(), disk_options(output));
    ASSERT_TRUE(disk) << disk.error();
    EXPECT_EQ(disk->size_bytes(), layout_.size_bytes());
    const Status sound = disk->check();
    EXPECT_TRUE(sound) << sound.error();
    expect_segments([&](const Segment& segment) {
      std::vector<std::byte> bytes(segment.size_bytes);
      EXPECT_TRUE(disk->read_at(segment.guest_offset, bytes));
      return bytes;
    });
  }

  // By windows onto the disk: all of it would take qemu-img minutes.
  void expect_qemu_reads(const Output& output) {
    if (output.is_qcow2()) {
      const CommandResult check = run_command({"qemu-img", "check", "-f", "qcow2", path_.string()});
      EXPECT_EQ(check.exit_status, 0) << check.out << check.err;
    }
    expect_segments([&](const Segment& segment) {
      const std::string window = "driver=raw,offset=" + std::to_string(segment.guest_offset) +
                                 ",size=" + std::to_string(segment.size_bytes) +
                                 ",file.driver=" + output.format +
                                 ",file.file.driver=file,file.file.filename=" + path_.string();
      const fs::path theirs = dir_ / "theirs.raw";
      const CommandResult result = run_command(
          {"qemu-img", "convert", "--image-opts", window, "-O", "raw", theirs.string()});
      EXPECT_TRUE(result.ok()) << result.err;
      return result.ok() ? file_bytes(theirs) : std::vector<std::byte>();
    });
  }

  TempDir dir_;
  fs::path path_;
  Layout layout_;
};

class CrossesTwoTebibytes : public WriterLarge, public ::testing::WithParamInterface<Output> {};

TEST_P(CrossesTwoTebibytes, AndReadsBack) { expect_output(GetParam(), kAcross2TiB); }

std::vector<Output> outputs_of_any_size() {
  std::vector<Output> result;
  for (const std::string name :
       {"twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat", "vmfs", "streamOptimized",
        "qcow2", "qcow2_2m", "qcow2_zlib", "qcow2_zstd", "raw"})
    result.push_back(output_named(name));
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, CrossesTwoTebibytes, ::testing::ValuesIn(outputs_of_any_size()),
                         [](const auto& test) { return test.param.name; });

TEST_F(WriterLarge, OneSparseFileReachesNearlyTwoTebibytes) {
  const std::string nearly = "64k:A 4194240k:- 128k:B 2040g:- 64k:r 3s:C";
  for (const std::string name : {"monolithicSparse", "sparse_1m"})
    expect_output(output_named(name), nearly);
}

// Its tables could not point to the last grains, if all were stored.
TEST_F(WriterLarge, OneSparseFileOfTwoTebibytesIsRefused) {
  for (const std::string name : {"monolithicSparse", "sparse_1m"}) {
    const CommandResult result = convert_layout(output_named(name), kAcross2TiB);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find("twoGbMaxExtentSparse"), std::string::npos) << result.err;
    EXPECT_EQ(names_in(dir_.path()), std::vector<std::string>{"disk.raw"});
  }
}

// Grains at the end of one extent and at the beginning of the next, and an extent without any.
TEST_F(WriterLarge, SplitDisksAreSplitWhereVmwareSplitsThem) {
  const std::string layout = "2047m:- 64k:A 2095936k:- 64k:B 64k:C 2096064k:- 64k:D 7s:E";
  expect_output(output_named("twoGbMaxExtentSparse"), layout);
  for (const std::string number : {"001", "002", "003", "004"})
    EXPECT_TRUE(fs::exists(dir_ / ("out-s" + number + ".vmdk"))) << number;
  EXPECT_FALSE(fs::exists(dir_ / "out-s005.vmdk"));
  expect_output(output_named("twoGbMaxExtentFlat"), layout);
  EXPECT_EQ(fs::file_size(dir_ / "out-f001.vmdk"), 2047 * kMiB);
}

// Tables of 32 KiB of disk, refcount blocks of 128 KiB of file, and more of those than the first
// cluster of the refcount table can name.
TEST_F(WriterLarge, SmallClustersTakeManyTables) {
  for (const std::string name : {"qcow2_512", "qcow2_zlib_512", "qcow2_zstd_512"}) {
    SCOPED_TRACE(name);
    expect_output(output_named(name), "40m:r 1g:- 8m:A 64g:- 3m:r 5s:B", {"--memory", "16M"});
  }
}

TEST_F(WriterLarge, ClustersTooSmallForTheDiskAreRefused) {
  const CommandResult result = convert_layout(output_named("qcow2_512"), "512k:A 1t:-");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("larger cluster_size"), std::string::npos) << result.err;
  EXPECT_EQ(names_in(dir_.path()), std::vector<std::string>{"disk.raw"});
}

TEST_F(WriterLarge, LittleMemoryIsEnough) {
  for (const std::string name : {"streamOptimized", "qcow2_zlib", "sparse_1m", "qcow2_4k"}) {
    SCOPED_TRACE(name);
    expect_output(output_named(name), "20m:A 3g:- 10m:r 3s:B",
                  {"--memory", "8M", "--threads", "2"});
  }
}

}  // namespace
}  // namespace grainmill::testing
