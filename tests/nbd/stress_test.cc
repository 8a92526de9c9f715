// SPDX-License-Identifier: Apache-2.0
//
// Parallel requests of every kind through nbdkit, on disks of every kind that can be written, each
// byte checked; then the images by every reader there is. GRAINMILL_STRESS_SECONDS: how long, in
// sum (default: 16). Ten minutes by hand:
//
//   bazel test //tests/nbd:stress_test --test_env=GRAINMILL_STRESS_SECONDS=600 --test_timeout=3600
#include "tests/nbd/nbd_server.h"
#include "tests/nbd/served_disk.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

using enum Kind;

std::vector<WritableCase> cases() {
  const LinkOptions sparse{};
  const LinkOptions sparse_4k{.grain_sectors = 8, .header_version = 2};
  const LinkOptions sparse_1m{.grain_sectors = 2048};
  const LinkOptions small_tables{.grain_sectors = 16, .gtes_per_gt = 128, .header_version = 2};
  const LinkOptions one_copy{.redundant_tables = false};
  const LinkOptions no_tables{.header_version = 2, .grain_tables = GrainTables::needed};
  const LinkOptions scattered{.placement = Placement::shuffled, .grain_gap_sectors = 128};
  const LinkOptions split{.kind = two_gb_sparse, .split_size_bytes = 5 << 20};
  const LinkOptions flat{.kind = monolithic_flat, .flat_offset_sectors = 5};
  const LinkOptions flat_split{.kind = two_gb_flat, .split_size_bytes = (3 << 20) + 1536};
  const LinkOptions flat_vmfs{.kind = vmfs};
  const LinkOptions stream{.kind = stream_optimized};
  return {
      {"sparse", {sparse}},
      {"new", {sparse}, 1, true},
      {"sparse_4k", {sparse_4k}},
      {"sparse_1m", {sparse_1m}},
      {"one_copy", {one_copy}},
      {"scattered", {scattered}},
      {"split", {split}},
      {"flat", {flat}},
      {"flat_split", {flat_split}},
      {"vmfs", {flat_vmfs}},
      {"raw", {{.kind = raw}}},
      {"chain_of_3", {flat_split, split, sparse}, 3},
      {"chain_of_3_new", {flat_split, split, sparse}, 3, true},
      {"chain_of_3_4k", {stream, sparse_1m, sparse_4k}, 3},
      {"chain_of_3_no_tables", {flat_vmfs, small_tables, no_tables}, 3},
      {"chain_of_3_split", {sparse_1m, scattered, split}, 3},
      {"chain_of_10",
       {flat, sparse_4k, split, stream, sparse_1m, small_tables, sparse, one_copy, scattered,
        sparse},
       10},
      {"chain_of_10_new", {stream, sparse_4k, sparse_1m}, 10, true},
  };
}

class Stress : public ::testing::TestWithParam<WritableCase> {
 protected:
  void SetUp() override {
    if (!has_command("nbdkit")) GTEST_SKIP() << "no nbdkit";
    if (!has_stress_client()) GTEST_SKIP() << "no libnbd for " << kPython;
  }

  static double seconds() {
    const char* text = std::getenv("GRAINMILL_STRESS_SECONDS");
    const double all = text == nullptr ? 16 : std::stod(text);
    return all / ::testing::UnitTest::GetInstance()->test_to_run_count();
  }

  TempDir dir_;
};

TEST_P(Stress, EveryByteIsRight) {
  // Neither whole grains nor whole tables.
  const ServedDisk disk(dir_.path(), GetParam(), (24 << 20) + 1536);
  // Twice, so that what the first server wrote is also written over by one that only read about it.
  for (const char* seed : {"1", "2"}) {
    NbdServer server(disk.parameters());
    ASSERT_TRUE(server.is_up()) << server.log();
    const CommandResult result =
        run_stress({"run", "--socket", server.socket(), "--shadow", disk.shadow(), "--seconds",
                    std::to_string(seconds() / 2), "--seed", seed},
                   seconds());
    EXPECT_TRUE(result.ok()) << result.out << result.err << server.log();
    EXPECT_EQ(server.stop(), 0) << server.log();
    EXPECT_EQ(server.log(), "");
    disk.expect_written_well();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Disks, Stress, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
