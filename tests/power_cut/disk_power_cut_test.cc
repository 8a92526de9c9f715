// SPDX-License-Identifier: Apache-2.0
//
// Power cuts while a disk is written: whatever arrived on the device, the image opens, passes every
// check, and each of its sectors holds what the last flush before the cut left there, or something
// that was written to it since.
#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "pipeline/commit.h"
#include "tests/fakes/outcome.h"
#include "tests/power_cut/power_cut_file_system.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <ostream>
#include <random>
#include <span>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kDiskBytes = 512 * kKiB + 3 * kSectorBytes;

struct Shape {
  std::string name;
  LinkOptions top;
  std::size_t links = 1;
};

// GoogleTest prints parameters by this.
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

std::vector<Shape> shapes() {
  return {
      {"sparse", {}, 1},
      {"sparse_on_parent", {}, 2},
      {"small_grains", {.grain_sectors = 8}, 2},
      {"zeroed", {.header_version = 2, .zero_grains = ZeroGrains::gte_one}, 2},
      {"one_copy", {.grain_sectors = 8, .redundant_tables = false}, 1},
      {"missing_tables",
       {.grain_sectors = 8, .gtes_per_gt = 16, .grain_tables = GrainTables::needed},
       2},
      {"split", {.kind = Kind::two_gb_sparse, .split_size_bytes = 256 * kKiB}, 2},
      {"flat", {.kind = Kind::monolithic_flat}, 1},
  };
}

DiskOptions writing() {
  DiskOptions options;
  options.open.mode = OpenMode::read_write;
  return options;
}

// What a sector may hold: every content is told by the change that put it there.
struct Change {
  int id = 0;  // its beginning is noted under this
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

class DiskPowerCutTest : public ::testing::TestWithParam<Shape> {
 protected:
  // Copies a chain that the builder made into memory.
  void SetUp() override {
    const TempDir folder;
    const Layout layout = random_layout(3, kDiskBytes, 64 * kKiB, GetParam().links);
    std::vector<LinkOptions> options(GetParam().links);
    options.back() = GetParam().top;
    const BuiltDisk built = build_disk(folder.path(), "disk", layout, options);
    for (const std::filesystem::path& path : built.files())
      files_.add("/vm/" + path.filename().string(), file_bytes(path));
    path_ = "/vm/" + built.path().filename().string();
    contents_ = expected_bytes(layout, 0, kDiskBytes);
    at_flush_[0] = contents_;
  }

  void change(Disk& disk, std::mt19937_64& random) {
    const std::uint64_t offset = random() % (kDiskBytes / kSectorBytes) * kSectorBytes;
    const std::uint64_t longest = random() % 4 == 0 ? 80 * kKiB : 6 * kKiB;
    const std::uint64_t length =
        std::min(kDiskBytes - offset, (1 + random() % (longest / kSectorBytes)) * kSectorBytes);
    Change made{next_id_++, offset, std::vector<std::byte>(length)};
    files_.note(made.id);
    if (random() % 4 != 0) {
      for (std::byte& byte : made.bytes) byte = std::byte(random());
      ASSERT_TRUE(IsOk(disk.write_at(offset, made.bytes)));
    } else {
      ASSERT_TRUE(IsOk(disk.write_zeroes(offset, length)));
    }
    std::ranges::copy(made.bytes, contents_.begin() + static_cast<std::ptrdiff_t>(offset));
    changes_.push_back(std::move(made));
  }

  void flush(Disk& disk) {
    ASSERT_TRUE(IsOk(disk.flush()));
    flushed();
  }
  void flushed() {
    const int id = next_id_++;
    files_.note(id);
    at_flush_[id] = contents_;
  }

