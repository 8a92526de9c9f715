// SPDX-License-Identifier: Apache-2.0
//
// Does every kind of damage to every form of image and lets repair() undo it. What it says is sound
// afterwards has exactly the bytes of the healthy disk; where a copy of what is damaged survives,
// it is repaired. Prints how often each kind was.
#include "tests/damage/damage.h"
#include "tests/damage/image_forms.h"
#include "tests/damage/victim.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

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

class RepairTest : public ::testing::TestWithParam<ImageForm> {
 protected:
  void try_kind(const DamageKind& kind) {
    const std::size_t places = kind.places(victim_.disk());
    for (std::size_t place = 0; place < places; ++place) {
      SCOPED_TRACE(fmt::format("{} at place {}: {}", kind.name, place, kind.what));
      const bool no_trace = kind.leaves_no_trace && kind.leaves_no_trace(victim_.disk(), place);
      kind.apply(victim_.disk(), place);
      if (!no_trace && victim_.check_now().damage != 0) judge(summary()[kind.name]);
      victim_.heal();
    }
  }

  void judge(Tally& tally) {
    ++tally.damaged;
    std::string log;
    const Result<RepairReport> report = victim_.repair_now(log);
    if (!report || report->after.damage + report->after.unchecked != 0) return;
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
