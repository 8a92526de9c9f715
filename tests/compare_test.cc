// SPDX-License-Identifier: Apache-2.0
//
// Two disks held against each other: what comes out must be what their bytes say, what qemu-img
// says, and the same on every run.
#include "pipeline/compare.h"

#include "tests/conversion.h"
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;
using Strings = std::vector<std::string>;

constexpr std::uint64_t kGrain = kDigestGrain;

// What compare() returned and what it reported on the way.
struct Comparison {
  Result<CompareReport> report;
  std::vector<DiskDifference> differences;

  // "d65536+512 u131072+4096"
  [[nodiscard]] std::string text() const {
    if (!report) return report.error().to_string();
    std::string ranges;
    for (const DiskDifference& difference : differences)
      ranges += fmt::format("{}{}{}+{}", ranges.empty() ? "" : " ",
                            "adu"[static_cast<int>(difference.kind)], difference.guest_offset,
                            difference.length);
    return ranges;
  }
  // Of the first byte that differs.
  [[nodiscard]] std::optional<std::uint64_t> place() const {
    if (!report || !report->first) return std::nullopt;
    return report->first->first_byte;
  }
};

class Compare : public ::testing::Test {
 protected:
  // A name that ends in .raw is a raw disk's.
  static DiskOptions disk_options(const fs::path& path) {
    DiskOptions options;
    if (path.extension() == ".raw") options.format = "raw";
    return options;
  }

  Comparison compare_disks(const fs::path& one, const fs::path& other) {
    Comparison comparison{.report = CompareReport{}, .differences = {}};
    CompareOptions options = options_;
    options.one = one.string();
    options.one_disk = disk_options(one);
    options.other = other.string();
    options.other_disk = disk_options(other);
    options.on_difference = [&](const DiskDifference& difference) {
      comparison.differences.push_back(difference);
    };
    comparison.report = compare(files_, options);
    return comparison;
  }

  BuiltDisk build(const std::string& name, const std::string& layout,
                  const LinkOptions& options = {}) {
    return build_disk(dir_.path(), name, parse_layout(layout), options);
  }

  CommandResult run(const Strings& arguments) { return run_program(dir_.path(), arguments); }

  TempDir dir_;
  FaultFileSystem files_{posix_file_system()};
  CompareOptions options_ = [] {
    CompareOptions options;
    options.graph.threads = 2;
    return options;
  }();
};

// Any disk of a size, told by a number, and one that is nearly the same or not at all, stored
// differently.
class RandomPair {
 public:
  explicit RandomPair(std::uint64_t seed) : seed_(mix(seed)) {
    const std::uint64_t links = 1 + choose(3);
    one = random_layout(choose(1000), (1 + choose(3000)) * 512, 4096U << choose(5), links);
    other =
        choose(8) == 0 ? random_layout(choose(1000), (1 + choose(3000)) * 512, 8192, links) : one;
    for (std::uint64_t changes = choose(3); changes > 0; --changes) change();
    if (choose(3) == 0) resize();
    alike = choose(2) == 0;
    one_options = random_options(links);
    other_options = alike ? one_options : random_options(links);
  }

  // Of flat disks, qemu-img's strict mode takes the last range of the disk, up to its end, for
  // another one than a range that ends before it, however they are stored. (Of chains of grains of
  // different sizes, too, but in very few: not in these.)
  [[nodiscard]] bool has_grains() const {
    constexpr std::array kFlat{monolithic_flat, two_gb_flat, vmfs, raw};
    return std::ranges::find(kFlat, one_options.back().kind) == kFlat.end();
  }

  Layout one;
  Layout other;
  bool alike = false;  // stored in the same way
  std::vector<LinkOptions> one_options;
  std::vector<LinkOptions> other_options;

 private:
  std::uint64_t choose(std::uint64_t bound) { return mix(seed_ + ++salt_) % bound; }

  // Another kind of bytes, of zeros or of nothing, in a segment of the top link.
  void change() {
    std::vector<Segment>& segments = other.links.back().segments;
    Segment& segment = segments[choose(segments.size())];
    segment.kind = "Axrz0-"[choose(6)];
    if (segment.kind == 'x') segment.kind = 'X';
  }

