// SPDX-License-Identifier: Apache-2.0
//
// A file system inside a VMDK, made, written and read by Linux itself: nbdfuse shows the served
// disk as a file, and that is mounted. Needs root, FUSE and a loop device; skipped otherwise.
#include "tests/nbd/nbd_server.h"
#include "tests/nbd/process.h"
#include "tests/nbd/served_disk.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;

constexpr const char* kMake = "/usr/sbin/mke2fs";
constexpr const char* kCheck = "/usr/sbin/e2fsck";
constexpr const char* kDebug = "/usr/sbin/debugfs";
constexpr const char* kTrim = "/usr/sbin/fstrim";

class FuseFile {
 public:
  FuseFile(const NbdServer& server, const fs::path& folder) : mount_(folder / "fuse") {
    fs::create_directory(mount_);
    process_.emplace(std::vector<std::string>{"nbdfuse", path(), server.uri()}, folder / "log");
    is_up_ = process_->wait_for_file(path());
  }
  ~FuseFile() {
    if (is_up_) unmount();
  }
  FuseFile(const FuseFile&) = delete;
  FuseFile& operator=(const FuseFile&) = delete;

  bool is_up() const { return is_up_; }
  std::string log() const { return process_->log(); }
  fs::path path() const { return mount_ / "disk"; }
  void unmount() {
    is_up_ = false;
    const CommandResult result = run_command({"fusermount3", "-u", mount_});
    EXPECT_TRUE(result.ok()) << result.err;
    if (!result.ok()) return;
    EXPECT_EQ(process_->wait(), 0);
    fs::remove(mount_);
  }

 private:
  fs::path mount_;
  std::optional<Process> process_;
  bool is_up_ = false;
};

class LoopMount {
 public:
  LoopMount(const fs::path& file, const fs::path& folder, const std::string& options)
      : path_(folder / "mounted") {
    fs::create_directory(path_);
    result_ = run_command({"mount", "-t", "ext4", "-o", "loop," + options, file, path_});
  }
  ~LoopMount() {
    if (is_up()) expect_unmounted();
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;

  bool is_up() const { return result_.ok(); }
  const std::string& problem() const { return result_.err; }
  const fs::path& path() const { return path_; }

 private:
  void expect_unmounted() const {
    const CommandResult result = run_command({"umount", path_});
    EXPECT_TRUE(result.ok()) << result.err;
  }

  fs::path path_;
  CommandResult result_;
};

class FileSystemInside : public ::testing::TestWithParam<WritableCase> {
 protected:
  static constexpr std::uint64_t kSize = 64 << 20;
  static constexpr int kFiles = 40;

  void SetUp() override {
    if (!has_command("nbdkit")) GTEST_SKIP() << "no nbdkit";
    if (!has_command("nbdfuse")) GTEST_SKIP() << "no nbdfuse";
    if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "no access to /dev/fuse";
    if (!fs::exists(kMake)) GTEST_SKIP() << "no mke2fs";
  }

  static std::vector<char> content(int number) {
    const std::uint64_t seed = mix(static_cast<std::uint64_t>(number));
    std::vector<char> bytes(seed % (1 << 20));
    fill_pattern('r', seed % 4096 * 8, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  static std::string name(int number) { return "file-" + std::to_string(number); }

  static void write_files(const fs::path& folder) {
    for (int i = 0; i < kFiles; ++i) {
      std::ofstream file(folder / name(i), std::ios::binary);
      const std::vector<char> bytes = content(i);
      file.write(bytes.data(), std::ssize(bytes));
    }
    for (int i = 0; i < kFiles; i += 3) fs::remove(folder / name(i));
  }
  static void expect_files(const fs::path& folder) {
    for (int i = 0; i < kFiles; ++i) {
      ASSERT_EQ(fs::exists(folder / name(i)), i % 3 != 0) << name(i);
      if (i % 3 == 0) continue;
      const std::vector<char> want = content(i);
      const std::span want_bytes = std::as_bytes(std::span(want));
      EXPECT_TRUE(std::ranges::equal(file_bytes(folder / name(i)), want_bytes)) << name(i);
    }
  }
  static void expect_success(const std::vector<std::string>& command) {
    const CommandResult result = run_command(command);
    EXPECT_TRUE(result.ok()) << command[0] << '\n' << result.out << result.err;
  }

  void fill_file_system(const fs::path& device) const {
    LoopMount mounted(device, dir_.path(), "discard");
    if (mounted.is_up()) {
      write_files(mounted.path());
      expect_success({kTrim, mounted.path()});
      return;
    }
    std::cout << "debugfs in place of the kernel: " << mounted.problem();
    const fs::path folder = dir_ / "files";
    fs::create_directory(folder);
    write_files(folder);
    std::ofstream commands(dir_ / "commands");
    for (const fs::directory_entry& file : fs::directory_iterator(folder))
      commands << "write " << file.path().string() << ' ' << file.path().filename().string()
               << '\n';
    commands.close();
    expect_success({kDebug, "-w", "-f", dir_ / "commands", device});
  }
  void expect_file_system(const fs::path& device) const {
    const LoopMount mounted(device, dir_.path(), "ro");
    if (mounted.is_up()) {
      expect_files(mounted.path());
      return;
    }
    const fs::path folder = dir_ / "dumped";
    fs::create_directory(folder);
    expect_success({kDebug, "-R", "rdump / " + folder.string(), device});
    expect_files(folder);
  }

  TempDir dir_;
};

TEST_P(FileSystemInside, IsMountedWrittenAndRead) {
  const ServedDisk disk(dir_.path(), GetParam(), kSize);
  {
    NbdServer server(disk.parameters());
    ASSERT_TRUE(server.is_up()) << server.log();
    FuseFile fuse(server, dir_.path());
    if (!fuse.is_up()) GTEST_SKIP() << "nbdfuse cannot mount: " << fuse.log();
    expect_success({kMake, "-q", "-F", "-t", "ext4", fuse.path()});
    fill_file_system(fuse.path());
    expect_success({kCheck, "-f", "-n", fuse.path()});
    fs::copy_file(fuse.path(), disk.shadow(), fs::copy_options::overwrite_existing);
    fuse.unmount();
    EXPECT_EQ(server.stop(), 0);
    EXPECT_EQ(server.log(), "");
  }
  disk.expect_written_well();

  NbdServer server(disk.parameters(), {"-r"});
  ASSERT_TRUE(server.is_up()) << server.log();
  FuseFile fuse(server, dir_.path());
  ASSERT_TRUE(fuse.is_up()) << fuse.log();
  expect_success({kCheck, "-f", "-n", fuse.path()});
  expect_file_system(fuse.path());
}

INSTANTIATE_TEST_SUITE_P(Disks, FileSystemInside,
                         ::testing::Values(WritableCase{"sparse", {{}}},
                                           WritableCase{"chain_of_3",
                                                        {{.kind = monolithic_flat},
                                                         {.kind = two_gb_sparse,
                                                          .split_size_bytes = 20 << 20},
                                                         {.grain_sectors = 8, .header_version = 2}},
                                                        3}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
