// SPDX-License-Identifier: Apache-2.0
//
// Turns over single bits of what describes a disk, and asks one thing of check(): it finds
// something, or the disk reads as before, by our reader and by the slow reference. Where a bit
// changes contents and nothing in the format could tell, the test says so.
//
// GRAINMILL_BIT_FLIPS: how many bits of each format in all; GRAINMILL_BIT_FLIP_SEED: which.
#include "engine/disk/disk.h"
#include "pipeline/check.h"
#include "tests/damage/image_forms.h"
#include "tests/damage/random_damage.h"
#include "tests/damage/victim.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/support/environment.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/reference_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kFlips = 2000;  // of each format, over all of its forms

std::uint64_t flips_of_each(std::size_t forms) {
  return (number_from_environment("GRAINMILL_BIT_FLIPS", kFlips) + forms - 1) / forms;
}
std::uint64_t seed_of(std::string_view form, std::uint64_t flip) {
  std::uint64_t seed = mix(number_from_environment("GRAINMILL_BIT_FLIP_SEED", 1));
  for (const char c : form) seed = mix(seed + static_cast<unsigned char>(c));
  return mix(seed + flip);
}

bool finds_something(const CheckReport& report) {
  return !report.sound() || report.suspicious != 0;
}

// How many of what was found, or not, by the part of the image that was hit; printed at the end.
class Tally : public ::testing::Environment {
 public:
  void count(const std::string& part, bool found) { ++counts_[part][found ? 0 : 1]; }
  void TearDown() override {
    fmt::print("{:32} {:>8} {:>8}\n", "bits turned over in the", "found", "harmless");
    for (const auto& [part, counts] : counts_)
      fmt::print("{:32} {:8} {:8}\n", part, counts[0], counts[1]);
  }

 private:
  std::map<std::string, std::array<int, 2>> counts_;
};

Tally& tally() {
  static auto* const kTally = dynamic_cast<Tally*>(::testing::AddGlobalTestEnvironment(new Tally));
  return *kTally;
}

// Made before RUN_ALL_TESTS.
const Tally& g_tally = tally();

std::vector<ImageForm> forms_with_tables() {
  std::vector<ImageForm> forms;
  for (const ImageForm& form : image_forms())
    if (!form.name.starts_with("flat") && form.name != "vmfs") forms.push_back(form);
  return forms;
}

class VmdkBitFlip : public ::testing::TestWithParam<ImageForm> {
 protected:
  // In a disk that only its descriptor puts together, nothing else tells where a part ends.
  static bool leaves_no_trace(const std::string& flipped) {
    return GetParam().name == "custom" && flipped.contains("in the descriptor");
  }
  // What the reference reads; what makes it refuse the image is for it to know.
  void expect_reference_agrees() {
    Bytes got;
    try {
      const ReferenceDisk disk = ReferenceDisk::open(victim_.disk().path());
      ASSERT_EQ(disk.size_bytes(), victim_.contents().size());
      got = disk.read(0, disk.size_bytes());
    } catch (const std::runtime_error&) {
      return;
    }
    EXPECT_TRUE(got == victim_.contents()) << "the reference reader reads other bytes";
  }

  Victim victim_{GetParam()};
};

