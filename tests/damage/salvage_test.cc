// SPDX-License-Identifier: Apache-2.0
//
// Does every kind of damage to every form of image and salvages it. What is said to be read has
// exactly the bytes of the healthy disk, unless damage was found that may be about any of it; what
// is said to be missing is zeros. Prints how much of each kind was saved.
#include "engine/base/sanitizers.h"
#include "engine/codec/zero_scan.h"
#include "tests/damage/damage.h"
#include "tests/damage/image_forms.h"
#include "tests/damage/victim.h"
#include "tests/support/file_bytes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {
namespace {

struct Tally {
  std::size_t damaged = 0;
  std::size_t refused = 0;
  std::size_t whole = 0;         // all of it was read, and nothing speaks against it
  double right = 0;              // of the data, the part that was saved, in all images
  std::size_t wrong_warned = 0;  // other bytes, with damage named that may be about any of them
};

// By kind, over all forms; printed after the last test.
class Summary : public ::testing::Environment {
 public:
  Tally& operator[](const std::string& kind) { return tallies_[kind]; }
  void TearDown() override {
    fmt::print("{:34} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "damage", "damaged", "refused", "whole",
               "saved", "warned");
    for (const auto& [kind, tally] : tallies_) {
      const std::size_t read = tally.damaged - tally.refused;
      fmt::print("{:34} {:8} {:8} {:8} {:7.1f}% {:8}\n", kind, tally.damaged, tally.refused,
                 tally.whole, read == 0 ? 0 : 100 * tally.right / static_cast<double>(read),
                 tally.wrong_warned);
    }
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

// These leave an image that reads as another one that was truncated or has bad grains: nothing
// tells which, and what is read beside them may be wrong.
constexpr std::string_view kMisleading[] = {"gde-at-directory", "header-grain-size-doubled"};

// Not at all places: those are for the repair to try.
constexpr std::size_t kStep = kHasAddressSanitizer ? 16 : 2;

class DamageSalvageTest : public ::testing::TestWithParam<ImageForm> {
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
    std::vector<RescuedRange> ranges;
    std::vector<std::byte> saved;
    const Result<SalvageReport> report = victim_.salvage_now(ranges, saved);
    if (!report) {
      ++tally.refused;
      EXPECT_FALSE(report.error().message.empty());
      return;
    }
    const std::vector<std::byte>& healthy = victim_.contents();
    ASSERT_EQ(saved.size(), report->disk_bytes);
    tally.whole += report->whole() ? 1U : 0U;
    tally.right += right_part(saved);
    if (report->damage != 0) {
      tally.wrong_warned += same_bytes(saved, healthy) ? 0U : 1U;
      return;
    }
    ASSERT_EQ(saved.size(), healthy.size());
    std::vector<std::byte> expected = healthy;
    for (const RescuedRange& range : ranges) {
      const std::span there = std::span(expected).subspan(range.begin, range.end - range.begin);
      if (range.status == RescueStatus::doubtful)
        std::ranges::copy(std::span(saved).subspan(range.begin, there.size()), there.begin());
      else
        std::ranges::fill(there, std::byte{0});
    }
    if (std::ranges::find(kMisleading, kind.name) != std::end(kMisleading)) {
      EXPECT_TRUE(same_bytes(saved, healthy) || !ranges.empty());
      return;
    }
    if (same_bytes(saved, expected)) return;
    const auto differ = std::ranges::mismatch(saved, expected);
    EXPECT_EQ(differ.in1, saved.end())
        << fmt::format("wrong from {:#x} on: {:02x} instead of {:02x}\n",
                       differ.in1 - saved.begin(), std::to_integer<int>(*differ.in1),
                       std::to_integer<int>(*differ.in2))
        << listed(ranges);
  }

  static std::string listed(const std::vector<RescuedRange>& ranges) {
    std::string text;
    for (const RescuedRange& range : ranges)
      text += fmt::format("{} {:#x} to {:#x}: {}\n", rescue_status_name(range.status), range.begin,
                          range.end, range.why);
    return text;
  }

  // Of the blocks of the healthy disk that hold data.
  double right_part(std::span<const std::byte> saved) const {
    constexpr std::size_t kBlock = 4096;
    const std::span<const std::byte> healthy = victim_.contents();
    std::size_t data = 0;
    std::size_t right = 0;
    for (std::size_t at = 0; at < healthy.size(); at += kBlock) {
      const auto block = healthy.subspan(at, std::min(kBlock, healthy.size() - at));
      if (is_zero(block)) continue;
      ++data;
      if (at + block.size() > saved.size()) continue;
      right += same_bytes(saved.subspan(at, block.size()), block) ? 1U : 0U;
    }
    return data == 0 ? 1 : static_cast<double>(right) / static_cast<double>(data);
  }

  Victim victim_{GetParam()};
};

TEST_P(DamageSalvageTest, WhatIsSaidToBeReadIsRight) {
  for (const DamageKind& kind : damage_kinds())
    if (kind.applies_to(victim_.disk())) try_kind(kind);
}

INSTANTIATE_TEST_SUITE_P(Forms, DamageSalvageTest, ::testing::ValuesIn(image_forms()),
                         [](const auto& form) { return form.param.name; });

}  // namespace
}  // namespace grainmill::testing
