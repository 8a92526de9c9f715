// SPDX-License-Identifier: Apache-2.0
//
// The programs that people use with nbdkit, each on a disk of each kind.
#include "tests/conversion.h"
#include "tests/nbd/nbd_server.h"
#include "tests/nbd/served_disk.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;

constexpr std::uint64_t kSize = 24 << 20;

std::vector<WritableCase> cases() {
  const LinkOptions sparse{};
  const LinkOptions sparse_4k{.grain_sectors = 8, .header_version = 2};
  const LinkOptions split{.kind = two_gb_sparse, .split_size_bytes = 5 << 20};
  const LinkOptions flat{.kind = monolithic_flat};
  return {{"sparse", {sparse}},
          {"flat", {flat}},
          {"raw", {{.kind = raw}}},
          {"chain_of_3", {flat, split, sparse_4k}, 3}};
}

class Clients : public ::testing::TestWithParam<WritableCase> {
 protected:
  void SetUp() override {
    if (!has_command("nbdkit")) GTEST_SKIP() << "no nbdkit";
  }

  // Another program's run, which must succeed.
  void run(const std::vector<std::string>& command) const {
    CommandOptions options;
    options.working_dir = dir_.path();  // fio leaves files where it runs
    const CommandResult result = run_command(command, options);
    EXPECT_TRUE(result.ok()) << command[0] << '\n' << result.out << result.err << server_.log();
  }
  // Reads the served disk into the shadow, stops, and looks at the image.
  void finish() {
    run({"nbdcopy", server_.uri(), disk_.shadow()});
    EXPECT_EQ(server_.stop(), 0);
    EXPECT_EQ(server_.log(), "");
    disk_.expect_written_well();
  }

  TempDir dir_;
  ServedDisk disk_{dir_.path(), GetParam(), kSize};
  NbdServer server_{disk_.parameters()};
};

TEST_P(Clients, FioVerifies) {
  if (!has_command("fio")) GTEST_SKIP() << "no fio";
  if (run_command({"fio", "--enghelp=nbd"}).out.find("uri") == std::string::npos)
    GTEST_SKIP() << "this fio has no nbd engine";
  run({"fio", "--name=verify", "--ioengine=nbd", "--uri=" + server_.uri(), "--rw=randrw",
       "--bsrange=512-256k", "--blockalign=512", "--size=" + std::to_string(kSize), "--iodepth=16",
       "--loops=3", "--verify=xxhash", "--verify_fatal=1", "--do_verify=1", "--fsync=64"});
  if (!has_command("nbdcopy")) GTEST_SKIP() << "no nbdcopy";
  finish();
}

TEST_P(Clients, NbdcopyCopiesInAndOut) {
  if (!has_command("nbdcopy")) GTEST_SKIP() << "no nbdcopy";
  run({"nbdcopy", server_.uri(), dir_ / "out.raw"});
  expect_same_disks(dir_ / "out.raw", disk_.shadow());
  build_disk(dir_.path(), "new", random_layout(99, kSize, 65536), {.kind = raw});
  run({"nbdcopy", "--flush", dir_ / "new.raw", server_.uri()});
  run({"nbdcopy", server_.uri(), dir_ / "out.raw"});
  expect_same_disks(dir_ / "out.raw", dir_ / "new.raw");
  finish();
}

TEST_P(Clients, QemuIoReadsWhatItWrote) {
  if (!has_command("qemu-io")) GTEST_SKIP() << "no qemu-io";
  std::vector<std::string> command = {"qemu-io", "-f", "raw"};
  for (const char* step :
       {"write -P 1 0 24M", "aio_write -P 2 65k 1M", "aio_write -P 3 4M 2M",
        "aio_write -z -u 8M 3M", "aio_write -z 12345 3", "aio_flush", "discard 16M 1M",
        "write -f -P 4 20M 777", "read -P 1 0 12345", "read -P 0 12345 3", "read -P 2 65k 1M",
        "read -P 3 4M 2M", "read -P 0 8M 3M", "read -P 1 11M 5M", "read -P 4 20M 777", "flush"})
    command.insert(command.end(), {"-c", step});
  command.push_back(server_.uri());
  const CommandResult result = run_command(command);
  EXPECT_TRUE(result.ok()) << result.out << result.err;
  EXPECT_EQ(result.out.find("verification failed"), std::string::npos) << result.out;
  if (has_command("nbdcopy")) finish();
}

// nbdinfo joins neighbours of one kind, so they are joined here too.
TEST_P(Clients, NbdinfoSeesTheExtents) {
  if (!has_command("nbdinfo")) GTEST_SKIP() << "no nbdinfo";
  const CommandResult info = run_command({"nbdinfo", "--map", "--json", server_.uri()});
  ASSERT_TRUE(info.ok()) << info.err << server_.log();
  nlohmann::json seen = nlohmann::json::array();
  for (const nlohmann::json& extent : nlohmann::json::parse(info.out))
    seen.push_back({extent["offset"], extent["length"], extent["type"]});

  DiskOptions options;
  if (GetParam().is_raw()) options.format = "raw";
  const Result<Disk> disk = Disk::open(posix_file_system(), disk_.path(), options);
  ASSERT_TRUE(disk) << disk.error();
  ExtentList list;
  ASSERT_TRUE(disk->status(0, kSize, list));
  nlohmann::json known = nlohmann::json::array();
  for (const Extent& extent : list) {
    const int type = extent.reads_as_zero() ? 3 : 0;  // hole and zero, or data
    if (!known.empty() && known.back()[2] == type)
      known.back()[1] = known.back()[1].get<std::uint64_t>() + extent.length;
    else
      known.push_back({extent.guest_offset, extent.length, type});
  }
  EXPECT_EQ(seen, known);
  EXPECT_EQ(server_.stop(), 0);
}

INSTANTIATE_TEST_SUITE_P(Disks, Clients, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
