// SPDX-License-Identifier: Apache-2.0
//
// Devices that fail. A conversion fails with them and leaves nothing; a verification says which
// ranges it could not read and goes on.
#include "tests/conversion.h"
#include "tests/fault/fault_file_system.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum FileCall;

class FaultTest : public ::testing::Test {
 protected:
  Result<ConvertReport> convert_disk(unsigned threads = 1) {
    ConvertOptions options = options_;
    options.graph.threads = threads;
    return convert(files_, options);
  }

  // How often a conversion without faults does this.
  std::uint64_t count_clean(FileCall call, const std::string& path_end = "") {
    files_.clear();
    EXPECT_TRUE(convert_disk());
    fs::remove(output_);
    fs::remove(manifest_);
    return files_.count(call, path_end);
  }

  void expect_nothing_left() {
    EXPECT_EQ(names_in(out_folder_), std::vector<std::string>());
    for (const auto& entry : fs::directory_iterator(out_folder_)) fs::remove(entry.path());
  }

  void expect_right_output() {
    expect_same_bytes(file_bytes(output_), expected_bytes(layout_, 0, layout_.size_bytes()));
  }

  // A conversion fails whichever of its calls of a kind fails, and leaves nothing.
  void expect_every_call_matters(FileCall call, const std::string& path_end = "") {
    const std::uint64_t calls = count_clean(call, path_end);
    EXPECT_GT(calls, 0U);
    for (std::uint64_t n = 1; n <= calls; ++n) {
      SCOPED_TRACE(n);
      files_.clear();
      files_.add({.call = call, .path_end = path_end, .nth = n});
      const Result<ConvertReport> report = convert_disk();
      ASSERT_FALSE(report);
      EXPECT_EQ(report.error().kind, ErrorKind::io) << report.error();
      EXPECT_FALSE(report.error().path.empty());
      expect_nothing_left();
    }
  }

  // What a failed conversion with this fault leaves where an older output was.
  void expect_older_output_kept(const Fault& fault) {
    write_file(output_, "older output");
    write_file(manifest_, "older manifest");
    files_.clear();
    files_.add(fault);
    EXPECT_FALSE(convert_disk());
    EXPECT_EQ(names_in(out_folder_), (std::vector<std::string>{"out.img", "out.img.manifest"}));
    EXPECT_EQ(fs::file_size(output_), 12U);
    EXPECT_EQ(fs::file_size(manifest_), 14U);
  }

  Layout layout_ =
      parse_layout("64k:A 64k:- 64k:B 64k:r 512k:C 7s:D | 64k:^ 64k:E 64k:0 64k:^ 512k:^ 7s:^");
  TempDir dir_;
  fs::path out_folder_ = dir_ / "out";
  fs::path output_ = out_folder_ / "out.img";
  fs::path manifest_ = out_folder_ / "out.img.manifest";
  FaultFileSystem files_{posix_file_system()};
  ConvertOptions options_;

  void build(const std::vector<LinkOptions>& links) {
    fs::create_directories(out_folder_);
    options_ = convert_options(build_disk(dir_.path(), "disk", layout_, links).path(), output_);
    options_.durability = Durability::synced;
  }

  void SetUp() override { build({{.kind = Kind::stream_optimized}, {.header_version = 2}}); }
};

TEST_F(FaultTest, EveryReadMatters) { expect_every_call_matters(read); }
TEST_F(FaultTest, EveryOpenMatters) { expect_every_call_matters(open, ".vmdk"); }
TEST_F(FaultTest, EveryInfoMatters) { expect_every_call_matters(info); }
TEST_F(FaultTest, EverySearchForDataMatters) { expect_every_call_matters(next_data); }
TEST_F(FaultTest, EveryWriteMatters) { expect_every_call_matters(write); }
TEST_F(FaultTest, EveryResizeMatters) { expect_every_call_matters(resize); }
TEST_F(FaultTest, EverySyncMatters) { expect_every_call_matters(sync); }
TEST_F(FaultTest, EveryPublishMatters) { expect_every_call_matters(publish); }
TEST_F(FaultTest, EveryCreateMatters) { expect_every_call_matters(create); }
TEST_F(FaultTest, EveryRemoveMatters) { expect_every_call_matters(remove); }

