// SPDX-License-Identifier: Apache-2.0
//
// Does every kind of damage to every form of image and lets repair() undo it. What it says is sound
// afterwards has exactly the bytes of the healthy disk; where a copy of what is damaged survives,
// it is repaired. Prints how often each kind was.
#include "engine/base/sanitizers.h"
#include "tests/damage/damage.h"
#include "tests/damage/image_forms.h"
#include "tests/damage/victim.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string_view>

namespace grainmill::testing {
namespace {

struct Tally {
  std::size_t damaged = 0;
  std::size_t repaired = 0;
};

// By kind, over all forms; printed after the last test.
class Summary : public ::testing::Environment {
 public:
  Tally& operator[](const std::string& kind) { return tallies_[kind]; }
  void TearDown() override {
    fmt::print("{:34} {:>8} {:>8}\n", "damage", "damaged", "repaired");
    for (const auto& [kind, tally] : tallies_)
      fmt::print("{:34} {:8} {:8}\n", kind, tally.damaged, tally.repaired);
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

// What is always put right, wherever and in whichever form it is done.
constexpr std::string_view kRepaired[] = {"footer-capacity-down",
                                          "footer-capacity-up",
                                          "footer-compression",
                                          "footer-descriptor-offset",
                                          "footer-descriptor-size",
                                          "footer-flag-0",
                                          "footer-flag-1",
                                          "footer-flag-16",
                                          "footer-flag-2",
                                          "footer-flags-16-17",
                                          "footer-flags-unknown",
                                          "footer-flags-zeroed",
                                          "footer-gd-offset-impossible",
                                          "footer-gd-offset-shifted",
                                          "footer-grain-size-halved",
                                          "footer-grain-size-impossible",
                                          "footer-lost",
                                          "footer-magic",
                                          "footer-newline-bytes",
                                          "footer-table-size-doubled",
                                          "footer-table-size-halved",
                                          "footer-table-size-impossible",
                                          "footer-zeroed",
                                          "block-size-bigger",
                                          "block-size-smaller",
                                          "block-size-zero",
                                          "end-of-stream-garbage",
                                          "extent-access-changed",
                                          "extent-line-removed",
                                          "extent-lines-swapped",
                                          "extent-offset-changed",
                                          "gde-zeroed",
                                          "gte-free-slot",
                                          "gte-one",
                                          "gte-swapped",
                                          "gte-zeroed",
                                          "header-compression",
                                          "header-descriptor-offset",
                                          "header-descriptor-size",
                                          "header-flag-0",
                                          "header-flag-1",
                                          "header-flag-16",
                                          "header-flag-17",
                                          "header-flag-2",
                                          "header-flags-16-17",
                                          "header-flags-unknown",
                                          "header-flags-zeroed",
                                          "header-gd-offset-impossible",
                                          "header-magic",
                                          "header-newline-bytes",
                                          "header-rgd-offset-impossible",
                                          "marker-payload",
                                          "marker-type",
                                          "table-half-zeroed",
                                          "table-shifted",
                                          "table-zeroed"};
// The same where the other copy of the tables is whole.
constexpr std::string_view kRepairedByCopy[] = {
    "directory-byte-order", "directory-garbage", "gde-at-directory", "gde-in-header",
    "gde-one-sector-on",    "gde-past-end",      "gde-shared",       "gde-zeroed",
    "gte-at-end",           "gte-free-slot",     "gte-in-header",    "gte-in-metadata",
    "gte-one-sector-back",  "gte-past-end",      "gte-shared",       "gte-zero-to-hole",
    "gte-zeroed",           "table-byte-order"};

bool must_be_repaired(const DamageKind& kind) {
  const std::string_view name = std::string_view(kind.name).substr(0, kind.name.find('/'));
  return kind.copy == TableCopyHit::none
             ? std::ranges::find(kRepaired, name) != std::end(kRepaired)
             : std::ranges::find(kRepairedByCopy, name) != std::end(kRepairedByCopy);
}

// Under a sanitizer all kinds still are, but not at all places: it takes four times as long.
constexpr std::size_t kStep = kHasAddressSanitizer ? 4 : 1;

class RepairTest : public ::testing::TestWithParam<ImageForm> {
 protected:
  void try_kind(const DamageKind& kind) {
    const std::size_t places = kind.places(victim_.disk());
    for (std::size_t place = 0; place < places; place += kStep) {
      SCOPED_TRACE(fmt::format("{} at place {}: {}", kind.name, place, kind.what));
      const bool no_trace = kind.leaves_no_trace && kind.leaves_no_trace(victim_.disk(), place);
      kind.apply(victim_.disk(), place);
      if (!no_trace && victim_.check_now().damage != 0) judge(kind);
      victim_.heal();
    }
  }

  void judge(const DamageKind& kind) {
    Tally& tally = summary()[kind.name];
    ++tally.damaged;
    std::string log;
    const Result<RepairReport> report = victim_.repair_now(log);
    if (!report || report->after.damage + report->after.unchecked != 0) {
      EXPECT_FALSE(must_be_repaired(kind)) << log;
      return;
    }
    const Verdict verdict = victim_.convert_now();
    EXPECT_EQ(verdict.outcome, Outcome::harmless) << verdict.detail << '\n' << log;
    if (verdict.outcome == Outcome::harmless) ++tally.repaired;
  }

  Victim victim_{GetParam()};
};

TEST_P(RepairTest, WhatIsSoundAgainHasTheSameBytes) {
  for (const DamageKind& kind : damage_kinds())
    if (kind.applies_to(victim_.disk())) try_kind(kind);
}

INSTANTIATE_TEST_SUITE_P(Forms, RepairTest, ::testing::ValuesIn(image_forms()),
                         [](const auto& form) { return form.param.name; });

}  // namespace
}  // namespace grainmill::testing
