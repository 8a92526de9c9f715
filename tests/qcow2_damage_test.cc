// SPDX-License-Identifier: Apache-2.0
//
// Turns over every bit of the metadata of small qcow2 images, cuts them off everywhere, and asks
// one thing of whoever checks an image and then reads it all: it fails, or it gives exactly the
// bytes of the healthy disk. Where nothing in the format could tell, the test says so.
#include "engine/disk/disk.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qcow2_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

using Bytes = std::vector<std::byte>;

struct Form {
  std::string name;
  Qcow2Options options;
};

std::ostream& operator<<(std::ostream& out, const Form& form) { return out << form.name; }

constexpr std::string_view kLayout =
    "8k:A 3k:- 2k:0 4k:r 20k:- 1k:B 512s:- 7k:C 1s:D | 2k:^ 3k:E 1k:0 512s:^ 9k:F 10k:^ 8k:^";

class Qcow2Damage : public ::testing::TestWithParam<Form> {
 protected:
  Qcow2Damage() {
    Qcow2Builder base = build_qcow2_link(layout_, 0, GetParam().options);
    base_ = base.finish();
    top_.set_backing("a", "qcow2");
    whole_ = top_.finish();
  }

  // What a conversion would make of the image: nullopt for an error.
  static std::optional<Bytes> read(const Bytes& base, const Bytes& top) {
    MemoryFileSystem files;
    files.add("/a", base);
    files.add("/b", top);
    const Result<Disk> disk = Disk::open(files, "/b", {});
    constexpr std::uint64_t kLarge = 64 * kMiB;
    if (!disk || !disk->check()) return std::nullopt;
    Bytes bytes(std::min(disk->size_bytes(), kLarge));
    if (!disk->read_at(0, bytes)) return std::nullopt;
    return bytes;
  }

  enum class Outcome { refused, harmless, wrong };
  Outcome outcome_of(const Bytes& damaged) {
    const std::optional<Bytes> got = read(base_, damaged);
    if (!got) return Outcome::refused;
    return same_bytes(*got, want_) ? Outcome::harmless : Outcome::wrong;
  }
  void flip_all(std::uint64_t begin, std::uint64_t end) {
    Bytes damaged = whole_;
    for (std::uint64_t at = begin; at < end; ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        damaged[at] ^= static_cast<std::byte>(1U << bit);
        const Outcome outcome = outcome_of(damaged);
        if (outcome == Outcome::wrong) wrong_.emplace(at, bit);
        ++tally_[static_cast<std::size_t>(outcome)];
        damaged[at] = whole_[at];
      }
    }
  }

  Layout layout_ = parse_layout(kLayout);
  Qcow2Builder top_ = build_qcow2_link(layout_, 1, GetParam().options);
  Bytes base_;
  Bytes whole_;
  Bytes want_ = expected_bytes(layout_, 0, layout_.size_bytes());
  std::set<std::pair<std::uint64_t, unsigned>> wrong_;
  std::array<int, 3> tally_{};
};

TEST_P(Qcow2Damage, TheWholeImageIsSound) { EXPECT_EQ(outcome_of(whole_), Outcome::harmless); }

TEST_P(Qcow2Damage, OfTheHeader) {
  flip_all(0, 160);
  for (const auto& [at, bit] : wrong_) {
    SCOPED_TRACE("byte " + std::to_string(at) + ", bit " + std::to_string(bit));
    // The size of the disk is written here and nowhere else; data behind the end would tell.
    const bool in_size = at >= 24 && at < 32;
    // Another place of the L1 table, where it is empty: all that it referred to might belong to
    // snapshots.
    const bool in_l1_offset = at >= 40 && at < 48 && GetParam().options.snapshots != 0;
    EXPECT_TRUE(in_size || in_l1_offset);
  }
  EXPECT_GT(tally_[0], 500);
}

TEST_P(Qcow2Damage, OfTheL1Table) {
  flip_all(top_.l1_offset(), top_.l1_offset() + top_.l1_entries() * 8);
  EXPECT_TRUE(wrong_.empty());
  EXPECT_GT(tally_[0], 0);
}

