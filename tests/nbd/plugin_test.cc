// SPDX-License-Identifier: Apache-2.0
//
// The plugin as nbdkit sees it: parameters, what it refuses and why, opening and closing.
#include "engine/base/sanitizers.h"
#include "tests/conversion.h"
#include "tests/nbd/nbd_server.h"
#include "tests/nbd/served_disk.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 1 << 20;

// Under a sanitizer nbdkit (with any plugin) hangs in exit(), in a library of its own, once a call
// has failed and its errno was put into words.
constexpr bool kHangsAfterFailedCalls = kHasShadowMemory;

class Plugin : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_command("nbdkit")) GTEST_SKIP() << "no nbdkit";
    if (!has_command("nbdinfo")) GTEST_SKIP() << "no nbdinfo";
  }

  fs::path build(const std::string& layout, const LinkOptions& options = {}) const {
    return build_disk(dir_.path(), "disk", parse_layout(layout), options).path();
  }
  static CommandResult size_of(const std::string& uri) {
    return run_command({"nbdinfo", "--size", uri});
  }
  static void expect_served(const std::vector<std::string>& parameters,
                            const std::vector<std::string>& options = {}) {
    NbdServer server(parameters, options);
    ASSERT_TRUE(server.is_up()) << server.log();
    const CommandResult size = size_of(server.uri());
    EXPECT_EQ(size.out, std::to_string(kSize) + "\n") << size.err << server.log();
    EXPECT_EQ(server.stop(), 0) << server.log();
  }
  // Whether nbdkit starts or not: no client gets in, and the reason is on its standard error.
  static void expect_refused(const std::vector<std::string>& parameters,
                             const ::testing::Matcher<std::string>& reason) {
    NbdServer server(parameters);
    if (server.is_up()) {
      EXPECT_FALSE(size_of(server.uri()).ok());
      EXPECT_EQ(server.stop(), 0);
    }
    EXPECT_THAT(server.log(), reason);
  }

  TempDir dir_;
};

TEST_F(Plugin, TellsWhatItIs) {
  const CommandResult dump = run_command(nbdkit_command({"--dump-plugin"}, {}));
  EXPECT_TRUE(dump.ok()) << dump.err;
  EXPECT_THAT(dump.out, AllOf(HasSubstr("name=grainmill\n"), HasSubstr("thread_model=parallel\n"),
                              HasSubstr("magic_config_key=file\n")));
  const CommandResult help = run_command(nbdkit_command({"--help"}, {}));
  EXPECT_TRUE(help.ok()) << help.err;
  EXPECT_THAT(help.out, AllOf(HasSubstr("IMAGE"), HasSubstr("allow-dir=")));
}

// Linkers let a weak copy of what libstdc++.so exports too (_ZNSt...) be seen, so that there is one
// of it in a process, whatever the version script says.
TEST_F(Plugin, ExportsOneSymbolOfItsOwn) {
  if (!has_command("nm")) GTEST_SKIP() << "no nm";
  const CommandResult symbols =
      run_command({"nm", "-D", "--defined-only", "--format=just-symbols", plugin_path()});
  std::istringstream lines(symbols.out);
  std::string own;
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("_ZNSt") && !line.starts_with("_ZNKSt")) own += line + "\n";
  EXPECT_EQ(own, "plugin_init\n") << symbols.err;
}

TEST_F(Plugin, RefusesParametersThatItDoesNotKnow) {
  const std::string image = "file=" + build("1m:A").string();
  expect_refused({}, HasSubstr("file=IMAGE is missing"));
  expect_refused({image, image}, HasSubstr("comes twice"));
  expect_refused({image, "fromat=raw"}, HasSubstr("'fromat' is not a parameter"));
  expect_refused({image, "format=qcow9"}, HasSubstr("'qcow9' is not known"));
  expect_refused({image, "ignore-cid=maybe"}, HasSubstr("neither true nor false"));
}

TEST_F(Plugin, SaysThatThereIsNoImage) {
  if (kHangsAfterFailedCalls) GTEST_SKIP() << "sanitized";
  expect_refused({"file=/nowhere/disk.vmdk"}, HasSubstr("No such file"));
}

TEST_F(Plugin, OffersAllThatADiskCanDo) {
  NbdServer server({build("1m:A", {.grain_sectors = 256})});
  ASSERT_TRUE(server.is_up()) << server.log();
  const CommandResult info = run_command({"nbdinfo", "--json", server.uri()});
  ASSERT_TRUE(info.ok()) << info.err;
  const nlohmann::json answer = nlohmann::json::parse(info.out)["exports"][0];
  for (const char* offer :
       {"can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero", "can_cache", "can_df"})
    EXPECT_TRUE(answer[offer]) << offer;
  EXPECT_FALSE(answer["is_read_only"]);
  EXPECT_EQ(answer["export-size"], kSize);
  EXPECT_EQ(answer["block_size_minimum"], 1);
  EXPECT_EQ(answer["block_size_preferred"], 128 << 10);
  EXPECT_EQ(answer["block_size_maximum"], 32 << 20);
}

