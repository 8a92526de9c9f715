// SPDX-License-Identifier: Apache-2.0
//
// Conversions onto block devices, here files behind loop devices: skipped for who may not have any.
#include "tests/conversion.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// A block device of this size, full of old contents.
class LoopDevice {
 public:
  LoopDevice(const fs::path& file, std::uint64_t size_bytes) {
    write_file(file, std::string(size_bytes, 'x'));
    CommandResult made = run_command({"losetup", "-f", "--show", file.string()});
    if (!made.ok()) return;
    made.out.pop_back();
    path_ = made.out;
  }
  ~LoopDevice() {
    if (!path_.empty()) run_command({"losetup", "-d", path_.string()});
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  // Empty if there is none to be had.
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class Device : public ::testing::Test {
 protected:
  void SetUp() override {
    if (device_.path().empty()) GTEST_SKIP() << "no loop devices, or not for this user";
    build_disk(dir_.path(), "disk", layout_);
  }
  CommandResult run(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"convert"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), {"disk.vmdk", device_.path().string()});
    return run_program(dir_.path(), arguments);
  }
  void expect_refused(const std::vector<std::string>& more, const std::string& word) {
    const CommandResult result = run(more);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
    expect_old_contents_from(0);
  }
  void expect_old_contents_from(std::uint64_t offset) {
    for (const std::byte byte : file_bytes(device_.path(), offset, kSize - offset))
      ASSERT_EQ(byte, std::byte{'x'});
  }
  void expect_disk() {
    const std::uint64_t size = layout_.size_bytes();
    expect_same_bytes(file_bytes(device_.path(), 0, size), expected_bytes(layout_, 0, size));
    expect_old_contents_from(size);
  }

  static constexpr std::uint64_t kSize = 8 << 20;
  Layout layout_ = parse_layout("64k:A 1m:- 3s:B 125s:- 64k:r 2m:0 64k:z 64k:C 5s:- 7s:D 1s:-");
  TempDir dir_;
  LoopDevice device_{dir_ / "device.img", kSize};
};

TEST_F(Device, HoldsTheDiskAndItsZeros) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{}, {"-n"}, {"-S", "0"}, {"--threads", "8"}}) {
    const CommandResult result = run(more);
    ASSERT_EQ(result.exit_status, 0) << result.err;
    expect_disk();
    EXPECT_FALSE(fs::exists(device_.path().string() + ".manifest"))
        << "a folder of devices is no place for files";
  }
}

TEST_F(Device, MayHaveAManifestElsewhere) {
  ASSERT_TRUE(run({"--manifest", "m"}).ok());
  expect_disk();
  const Verification found = verify_image(dir_ / "disk.vmdk", dir_ / "m");
  EXPECT_TRUE(found.same()) << found;
}

TEST_F(Device, ThatIsTooSmallIsLeftAsItIs) {
  build_disk(dir_.path(), "disk", parse_layout("64k:A 8m:- 1s:B"));
  expect_refused({}, "would not fit");
  expect_refused({"-n"}, "would not fit");
}

TEST_F(Device, IsForRawDisksOnly) {
  expect_refused({"-O", "qcow2"}, "block device");
  expect_refused({"-O", "vmdk"}, "block device");
  expect_refused({"-O", "vmdk", "-c"}, "block device");
}

TEST_F(Device, ThatIsInUseIsLeftAsItIs) {
  const int holder = ::open(device_.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
  ASSERT_GE(holder, 0);
  expect_refused({}, "in use");
  ::close(holder);
  EXPECT_TRUE(run({}).ok());
}

TEST_F(Device, ThatIsMountedIsLeftAsItIs) {
  const fs::path point = dir_ / "mounted";
  fs::create_directory(point);
  const bool is_mounted = run_command({"mkfs.ext4", "-q", "-F", device_.path().string()}).ok() &&
                          run_command({"mount", device_.path().string(), point.string()}).ok();
  if (!is_mounted) GTEST_SKIP() << "nothing can be mounted here";
  write_file(point / "file", "of the file system");
  const CommandResult result = run({});
  const std::uint64_t size = fs::file_size(point / "file");
  EXPECT_TRUE(run_command({"umount", point.string()}).ok());
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("unmount it first"), std::string::npos) << result.err;
  EXPECT_EQ(size, 18U);
  EXPECT_TRUE(run_command({"fsck.ext4", "-n", "-f", device_.path().string()}).ok());
}

}  // namespace
}  // namespace grainmill::testing