  // What a cut left must be this image, and hold what was flushed.
  void expect_whole(PowerCut& cut) {
    const Result<Disk> disk = Disk::open(cut.files(), path_, {});
    ASSERT_TRUE(IsOk(disk)) << cut.story();
    ASSERT_TRUE(IsOk(disk->check())) << cut.story();
    std::vector<std::byte> got(kDiskBytes);
    ASSERT_TRUE(IsOk(disk->read_at(0, got))) << cut.story();
    expect_allowed(cut, got);
    if (HasFatalFailure() || ++states_ % 8 != 0) return;

    // The next writer clears up, and changes nothing.
    {
      Result<Disk> next = Disk::open(cut.files(), path_, writing());
      ASSERT_TRUE(IsOk(next)) << cut.story();
      ASSERT_TRUE(IsOk(next->close())) << cut.story();
    }
    const Result<Disk> again = Disk::open(cut.files(), path_, {});
    ASSERT_TRUE(IsOk(again)) << cut.story();
    ASSERT_TRUE(IsOk(again->check())) << cut.story();
    ASSERT_FALSE(again->link(0).description().unclean_shutdown);
    std::vector<std::byte> now(kDiskBytes);
    ASSERT_TRUE(IsOk(again->read_at(0, now)));
    ASSERT_TRUE(same_bytes(now, got)) << cut.story();
  }

  void expect_allowed(PowerCut& cut, const std::vector<std::byte>& got) {
    int last_flush = 0;
    for (const auto& [id, contents] : at_flush_)
      if (id == 0 || cut.has_note(id)) last_flush = id;
    const std::vector<std::byte>& sure = at_flush_.at(last_flush);
    for (std::uint64_t at = 0; at < kDiskBytes; at += kSectorBytes) {
      const auto holds = [&](const std::vector<std::byte>& bytes, std::uint64_t from) {
        return same_bytes(std::span(got).subspan(at, kSectorBytes),
                          std::span(bytes).subspan(from, kSectorBytes));
      };
      if (holds(sure, at)) continue;
      const bool written = std::ranges::any_of(changes_, [&](const Change& change) {
        return change.id > last_flush && cut.has_note(change.id) && change.offset <= at &&
               at < change.offset + change.bytes.size() && holds(change.bytes, at - change.offset);
      });
      ASSERT_TRUE(written) << fmt::format("guest offset {:#x}, last flush {}\n", at, last_flush)
                           << cut.story();
    }
  }

  std::size_t visit_states() {
    StateOptions options;
    const char* wanted = std::getenv("GRAINMILL_POWER_CUTS");
    options.random_states = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 1500;
    return files_.for_each_state(
        [this](PowerCut& cut) {
          expect_whole(cut);
          return !HasFailure();
        },
        options);
  }

  PowerCutFileSystem files_;
  std::string path_;
  std::vector<std::byte> contents_;
  std::vector<Change> changes_;
  std::map<int, std::vector<std::byte>> at_flush_;  // by the note
  int next_id_ = 1;
  std::size_t states_ = 0;
};

TEST_P(DiskPowerCutTest, LosesNothingThatWasFlushed) {
  std::mt19937_64 random(1);
  for (int session = 0; session < 2; ++session) {
    Result<Disk> disk = Disk::open(files_, path_, writing());
    ASSERT_TRUE(IsOk(disk));
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 3; ++k) change(*disk, random);
      flush(*disk);
    }
    change(*disk, random);
    ASSERT_TRUE(IsOk(disk->close()));
    flushed();
  }
  RecordProperty("states", static_cast<int>(visit_states()));
  EXPECT_GT(states_, 500U);
}

TEST_P(DiskPowerCutTest, RecoversFromACrashWithinARecovery) {
  std::mt19937_64 random(2);
  {
    Result<Disk> disk = Disk::open(files_, path_, writing());
    ASSERT_TRUE(IsOk(disk));
    for (int k = 0; k < 3; ++k) change(*disk, random);
    flush(*disk);
    for (int k = 0; k < 3; ++k) change(*disk, random);
  }
  Result<Disk> disk = Disk::open(files_, path_, writing());
  ASSERT_TRUE(IsOk(disk));
  // New grains that were not flushed went with the process.
  ASSERT_TRUE(IsOk(disk->read_at(0, contents_)));
  change(*disk, random);
  flush(*disk);
  visit_states();
}

INSTANTIATE_TEST_SUITE_P(Shapes, DiskPowerCutTest, ::testing::ValuesIn(shapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace grainmill::testing