TEST_F(Plugin, ReadsWhatCannotBeWritten) {
  const fs::path stream = build("512k:A 512k:-", {.kind = stream_optimized});
  expect_refused({stream}, AllOf(HasSubstr(stream), HasSubstr("stream-optimised")));
  expect_served({stream}, {"-r"});
  const fs::path cowd = build("512k:A 512k:-", {.kind = vmfs_sparse});
  expect_refused({cowd}, AllOf(HasSubstr("disk-delta.vmdk"), HasSubstr("COWD")));
  expect_served({cowd}, {"-r"});
}

TEST_F(Plugin, DoesNotWriteAboveAParentThatChanged) {
  const Layout layout = parse_layout("1m:A | 512k:B 512k:^");
  const std::vector<LinkOptions> links = {{}, {.descriptor = {.parent_cid = 0x12345678}}};
  const fs::path image = build_disk(dir_.path(), "disk", layout, links).path();
  expect_refused({image}, HasSubstr("12345678"));
  expect_refused({image, "ignore-cid=true"}, HasSubstr("12345678"));
  expect_served({image, "ignore-cid=true"}, {"-r"});
}

TEST_F(Plugin, KeepsToTheFilesThatItMayOpen) {
  if (kHangsAfterFailedCalls) GTEST_SKIP() << "sanitized";
  const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout("1m:A | 1m:^"));
  fs::create_directory(dir_ / "elsewhere");
  const fs::path parent = disk.links[0].path;
  fs::rename(parent, dir_ / "elsewhere" / parent.filename());
  const LinkOptions link{
      .descriptor = {.parent_hint = "../elsewhere/" + parent.filename().string()}};
  fs::create_directory(dir_ / "here");
  const BuiltLink top =
      build_link(dir_ / "here", "disk", parse_layout("1m:A | 1m:^"), 1, link, &disk.links[0]);
  expect_refused({top.path}, HasSubstr("--allow-dir"));
  expect_served({top.path, "allow-dir=" + (dir_ / "elsewhere").string()});
  expect_served({top.path, "allow-any-path=true"});
}

TEST_F(Plugin, HasAnImageForItself) {
  const fs::path image = build("1m:A");
  NbdServer first({image});
  ASSERT_TRUE(first.is_up()) << first.log();
  EXPECT_TRUE(size_of(first.uri()).ok()) << first.log();
  expect_refused({image}, HasSubstr("in use"));
  EXPECT_EQ(first.stop(), 0);
  expect_served({image});
}

TEST_F(Plugin, ChangesNothingUntilItIsWrittenTo) {
  const fs::path image = build("512k:A 512k:-");
  const CommandResult before = run_command({"sha256sum", image});
  expect_served({image}, {"-r"});
  expect_served({image});
  EXPECT_EQ(run_command({"sha256sum", image}).out, before.out);
}

// In the background nbdkit has another process, and another folder.
TEST_F(Plugin, ServesFromTheBackground) {
  if (!has_command("qemu-io")) GTEST_SKIP() << "no qemu-io";
  const fs::path image = build("512k:A 512k:-");
  const SocketFolder folder;
  CommandOptions options;
  options.working_dir = image.parent_path();
  const CommandResult started = run_command(
      nbdkit_command({"-U", folder.socket(), "-P", folder / "pid"}, {image.filename()}), options);
  ASSERT_TRUE(started.ok()) << started.err;
  const CommandResult wrote = run_command({"qemu-io", "-f", "raw", "-c", "write -P 7 4k 600k", "-c",
                                           "read -P 7 4k 600k", folder.uri()});
  EXPECT_TRUE(wrote.ok()) << wrote.out << wrote.err;
  pid_t pid = 0;
  std::ifstream(folder / "pid") >> pid;
  ASSERT_GT(pid, 0);
  ::kill(pid, SIGTERM);
  for (int i = 0; ::kill(pid, 0) == 0; ++i) {
    ASSERT_LT(i, 5000) << "nbdkit does not end";
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  const Result<Disk> disk = Disk::open(posix_file_system(), image, {});
  ASSERT_TRUE(disk) << disk.error();
  EXPECT_FALSE(disk->link(0).description().unclean_shutdown);
  std::vector<std::byte> bytes(600 << 10);
  ASSERT_TRUE(disk->read_at(4096, bytes));
  EXPECT_TRUE(bytes == std::vector<std::byte>(bytes.size(), std::byte{7}));
}

}  // namespace
}  // namespace grainmill::testing
