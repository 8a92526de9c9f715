// SPDX-License-Identifier: Apache-2.0
//
// nbdkit is killed in the middle of writes, again and again on the same image: it must be sound
// each time, and hold all that was flushed. GRAINMILL_KILLS says how often (default: 4 a disk).
#include "tests/nbd/nbd_server.h"
#include "tests/nbd/served_disk.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;

std::uint64_t kills() {
  const char* text = std::getenv("GRAINMILL_KILLS");
  return text == nullptr ? 4 : std::stoull(text);
}

std::vector<WritableCase> cases() {
  const LinkOptions sparse{};
  const LinkOptions sparse_4k{.grain_sectors = 8, .header_version = 2};
  const LinkOptions one_copy{.redundant_tables = false};
  const LinkOptions no_tables{.header_version = 2, .grain_tables = GrainTables::needed};
  const LinkOptions split{.kind = two_gb_sparse, .split_size_bytes = 5 << 20};
  const LinkOptions flat{.kind = monolithic_flat};
  return {
      {"sparse", {sparse}},
      {"one_copy", {one_copy}},
      {"split", {split}},
      {"flat", {flat}},
      {"chain_of_2_new", {flat, sparse}, 2, true},
      {"chain_of_2_no_tables", {sparse_4k, no_tables}, 2},
      {"chain_of_3_4k", {sparse, split, sparse_4k}, 3},
  };
}

class KilledServer : public ::testing::TestWithParam<WritableCase> {
 protected:
  void SetUp() override {
    if (!has_command("nbdkit")) GTEST_SKIP() << "no nbdkit";
    if (!has_stress_client()) GTEST_SKIP() << "no libnbd for " << kPython;
  }

  void kill_once(const ServedDisk& disk, std::uint64_t number) {
    const std::string seed = std::to_string(number + 1);
    const std::string state = dir_ / "state";
    const std::string after = dir_ / "after.raw";
    // Soon all grains are there, and then nothing is as easily lost.
    const double share = static_cast<double>(mix(number) % 1000) / 1000;
    const double seconds = number % 2 == 0 ? 0.02 + 0.04 * share : 0.3 * share;
    NbdServer server(disk.parameters());
    ASSERT_TRUE(server.is_up()) << server.log();
    const CommandResult crashed =
        run_stress({"crash", "--socket", server.socket(), "--shadow", disk.shadow(), "--seconds",
                    std::to_string(seconds), "--seed", seed, "--state", state, "--pid",
                    std::to_string(server.pid())});
    ASSERT_TRUE(crashed.ok()) << crashed.out << crashed.err << server.log();
    ASSERT_EQ(server.wait(), 128 + SIGKILL) << server.log();
    ASSERT_NO_FATAL_FAILURE(disk.expect_sound(after));
    const CommandResult judged =
        run_stress({"judge", "--image", after, "--shadow", disk.shadow(), "--state", state});
    ASSERT_TRUE(judged.ok()) << judged.out << judged.err;
  }

  // A server that ends well makes a clean image of it again.
  static void expect_mended(const ServedDisk& disk) {
    NbdServer server(disk.parameters());
    ASSERT_TRUE(server.is_up()) << server.log();
    const CommandResult result = run_stress({"run", "--socket", server.socket(), "--shadow",
                                             disk.shadow(), "--seconds", "0.1", "--seed", "99"});
    EXPECT_TRUE(result.ok()) << result.out << result.err << server.log();
    EXPECT_EQ(server.stop(), 0) << server.log();
    disk.expect_written_well();
  }

  TempDir dir_;
};

TEST_P(KilledServer, LeavesASoundDiskWithAllThatWasFlushed) {
  constexpr std::uint64_t kKillsEach = 2;
  for (std::uint64_t number = 0; number < kills(); number += kKillsEach) {
    const fs::path folder = dir_ / std::to_string(number);
    fs::create_directory(folder);
    const ServedDisk disk(folder, GetParam(), (24 << 20) + 1536);
    for (std::uint64_t i = 0; i < kKillsEach; ++i) {
      SCOPED_TRACE(number + i);
      kill_once(disk, number + i);
      if (HasFailure()) return;
    }
    expect_mended(disk);
    if (HasFailure()) return;
    fs::remove_all(folder);
  }
}

INSTANTIATE_TEST_SUITE_P(Disks, KilledServer, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
