// SPDX-License-Identifier: Apache-2.0
//
// Does every kind of damage to every form of image, at every place, and asks one thing of
// convert(): it fails, or it gives exactly the bytes of the healthy disk; and of check(), that it
// finds what makes convert() fail. Prints what came of each kind.
#include "tests/damage/damage.h"

#include "tests/damage/image_forms.h"
#include "tests/damage/random_damage.h"
#include "tests/damage/victim.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

namespace grainmill::testing {
namespace {

struct Tally {
  std::size_t refused = 0;
  std::size_t harmless = 0;
  std::size_t manifest_only = 0;
  std::size_t rescued = 0;
};

// By kind, over all forms; printed after the last test.
class Summary : public ::testing::Environment {
 public:
  Tally& operator[](const std::string& kind) { return tallies_[kind]; }
  void TearDown() override {
    fmt::print("{:34} {:>8} {:>8} {:>8} {:>8}\n", "damage", "refused", "harmless", "manifest",
               "rescued");
    for (const auto& [kind, tally] : tallies_)
      fmt::print("{:34} {:8} {:8} {:8} {:8}\n", kind, tally.refused, tally.harmless,
                 tally.manifest_only, tally.rescued);
  }

 private:
  std::map<std::string, Tally> tallies_;
};

Summary& summary() {
  static Summary* const kSummary =
      dynamic_cast<Summary*>(::testing::AddGlobalTestEnvironment(new Summary));
  return *kSummary;
}

// Made before RUN_ALL_TESTS.
const Summary& g_summary = summary();

// For each form; some 3000 in all.
constexpr std::uint64_t kRandomDamages = 150;

bool checks_every_bit(const std::string& form) {
  return form == "split" || form.starts_with("stream_") ||
         (form.starts_with("sparse_") && form != "sparse_single_copy");
}

class DamageTest : public ::testing::TestWithParam<ImageForm> {
 protected:
  void try_kind(const DamageKind& kind) {
    const std::size_t places = kind.places(victim_.disk());
    for (std::size_t place = 0; place < places; ++place) {
      SCOPED_TRACE(fmt::format("{} at place {}: {}", kind.name, place, kind.what));
      const bool no_trace = kind.leaves_no_trace && kind.leaves_no_trace(victim_.disk(), place);
      kind.apply(victim_.disk(), place);
      judge(victim_.convert_now(), no_trace, summary()[kind.name]);
      if (kind.copy != TableCopyHit::none && victim_.has_two_copies())
        try_rescue(kind, summary()[kind.name]);
      victim_.heal();
    }
  }

  void judge(const Verdict& verdict, bool no_trace, Tally& tally) {
    if (verdict.outcome == Outcome::refused) {
      ++tally.refused;
      EXPECT_TRUE(no_trace || !victim_.check_now().sound())
          << "refused, but sound: " << verdict.detail;
    } else if (verdict.outcome == Outcome::harmless) {
      ++tally.harmless;
    } else if (verdict.outcome == Outcome::wrong && no_trace) {
      ++tally.manifest_only;
      EXPECT_TRUE(victim_.manifest_tells()) << "not even the manifest tells";
    } else {
      ADD_FAILURE() << (verdict.outcome == Outcome::wrong ? "success with wrong bytes: " : "")
                    << verdict.detail;
    }
  }

  // Where one copy of the tables is whole, choosing it gives the disk back.
  void try_rescue(const DamageKind& kind, Tally& tally) {
    const bool primary_hit = kind.copy == TableCopyHit::primary;
    const Verdict verdict =
        victim_.convert_now(primary_hit ? TableChoice::redundant : TableChoice::primary);
    EXPECT_EQ(verdict.outcome, Outcome::harmless) << "no rescue: " << verdict.detail;
    ++tally.rescued;
  }

  Victim victim_{GetParam()};
};

TEST_P(DamageTest, HealthyImageConverts) {
  const Verdict verdict = victim_.convert_now();
  EXPECT_EQ(verdict.outcome, Outcome::harmless) << verdict.detail;
}

TEST_P(DamageTest, HealthyImageIsSound) {
  const CheckReport report = victim_.check_now();
  EXPECT_TRUE(report.sound());
  EXPECT_EQ(report.format, "vmdk");
}

TEST_P(DamageTest, NeverSucceedsWithWrongBytes) {
  for (const DamageKind& kind : damage_kinds())
    if (kind.applies_to(victim_.disk())) try_kind(kind);
}

// What describes a disk is checked wherever it is hit. Not in forms that have one copy of tables
// without checksums: there an entry may turn into another that is as good.
TEST_P(DamageTest, NoBitOfMetadataCountsForNothing) {
  if (!checks_every_bit(GetParam().name)) GTEST_SKIP() << "tables without a second copy";
  const std::vector<FileRegion> regions = checked_regions(victim_.disk());
  for (std::uint64_t i = 0; i < kRandomDamages; ++i) {
    SCOPED_TRACE(damage_at_random(regions, mix(i) + std::hash<std::string>()(GetParam().name)));
    judge(victim_.convert_now(), false, summary()["(at random)"]);
    victim_.heal();
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, DamageTest, ::testing::ValuesIn(image_forms()),
                         [](const auto& form) { return form.param.name; });

}  // namespace
}  // namespace grainmill::testing