TEST_F(FaultTest, EveryReadOfOtherKindsMattersToo) {
  build({{.kind = Kind::two_gb_flat, .split_size_bytes = 256 << 10}, {.kind = Kind::vmfs_sparse}});
  expect_every_call_matters(read);
  expect_every_call_matters(open, ".vmdk");
}

TEST_F(FaultTest, AnOlderOutputIsKept) {
  expect_older_output_kept({.call = read, .nth = count_clean(read)});
  expect_older_output_kept({.call = write, .nth = 1});
  expect_older_output_kept({.call = sync, .path_end = "out.img"});
  expect_older_output_kept({.call = sync, .path_end = "manifest"});
  expect_older_output_kept({.call = create, .path_end = "manifest"});
}

TEST_F(FaultTest, AFullDeviceLeavesNothing) {
  count_clean(write);
  std::uint64_t total = 0;
  for (const Segment& segment : layout_.links[0].segments) total += segment.size_bytes;
  for (std::uint64_t room = 0; room < total - (128 << 10); room += 48 << 10) {
    SCOPED_TRACE(room);
    files_.clear();
    files_.add({.call = write, .room_bytes = room, .error_number = ENOSPC});
    const Result<ConvertReport> report = convert_disk(2);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::no_space);
    EXPECT_NE(report.error().message.find("No space left"), std::string::npos) << report.error();
    expect_nothing_left();
  }
}

TEST_F(FaultTest, AFileThatShrinksIsCorruptOrWasReadBefore) {
  const fs::path base = dir_ / "disk.vmdk";
  const std::vector<std::byte> whole = file_bytes(base);
  const std::uint64_t reads = count_clean(read);
  std::uint64_t failed = 0;
  for (std::uint64_t n = 1; n <= reads; ++n) {
    SCOPED_TRACE(n);
    files_.clear();
    files_.add({.call = read, .nth = n, .error_number = 0, .before = [&] {
                  fs::resize_file(base, whole.size() / 3);
                }});
    const Result<ConvertReport> report = convert_disk();
    fs::resize_file(base, whole.size());
    patch_file(base, 0, whole);
    if (report) {
      expect_right_output();
      fs::remove(output_);
      fs::remove(manifest_);
      continue;
    }
    ++failed;
    EXPECT_EQ(report.error().kind, ErrorKind::corrupt) << report.error();
    EXPECT_EQ(report.error().path, base.string());
    expect_nothing_left();
  }
  EXPECT_GT(failed, reads / 2);
}

// A disk of many units, of which several cannot be read or written.
class FirstError : public FaultTest {
 protected:
  void SetUp() override {
    layout_ = parse_layout("6m:A 7s:B");
    build({{.kind = Kind::monolithic_flat}});
  }

  // Of three faults the one that is lowest is reported, though it comes last.
  void expect_lowest(FileCall call, const std::string& path_end) {
    for (const std::uint64_t place : {5 * kMiB, kMiB + 4096, 3 * kMiB})
      files_.add({.call = call,
                  .path_end = path_end,
                  .range_begin = place,
                  .range_end = place + 512,
                  .before = [place] {
                    if (place < 2 * kMiB) std::this_thread::sleep_for(std::chrono::milliseconds(3));
                  }});
    for (unsigned threads = 1; threads <= 8; ++threads) {
      for (int run = 0; run < 4; ++run) {
        const Result<ConvertReport> report = convert_disk(threads);
        ASSERT_FALSE(report);
        EXPECT_EQ(report.error().kind, ErrorKind::io);
        EXPECT_TRUE(report.error().path.ends_with(path_end)) << report.error();
        EXPECT_EQ(report.error().offset, kMiB + 4096) << threads << " threads";
        expect_nothing_left();
      }
    }
  }
};

TEST_F(FirstError, OfReadingIsTheLowest) { expect_lowest(read, "-flat.vmdk"); }
TEST_F(FirstError, OfWritingIsTheLowest) { expect_lowest(write, "out.img"); }

TEST_F(FirstError, SlowDevicesChangeNothing) {
  std::atomic<unsigned> calls = 0;
  const auto wait = [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(mix(calls.fetch_add(1)) % 2000));
  };
  files_.add({.call = read, .error_number = 0, .before = wait});
  files_.add({.call = write, .error_number = 0, .before = wait});
  const Result<ConvertReport> report = convert_disk(4);
  ASSERT_TRUE(report) << report.error();
  expect_right_output();
}