  // The top link ends later or earlier.
  void resize() {
    std::vector<Segment>& segments = other.links.back().segments;
    if (choose(2) == 0 && segments.size() > 1) {
      segments.pop_back();
    } else {
      constexpr std::array kKinds{'0', '-', 'z', 'A'};
      segments.push_back({segments.back().end(), (1 + choose(300)) * 512, kKinds[choose(4)]});
    }
  }

  std::vector<LinkOptions> random_options(std::uint64_t links) {
    std::vector<LinkOptions> options;
    while (options.size() < links) options.push_back(random_link(options.empty(), links == 1));
    return options;
  }

  LinkOptions random_link(bool is_base, bool is_only) {
    // Those that can be a delta first.
    constexpr std::array kKinds{monolithic_sparse, two_gb_sparse, vmfs_sparse, stream_optimized,
                                monolithic_flat,   two_gb_flat,   vmfs,        raw};
    constexpr std::array kForms{StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu};
    LinkOptions link{.kind = kKinds[choose(!is_base ? 4 : is_only ? 8 : 7)]};
    link.grain_sectors = 8U << choose(5);
    if (link.kind == vmfs_sparse && choose(2) == 0) link.grain_sectors = 1;
    link.header_version = 1 + static_cast<std::uint32_t>(choose(3));
    link.placement = static_cast<Placement>(choose(3));
    link.last_grain = static_cast<LastGrain>(choose(3));
    link.stream.form = kForms[choose(kForms.size())];
    link.stream.deflate_level = static_cast<int>(choose(13));
    if (link.kind == two_gb_sparse || link.kind == two_gb_flat)
      link.split_size_bytes = (1 + choose(16)) * (64ULL << 10);
    return link;
  }

  std::uint64_t seed_;
  std::uint64_t salt_ = 0;
};

