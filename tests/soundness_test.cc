// SPDX-License-Identifier: Apache-2.0
//
// What is healthy is sound to check(): no damage, nothing unchecked, no leak but where qemu-img
// sees one too. A false alarm is as bad as a missed one, for it teaches to ignore alarms.
//
// GRAINMILL_SOUND_IMAGES: how many images, from GRAINMILL_SOUND_SEED on (1).
#include "pipeline/check.h"
#include "tests/fakes/outcome.h"
#include "tests/random_image.h"
#include "tests/support/environment.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kImages = 100;

struct Checked {
  CheckReport report;
  std::string findings;
};

Checked check_image(const fs::path& path) {
  Checked checked;
  CheckOptions options;
  options.image = path;
  options.graph.threads = 2;
  options.on_finding = [&](const Finding& finding) {
    checked.findings += fmt::format("  {} {}: {}\n", severity_name(finding.severity), finding.code,
                                    finding.what.to_string());
  };
  const Result<CheckReport> report = check(posix_file_system(), options);
  EXPECT_TRUE(IsOk(report));
  if (report) checked.report = *report;
  return checked;
}

// qemu-img looks for leaks in qcow2 images alone, and in one link at a time.
bool qemu_sees_leaks(const RandomImage& image, const fs::path& folder) {
  constexpr int kLeaksFound = 3;
  for (const std::string& link : image.links())
    if (run_command({"qemu-img", "check", "-q", "-f", image.format(), (folder / link).string()})
            .exit_status == kLeaksFound)
      return true;
  return false;
}

TEST(Soundness, HealthyImagesAreSound) {
  if (!has_qemu_img() || !has_command("qemu-io")) GTEST_SKIP() << "no qemu-img, or no qemu-io";
  const std::uint64_t first = number_from_environment("GRAINMILL_SOUND_SEED", 1);
  const std::uint64_t images = number_from_environment("GRAINMILL_SOUND_IMAGES", kImages);
  std::map<std::string, int> families;
  int odd = 0;
  int leaking = 0;
  for (std::uint64_t seed = first; seed < first + images; ++seed) {
    const TempDir folder;
    std::optional<RandomImage> image;
    try {
      image.emplace(folder.path(), seed);
    } catch (const std::runtime_error& failed) {
      ADD_FAILURE() << "seed " << seed << ", while it was made: " << failed.what();
      continue;
    }
    ++families[image->family()];
    const Checked checked = check_image(image->path());
    const CheckReport& report = checked.report;
    odd += report.suspicious + report.cosmetic != 0 ? 1 : 0;
    leaking += report.leaked_bytes != 0 ? 1 : 0;
    const bool may_leak = report.leaked_bytes == 0 || image->leaves_grains() ||
                          qemu_sees_leaks(*image, folder.path());
    EXPECT_TRUE(report.damage == 0 && report.unchecked == 0 && may_leak)
        << "GRAINMILL_SOUND_SEED=" << seed << " GRAINMILL_SOUND_IMAGES=1\n"
        << checked.findings << "of an image that was made by\n"
        << image->story();
    EXPECT_EQ(report.links, image->links().size()) << "seed " << seed << '\n' << image->story();
  }
  for (const auto& [family, count] : families) fmt::print("{:20} {:5} images\n", family, count);
  fmt::print("{} with something odd about them, {} with leaks that are there\n", odd, leaking);
}

}  // namespace
}  // namespace grainmill::testing