TEST_F(FirstError, CancellingLeavesNothing) {
  std::atomic<bool> cancelled = true;
  options_.graph.cancelled = &cancelled;
  EXPECT_EQ(convert_disk().error().kind, ErrorKind::cancelled);
  for (std::uint64_t n = 1; n <= 20; n += 3) {
    files_.clear();
    cancelled = false;
    files_.add({.call = read, .path_end = "-flat.vmdk", .nth = n, .error_number = 0, .before = [&] {
                  cancelled = true;
                }});
    const Result<ConvertReport> report = convert_disk(1 + n % 4);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::cancelled) << report.error();
    expect_nothing_left();
  }
}

class VerifyFault : public FaultTest {
 protected:
  void SetUp() override {
    layout_ = parse_layout("1m:A 64k:- 1m:B 3s:C");
    build({{.kind = Kind::stream_optimized}});
    ASSERT_TRUE(convert_disk());
    files_.clear();
  }

  static void expect_range(const Difference& found, Difference::Kind kind, std::uint64_t offset,
                           std::uint64_t length) {
    EXPECT_EQ(found.kind, kind);
    EXPECT_EQ(found.guest_offset, offset);
    EXPECT_EQ(found.length, length);
    EXPECT_EQ(found.error.has_value(), kind == Difference::Kind::unreadable);
  }
};

TEST_F(VerifyFault, UnreadableRangesOfTheOutputAreNamed) {
  constexpr std::uint64_t kGrain = kDigestGrain;
  const std::uint64_t end = layout_.size_bytes();
  for (const std::uint64_t place : {3 * kGrain + 512, 5 * kGrain - 512, end - 512})
    files_.add({.path_end = "out.img", .range_begin = place, .range_end = place + 512});
  flip_bits(output_, 8 * kGrain);
  const Verification found = verify_image(output_, manifest_, {}, files_);
  ASSERT_TRUE(found.report) << found;
  ASSERT_EQ(found.differences.size(), 3U) << found;
  using enum Difference::Kind;
  expect_range(found.differences[0], unreadable, 3 * kGrain, 2 * kGrain);
  expect_range(found.differences[1], differs, 8 * kGrain, kGrain);
  expect_range(found.differences[2], unreadable, end - 3 * kSectorBytes, 3 * kSectorBytes);
  EXPECT_EQ(found.report->unreadable_bytes, 2 * kGrain + 3 * kSectorBytes);
  EXPECT_EQ(found.report->differing_bytes, kGrain);
}

TEST_F(VerifyFault, UnreadableGrainsOfAStreamAreNamed) {
  const fs::path image = options_.source;
  const BuiltDisk disk = build_disk(dir_.path(), "disk", layout_, {.kind = Kind::stream_optimized});
  const GrainPlace& grain = disk.links[0].extents[0].grain_at(4 * kDigestGrain);
  files_.add({.path_end = "disk.vmdk",
              .range_begin = grain.data_offset + 100,
              .range_end = grain.data_offset + 101});
  const Verification found = verify_image(image, manifest_, {}, files_);
  ASSERT_TRUE(found.report) << found;
  ASSERT_EQ(found.differences.size(), 1U) << found;
  expect_range(found.differences[0], Difference::Kind::unreadable, 4 * kDigestGrain, kDigestGrain);
}

TEST_F(VerifyFault, AnUnreadableManifestIsAnError) {
  EXPECT_TRUE(verify_image(output_, manifest_, {}, files_).same());
  const std::uint64_t reads = files_.count(read, ".manifest");
  for (std::uint64_t n = 1; n <= reads; ++n) {
    files_.clear();
    files_.add({.path_end = ".manifest", .nth = n});
    const Verification found = verify_image(output_, manifest_, {}, files_);
    ASSERT_FALSE(found.report) << found;
    EXPECT_EQ(found.report.error().kind, ErrorKind::io);
    EXPECT_EQ(found.report.error().path, manifest_.string());
  }
}

}  // namespace
}  // namespace grainmill::testing