class RandomPairs : public Compare, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  // Where the bytes differ first; what is behind the end of the shorter disk counts as zeros.
  static std::optional<std::uint64_t> first_difference(const RandomPair& pair) {
    std::vector<std::byte> one = expected_bytes(pair.one, 0, pair.one.size_bytes());
    std::vector<std::byte> other = expected_bytes(pair.other, 0, pair.other.size_bytes());
    one.resize(std::max(one.size(), other.size()));
    other.resize(one.size());
    const auto place = std::ranges::mismatch(one, other).in1;
    if (place == one.end()) return std::nullopt;
    return static_cast<std::uint64_t>(place - one.begin());
  }

  // The sectors that differ, as text() has them.
  static std::string all_differences(const RandomPair& pair) {
    std::vector<std::byte> one = expected_bytes(pair.one, 0, pair.one.size_bytes());
    std::vector<std::byte> other = expected_bytes(pair.other, 0, pair.other.size_bytes());
    one.resize(std::max(one.size(), other.size()));
    other.resize(one.size());
    Comparison expected{.report = CompareReport{}, .differences = {}};
    for (std::size_t at = 0; at < one.size(); at += 512) {
      if (std::equal(&one[at], &one[at] + 512, &other[at])) continue;
      std::vector<DiskDifference>& found = expected.differences;
      if (!found.empty() && found.back().guest_offset + found.back().length == at)
        found.back().length += 512;
      else
        found.push_back({.guest_offset = at, .length = 512});
    }
    return expected.text();
  }

  static CommandResult ask_qemu(const Strings& flags, const fs::path& one, const fs::path& other) {
    Strings argv = {"qemu-img", "compare", "-U"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    argv.insert(argv.end(), {"-f", one.extension() == ".raw" ? "raw" : "vmdk", "-F",
                             other.extension() == ".raw" ? "raw" : "vmdk", one, other});
    return run_command(argv);
  }

  // What our program says of it with the same flags, but the lines that are only ours.
  CommandResult ask_us(const Strings& flags, const fs::path& one, const fs::path& other) {
    Strings arguments = {"compare", "-U"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    for (const auto& [flag, image] : {std::pair("-f", one), std::pair("-F", other)})
      if (image.extension() == ".raw") arguments.insert(arguments.end(), {flag, "raw"});
    arguments.insert(arguments.end(), {one, other});
    CommandResult result = run(arguments);
    std::istringstream lines(result.out);
    result.out.clear();
    for (std::string line; std::getline(lines, line);)
      if (line.ends_with('!') || line == "Images are identical.") result.out += line + "\n";
    return result;
  }

  void expect_qemu_agrees(const Strings& flags, const fs::path& one, const fs::path& other,
                          bool in_words = true) {
    const CommandResult theirs = ask_qemu(flags, one, other);
    const CommandResult ours = ask_us(flags, one, other);
    EXPECT_EQ(ours.exit_status, theirs.exit_status) << ours.err << theirs.err;
    if (in_words) {
      EXPECT_EQ(ours.out, theirs.out);
    }
  }
};

TEST_P(RandomPairs, AreComparedAsTheirBytesAndQemuSay) {
  constexpr std::uint64_t kPairsEach = 20;
  const bool has_qemu = has_qemu_img();
  for (std::uint64_t seed = GetParam(); seed < GetParam() + kPairsEach; ++seed) {
    const RandomPair pair(seed);
    SCOPED_TRACE(
        fmt::format("seed {}: {} and {}", seed, to_string(pair.one), to_string(pair.other)));
    const BuiltDisk one = build_disk(dir_.path(), "one", pair.one, pair.one_options);
    const BuiltDisk other = build_disk(dir_.path(), "other", pair.other, pair.other_options);

    options_.all = false;
    const Comparison first = compare_disks(one.path(), other.path());
    ASSERT_TRUE(IsOk(first.report));
    EXPECT_EQ(first.place(), first_difference(pair));
    options_.all = true;
    options_.graph.threads = 1 + static_cast<unsigned>(seed % 3);
    const Comparison all = compare_disks(one.path(), other.path());
    ASSERT_TRUE(IsOk(all.report));
    EXPECT_EQ(all.text(), all_differences(pair));
    EXPECT_EQ(all.place(), first_difference(pair));
    if (has_qemu) expect_qemu_agrees({}, one.path(), other.path());
    if (has_qemu && pair.alike)
      expect_qemu_agrees({"-s"}, one.path(), other.path(), pair.has_grains());

    if (HasFailure()) return;
    for (const BuiltDisk* disk : {&one, &other})
      for (const fs::path& path : disk->files()) fs::remove(path);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPairs, ::testing::Range<std::uint64_t>(0, 200, 20));

TEST_F(Compare, ZerosOfAnyFormAreTheSame) {
  const Strings layouts = {"64k:A 192k:-", "64k:A 64k:0 128k:-", "64k:A 192k:z"};
  for (const std::string& one : layouts) {
    for (const std::string& other : layouts) {
      build("one", one, {.header_version = 2});
      build("other", other, {.header_version = 2});
      options_.strict = false;
      const Comparison loose = compare_disks(dir_ / "one.vmdk", dir_ / "other.vmdk");
      ASSERT_TRUE(IsOk(loose.report));
      EXPECT_TRUE(loose.report->same()) << one << " and " << other;
      options_.strict = true;
      const Comparison strict = compare_disks(dir_ / "one.vmdk", dir_ / "other.vmdk");
      ASSERT_TRUE(IsOk(strict.report));
      EXPECT_EQ(strict.report->same(), one == other) << one << " and " << other;
    }
  }
}

TEST_F(Compare, AFlippedBitIsFoundWhereverItIs) {
  const Layout layout = random_layout(7, kMiB + 3 * std::uint64_t{512}, kGrain);
  build_disk(dir_.path(), "one", layout, {.kind = stream_optimized});
  for (const Kind kind : {monolithic_sparse, monolithic_flat, raw}) {
    const BuiltDisk disk = build_disk(dir_.path(), "other", layout, {.kind = kind});
    const BuiltExtent& extent = disk.links[0].extents[0];
    for (std::uint64_t salt = 0; salt < 40; ++salt) {
      std::uint64_t place = mix(salt) % layout.size_bytes();
      std::uint64_t in_file = extent.file_offset + place;
      if (kind == monolithic_sparse) {
        const GrainPlace& grain = extent.grains[place % extent.grains.size()];
        const std::uint64_t skip =
            place % std::min(kGrain, layout.size_bytes() - grain.guest_offset);
        place = grain.guest_offset + skip;
        in_file = grain.data_offset + skip;
      }
      flip_bits(extent.path, in_file, 1U << salt % 8);
      for (const bool all : {false, true}) {
        options_.all = all;
        const Comparison found = compare_disks(dir_ / "one.vmdk", disk.path());
        ASSERT_TRUE(IsOk(found.report));
        EXPECT_EQ(found.place(), place);
        if (all) {
          EXPECT_EQ(found.text(), fmt::format("d{}+512", place / 512 * 512));
        }
      }
      flip_bits(extent.path, in_file, 1U << salt % 8);
    }
    EXPECT_TRUE(compare_disks(dir_ / "one.vmdk", disk.path()).report->same());
    for (const fs::path& path : disk.files()) fs::remove(path);
  }
}

TEST_F(Compare, DisksOfOtherFormats) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  const BuiltDisk disk =
      build_disk(dir_.path(), "disk", random_layout(5, 2 * kMiB + 512, kGrain, 2));
  const fs::path copy = dir_ / "copy.qcow2";
  for (const Strings& how : {Strings{}, Strings{"-c"}, Strings{"-c", "-o", "compression_type=zstd"},
                             Strings{"-o", "cluster_size=2M"}}) {
    Strings argv = {"qemu-img", "convert", "-O", "qcow2"};
    argv.insert(argv.end(), how.begin(), how.end());
    argv.insert(argv.end(), {disk.path(), copy});
    ASSERT_TRUE(run_command(argv).ok());
    const Comparison same = compare_disks(disk.path(), copy);
    ASSERT_TRUE(IsOk(same.report));
    EXPECT_TRUE(same.report->same());
    EXPECT_EQ(same.report->other_format, "qcow2");
  }
  fs::copy_file(copy, dir_ / "base.qcow2");
  ASSERT_TRUE(run_command({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
                           "base.qcow2", dir_ / "top.qcow2"})
                  .ok());
  ASSERT_TRUE(
      run_command({"qemu-io", "-f", "qcow2", "-c", "write -q -P 0x5a 300030 5", dir_ / "top.qcow2"})
          .ok());
  options_.all = true;
  EXPECT_EQ(compare_disks(dir_ / "base.qcow2", dir_ / "top.qcow2").text(), "d299520+1024");
  EXPECT_EQ(compare_disks(dir_ / "top.qcow2", disk.path()).text(), "d299520+1024");
}

// All reads of what is stored for these guest ranges fail, but those of the headers of compressed
// grains, which checking an image looks at.
void forbid_grains(FaultFileSystem& files, const BuiltExtent& extent, std::uint64_t begin,
                   std::uint64_t end) {
  for (const GrainPlace& grain : extent.grains)
    if (grain.guest_offset >= begin && grain.guest_offset < end)
      files.add({.path_end = extent.path.filename().string(),
                 .range_begin = grain.data_offset + 64,
                 .range_end = grain.data_offset + grain.stored_bytes});
}

TEST_F(Compare, OfASnapshotAndItsParentOnlyWhatWasChangedIsRead) {
  const Layout layout =
      parse_layout("1m:A 64k:- 1m:B 512k:r | 64k:^ 64k:C 896k:^ 64k:D 1m:^ 64k:0 448k:^");
  for (const Kind kind : {monolithic_sparse, stream_optimized}) {
    const std::vector<LinkOptions> options = {{.kind = kind}, {.header_version = 2}};
    const BuiltDisk disk = build_disk(dir_.path(), "disk", layout, options);
    const BuiltExtent& base = disk.links[0].extents[0];
    files_.clear();
    for (const auto& [begin, end] : {std::pair<std::uint64_t, std::uint64_t>{0, kGrain},
                                     {2 * kGrain, 33 * kGrain},
                                     {34 * kGrain, 41 * kGrain}})
      forbid_grains(files_, base, begin, end);
    options_.all = true;
    for (const bool swap : {false, true}) {
      const fs::path& one = disk.links[swap ? 0 : 1].path;
      const fs::path& other = disk.links[swap ? 1 : 0].path;
      const Comparison found = compare_disks(one, other);
      ASSERT_TRUE(IsOk(found.report));
      EXPECT_EQ(found.text(), "d65536+65536 d1048576+65536 d2162688+65536");
    }
    for (const fs::path& path : disk.files()) fs::remove(path);
  }
}

TEST_F(Compare, TheSameImageTwiceIsNotRead) {
  for (const Kind kind : {monolithic_sparse, stream_optimized}) {
    const BuiltDisk disk = build("disk", "1m:A 64k:- 100k:r", {.kind = kind});
    fs::remove(dir_ / "link.vmdk");
    fs::create_hard_link(disk.path(), dir_ / "link.vmdk");
    files_.clear();
    forbid_grains(files_, disk.links[0].extents[0], 0, 2 * kMiB);
    for (const std::string other : {"disk.vmdk", "link.vmdk"}) {
      const Comparison found = compare_disks(disk.path(), dir_ / other);
      ASSERT_TRUE(IsOk(found.report));
      EXPECT_TRUE(found.report->same());
    }
    fs::copy_file(disk.path(), dir_ / "copy.vmdk", fs::copy_options::overwrite_existing);
    EXPECT_TRUE(HasError(compare_disks(disk.path(), dir_ / "copy.vmdk").report, ErrorKind::io));
  }
}

class CompareFault : public Compare {
 protected:
  void SetUp() override {
    one_ = build("one", "1m:A 64k:- 1m:B 3s:C", {.kind = monolithic_flat}).path();
    other_ = build("other", "1m:A 64k:- 1m:B 3s:C", {.kind = monolithic_flat}).path();
  }
  void forbid(const std::string& name, std::uint64_t begin, std::uint64_t end) {
    files_.add({.path_end = name + "-flat.vmdk", .range_begin = begin, .range_end = end});
  }
  Comparison compare_them(bool all) {
    options_.all = all;
    return compare_disks(one_, other_);
  }

  fs::path one_;
  fs::path other_;
};

TEST_F(CompareFault, WhatCannotBeReadIsAnError) {
  forbid("other", 5 * kGrain + 4096, 5 * kGrain + 4097);
  forbid("one", 9 * kGrain, 9 * kGrain + 1);
  for (unsigned threads = 1; threads <= 4; ++threads) {
    options_.graph.threads = threads;
    const Comparison found = compare_them(false);
    ASSERT_TRUE(HasError(found.report, ErrorKind::io, "other-flat.vmdk"));
    EXPECT_EQ(found.report.error().offset, 5 * kGrain + 4096);
  }
}

TEST_F(CompareFault, TheLowestOfDifferencesAndErrorsDecides) {
  flip_bits(dir_ / "other-flat.vmdk", 5 * kGrain + 4095);
  forbid("one", 5 * kGrain + 4096, 9 * kGrain);
  for (unsigned threads = 1; threads <= 4; ++threads) {
    options_.graph.threads = threads;
    const Comparison found = compare_them(false);
    ASSERT_TRUE(IsOk(found.report));
    EXPECT_EQ(found.place(), 5 * kGrain + 4095);
  }
  forbid("one", 4096, 4097);
  EXPECT_TRUE(HasError(compare_them(false).report, ErrorKind::io));
}

TEST_F(CompareFault, AllRangesAreListedBehindOnesThatCannotBeRead) {
  forbid("other", 5 * kGrain + 8000, 5 * kGrain + 8300);
  forbid("one", 9 * kGrain - 1, 9 * kGrain + 1);
  flip_bits(dir_ / "other-flat.vmdk", 5 * kGrain + 1);
  flip_bits(dir_ / "one-flat.vmdk", 20 * kGrain + 700);
  const Comparison found = compare_them(true);
  ASSERT_TRUE(IsOk(found.report));
  EXPECT_EQ(found.text(), "d327680+512 u331776+8192 u585728+8192 d1311232+512");
  EXPECT_EQ(found.report->unreadable_bytes, 16384U);
  EXPECT_EQ(found.report->differing_bytes, 1024U);
  EXPECT_EQ(found.place(), 5 * kGrain + 1);
  EXPECT_FALSE(found.report->same());
}

TEST_F(CompareFault, EveryCallThatFailsIsAnError) {
  one_ = build_disk(dir_.path(), "chain", parse_layout("512k:A 64k:B | 64k:^ 512k:A"),
                    {.kind = monolithic_sparse})
             .path();
  other_ = build("stream", "64k:A 512k:A", {.kind = stream_optimized}).path();
  ASSERT_TRUE(IsOk(compare_them(false).report));
  for (const FileCall call : {FileCall::open, FileCall::read, FileCall::info}) {
    files_.clear();
    ASSERT_TRUE(IsOk(compare_them(false).report));
    const std::uint64_t calls = files_.count(call, ".vmdk");
    EXPECT_GT(calls, 0U);
    for (std::uint64_t n = 1; n <= calls; ++n) {
      files_.clear();
      files_.add({.call = call, .path_end = ".vmdk", .nth = n});
      const Comparison found = compare_them(false);
      // A read of payload is made again, smaller, to find what of it is lost.
      if (call == FileCall::read && found.report)
        EXPECT_TRUE(found.report->same()) << n;
      else
        EXPECT_TRUE(HasError(found.report, ErrorKind::io)) << n;
    }
  }
}

TEST_F(CompareFault, AFileThatShrinksIsDamaged) {
  files_.add({.path_end = "other-flat.vmdk", .nth = 2, .error_number = 0, .before = [&] {
                fs::resize_file(dir_ / "other-flat.vmdk", 3 * kGrain);
              }});
  EXPECT_TRUE(HasError(compare_them(false).report, ErrorKind::corrupt, "other-flat.vmdk"));
}

TEST_F(CompareFault, CancellingIsAnError) {
  std::atomic<bool> cancelled = true;
  options_.graph.cancelled = &cancelled;
  EXPECT_TRUE(HasError(compare_them(false).report, ErrorKind::cancelled));
  for (std::uint64_t n = 1; n <= 6; ++n) {
    cancelled = false;
    files_.clear();
    files_.add({.path_end = "one-flat.vmdk", .nth = n, .error_number = 0, .before = [&] {
                  cancelled = true;
                }});
    options_.graph.threads = 1 + static_cast<unsigned>(n % 3);
    EXPECT_TRUE(HasError(compare_them(n % 2 == 0).report, ErrorKind::cancelled));
  }
}

TEST_F(CompareFault, ADifferenceCountsThoughItWasCancelledMeanwhile) {
  flip_bits(dir_ / "one-flat.vmdk", 3);
  std::atomic<bool> cancelled = false;
  options_.graph.cancelled = &cancelled;
  options_.graph.threads = 1;
  files_.add({.path_end = "one-flat.vmdk", .nth = 1, .error_number = 0, .before = [&] {
                cancelled = true;
              }});
  const Comparison found = compare_them(false);
  ASSERT_TRUE(IsOk(found.report));
  EXPECT_EQ(found.place(), 3U);
}

TEST_F(Compare, ADamagedImageIsAnErrorThatNamesIt) {
  build("good", "256k:A");
  const BuiltDisk bad = build("bad", "256k:A");
  const BuiltExtent& extent = bad.links[0].extents[0];
  for (const std::uint64_t place : {extent.gte_offset_of(0), extent.redundant_gte_offset_of(0)})
    patch_word(bad.path(), place, 0x7fffffff);
  EXPECT_TRUE(HasError(compare_disks(dir_ / "good.vmdk", bad.path()).report, ErrorKind::corrupt,
                       "bad.vmdk"));
  EXPECT_TRUE(HasError(compare_disks(bad.path(), dir_ / "good.vmdk").report, ErrorKind::corrupt,
                       "bad.vmdk"));
}

TEST_F(Compare, ProgressCountsTheWholeDisk) {
  build("one", "1m:A 1m:- 64k:B", {.kind = stream_optimized});
  build("other", "1m:A 1m:- 64k:B 3m:-");
  Progress last;
  options_.graph.on_progress = [&](const Progress& progress) {
    EXPECT_GE(progress.guest_bytes, last.guest_bytes);
    last = progress;
  };
  ASSERT_TRUE(IsOk(compare_disks(dir_ / "one.vmdk", dir_ / "other.vmdk").report));
  EXPECT_EQ(last.guest_bytes, last.disk_bytes);
  EXPECT_EQ(last.disk_bytes, 5 * kMiB + kGrain);
  EXPECT_EQ(last.data_bytes, kMiB + kGrain);
}

TEST_F(Compare, DisksOfTerabytesWithoutDataTakeNoTime) {
  build("one", "3t:-", {.kind = two_gb_sparse, .grain_tables = GrainTables::needed});
  write_file(dir_ / "other.raw", "");
  fs::resize_file(dir_ / "other.raw", 4 * kTiB);
  const Comparison found = compare_disks(dir_ / "one.vmdk", dir_ / "other.raw");
  ASSERT_TRUE(IsOk(found.report));
  EXPECT_TRUE(found.report->same());
}

}  // namespace
}  // namespace grainmill::testing