TEST_P(VmdkBitFlip, IsFoundOrHarmless) {
  const std::vector<FileRegion> regions = metadata_regions(victim_.disk());
  const std::uint64_t flips = flips_of_each(forms_with_tables().size());
  for (std::uint64_t i = 0; i < flips; ++i) {
    const std::string flipped = flip_at_random(regions, seed_of(GetParam().name, i));
    SCOPED_TRACE(fmt::format("flip {}: {}", i, flipped));
    const bool found = finds_something(victim_.check_now());
    if (!found && !leaves_no_trace(flipped)) {
      const Verdict verdict = victim_.convert_now();
      EXPECT_EQ(verdict.outcome, Outcome::harmless) << "not found, and " << verdict.detail;
      expect_reference_agrees();
    }
    const std::size_t part = flipped.find("in the ") + 7;
    tally().count(flipped.substr(part, flipped.find(" of ", part) - part), found);
    victim_.heal();
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, VmdkBitFlip, ::testing::ValuesIn(forms_with_tables()),
                         [](const auto& form) { return form.param.name; });

struct Qcow2Form {
  std::string name;
  Qcow2Options options;
};

std::ostream& operator<<(std::ostream& out, const Qcow2Form& form) { return out << form.name; }

std::vector<Qcow2Form> qcow2_forms() {
  return {{"v3", {.cluster_bits = 9}},
          {"v2", {.version = 2, .cluster_bits = 9}},
          {"zlib", {.cluster_bits = 10, .codec = Qcow2Codec::zlib}},
          {"zstd", {.cluster_bits = 10, .codec = Qcow2Codec::zstd}},
          {"refcounts_of_1_bit", {.cluster_bits = 9, .refcount_order = 0}},
          {"refcounts_of_64_bits", {.cluster_bits = 9, .refcount_order = 6, .reversed = true}}};
}

constexpr std::string_view kQcow2Layout =
    "8k:A 3k:- 2k:0 4k:r 20k:- 1k:B 512s:- 7k:C 1s:D | 2k:^ 3k:E 1k:0 512s:^ 9k:F 10k:^ 8k:^";

class Qcow2BitFlip : public ::testing::TestWithParam<Qcow2Form> {
 protected:
  Qcow2BitFlip() {
    base_ = build_qcow2_link(layout_, 0, GetParam().options).finish();
    top_.set_backing("a", "qcow2");
    whole_ = top_.finish();
    add("header", 0, 160);
    add("L1 table", top_.l1_offset(), top_.l1_entries() * 8);
    for (std::uint64_t cluster = 0; cluster < top_.clusters(); ++cluster)
      if (top_.has_table(cluster)) add("L2 tables", top_.entry_offset(cluster), 8);
    add("refcount table", top_.refcount_table_offset(), 64);
    add("refcount block", top_.refcount_block_offset(0), top_.cluster_bytes());
  }

  struct Region {
    std::string what;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  void add(const std::string& what, std::uint64_t offset, std::uint64_t size) {
    regions_[what].push_back({what, offset, size});
  }

  struct Flip {
    std::string what;
    std::uint64_t at = 0;
    unsigned bit = 0;
    std::uint64_t in_region = 0;
  };
  Flip choose(std::uint64_t seed) const {
    const auto part =
        std::next(regions_.begin(), static_cast<std::ptrdiff_t>(mix(seed) % regions_.size()));
    const Region& region = part->second[mix(seed + 1) % part->second.size()];
    const std::uint64_t in_region = mix(seed + 2) % region.size;
    return {region.what, region.offset + in_region, static_cast<unsigned>(mix(seed + 3) % 8),
            in_region};
  }

  static CheckReport check_of(FileSystem& files) {
    CheckOptions options;
    options.image = "/b";
    options.graph.threads = 1;
    options.graph.memory_bytes = 16 << 20;
    const Result<CheckReport> report = check(files, options);
    EXPECT_TRUE(IsOk(report));
    return report.value_or(CheckReport{});
  }
  Bytes contents_by(FileSystem& files) const {
    const Result<Disk> disk = Disk::open(files, "/b", {});
    if (!disk || disk->size_bytes() != want_.size()) return {};
    Bytes bytes(want_.size());
    return disk->read_at(0, bytes) ? bytes : Bytes();
  }
  // The size of the disk is written in one place; that a cluster reads as zeros, while what it held
  // is kept, is a thing that writers do.
  bool leaves_no_trace(const Flip& flip) const {
    if (flip.what == "header") return flip.at >= 24 && flip.at < 32;
    return flip.what == "L2 tables" && flip.in_region == 7 && flip.bit == 0 &&
           GetParam().options.version >= 3;
  }

  Layout layout_ = parse_layout(kQcow2Layout);
  Qcow2Builder top_ = build_qcow2_link(layout_, 1, GetParam().options);
  Bytes base_;
  Bytes whole_;
  Bytes want_ = expected_bytes(layout_, 0, layout_.size_bytes());
  std::map<std::string, std::vector<Region>> regions_;
};

TEST_P(Qcow2BitFlip, IsFoundOrHarmless) {
  const std::uint64_t flips = flips_of_each(qcow2_forms().size());
  for (std::uint64_t i = 0; i < flips; ++i) {
    const Flip flip = choose(seed_of(GetParam().name, i));
    SCOPED_TRACE(
        fmt::format("flip {}: bit {} at {:#x}, in the {}", i, flip.bit, flip.at, flip.what));
    Bytes damaged = whole_;
    damaged[flip.at] ^= static_cast<std::byte>(1U << flip.bit);
    MemoryFileSystem files;
    files.add("/a", base_);
    files.add("/b", damaged);
    const bool found = finds_something(check_of(files));
    if (!found && !leaves_no_trace(flip)) {
      EXPECT_TRUE(same_bytes(contents_by(files), want_)) << "not found, and reads otherwise";
    }
    tally().count("qcow2 " + flip.what, found);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, Qcow2BitFlip, ::testing::ValuesIn(qcow2_forms()),
                         [](const auto& form) { return form.param.name; });

}  // namespace
}  // namespace grainmill::testing