TEST_P(Qcow2Damage, OfTheL2Tables) {
  for (std::uint64_t cluster = 0; cluster < top_.clusters(); ++cluster) {
    if (!top_.has_table(cluster)) continue;
    const std::uint64_t at = top_.entry_offset(cluster);
    flip_all(at, at + 8);
    // A cluster may be set to zeros at any time, with what it held kept below.
    if (GetParam().options.version >= 3) wrong_.erase({at + 7, 0});
  }
  EXPECT_EQ(wrong_, (std::set<std::pair<std::uint64_t, unsigned>>{}));
  EXPECT_GT(tally_[0], 0);
}

TEST_P(Qcow2Damage, OfTheRefcounts) {
  flip_all(top_.refcount_table_offset(), top_.refcount_table_offset() + 64);
  flip_all(top_.refcount_block_offset(0), top_.refcount_block_offset(0) + 512);
  EXPECT_TRUE(wrong_.empty());
  EXPECT_GT(tally_[0], 0);
}

TEST_P(Qcow2Damage, AtTheEnd) {
  for (std::size_t size = 0; size < whole_.size(); ++size) {
    // Every byte of where headers and the last table end, every 61st elsewhere.
    if (size > 200 && size + 600 < whole_.size() && size % 61 != 0) continue;
    const Bytes cut(whole_.begin(), whole_.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(outcome_of(cut), Outcome::refused) << size << " of " << whole_.size();
  }
}

// A table that lost its contents, or got those of something else.
TEST_P(Qcow2Damage, OfWholeClusters) {
  const std::uint64_t size = top_.cluster_bytes();
  const std::uint64_t data = top_.data_offset(2048 / size) / size * size;
  const std::vector<std::uint64_t> tables = {top_.l1_offset(), top_.entry_offset(0) / size * size,
                                             top_.refcount_table_offset(),
                                             top_.refcount_block_offset(0)};
  for (const std::uint64_t table : tables) {
    Bytes damaged = whole_;
    std::copy_n(whole_.begin() + static_cast<std::ptrdiff_t>(data), size,
                damaged.begin() + static_cast<std::ptrdiff_t>(table));
    // Any refcount but 0 will do.
    EXPECT_EQ(outcome_of(damaged) == Outcome::refused, table != tables.back()) << table;
    EXPECT_NE(outcome_of(damaged), Outcome::wrong) << table;
    for (const std::uint64_t other : tables) {
      if (other == table) continue;
      std::copy_n(whole_.begin() + static_cast<std::ptrdiff_t>(other), size,
                  damaged.begin() + static_cast<std::ptrdiff_t>(table));
      EXPECT_EQ(outcome_of(damaged), Outcome::refused) << other << " over " << table;
    }
  }
}

// Deflate has no checksum, and what qemu writes as zstd neither: some of this gives other bytes.
// But never more or less than a cluster, and never an accident.
TEST_P(Qcow2Damage, OfStreams) {
  if (GetParam().options.codec == Qcow2Codec::none) GTEST_SKIP() << "nothing is compressed";
  const std::uint64_t first = top_.data_offset(2048 / top_.cluster_bytes());
  flip_all(first, first + 300);
  EXPECT_GT(tally_[0], 50);
}

std::vector<Form> forms() {
  Qcow2Options v3{.cluster_bits = 9};
  Qcow2Options v2 = v3;
  v2.version = 2;
  Qcow2Options zlib = v3;
  zlib.codec = Qcow2Codec::zlib;
  zlib.cluster_bits = 12;
  Qcow2Options zstd = zlib;
  zstd.codec = Qcow2Codec::zstd;
  Qcow2Options snapshots = v3;
  snapshots.snapshots = 2;
  snapshots.refcount_order = 3;
  snapshots.cluster_bits = 10;
  return {{"v3", v3}, {"v2", v2}, {"zlib", zlib}, {"zstd", zstd}, {"snapshots", snapshots}};
}

INSTANTIATE_TEST_SUITE_P(Forms, Qcow2Damage, ::testing::ValuesIn(forms()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
