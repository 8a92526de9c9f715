// SPDX-License-Identifier: Apache-2.0
#include "tests/nbd/served_disk.h"

#include "engine/disk/disk.h"
#include "tests/conversion.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/reference_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <span>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPiece = 1 << 20;

// Calls `check(offset, bytes)` with all of a raw file, one piece at a time.
void for_each_piece(
    const fs::path& raw,
    const std::function<bool(std::uint64_t, const std::vector<std::byte>&)>& check) {
  std::ifstream file(raw, std::ios::binary);
  const std::uint64_t size = fs::file_size(raw);
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    std::vector<std::byte> bytes(std::min(kPiece, size - at));
    file.read(reinterpret_cast<char*>(bytes.data()), std::ssize(bytes));
    if (!check(at, bytes)) return;
  }
}

Result<Disk> open_disk(const fs::path& path, bool is_raw) {
  DiskOptions options;
  if (is_raw) options.format = "raw";
  return Disk::open(posix_file_system(), path, options);
}

fs::path stress_script() {
  const char* script = "tests/nbd/stress.py";
  const char* folder = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (folder == nullptr || workspace == nullptr) return fs::absolute(script);
  return fs::absolute(fs::path(folder) / workspace / script);
}

}  // namespace

ServedDisk::ServedDisk(const fs::path& folder, const WritableCase& test, std::uint64_t size_bytes)
    : folder_(folder),
      is_raw_(test.is_raw()),
      is_sparse_(test.links.back().kind == Kind::monolithic_sparse ||
                 test.links.back().kind == Kind::two_gb_sparse) {
  Layout layout = random_layout(test.depth, size_bytes, 65536, test.depth);
  if (test.is_new) layout.links.back().segments = {{0, size_bytes, '-'}};
  built_ = build_disk(folder, "disk", layout, test.links);
  std::ofstream raw(shadow(), std::ios::binary);
  for (std::uint64_t at = 0; at < size_bytes; at += kPiece) {
    const std::vector<std::byte> bytes =
        expected_bytes(layout, at, std::min(kPiece, size_bytes - at));
    raw.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  digests_before_ = parent_digests();
  content_id_before_ = content_id();
}

std::vector<std::string> ServedDisk::parameters() const {
  std::vector<std::string> list = {"file=" + path().string()};
  if (is_raw_) list.emplace_back("format=raw");
  return list;
}

std::string ServedDisk::parent_digests() const {
  std::vector<std::string> command = {"sha256sum"};
  for (const BuiltLink& link : std::span(built_.links).first(built_.links.size() - 1)) {
    command.push_back(link.path);
    for (const BuiltExtent& extent : link.extents)
      if (!extent.path.empty()) command.push_back(extent.path);
  }
  return run_command(command).out;
}

std::optional<std::uint32_t> ServedDisk::content_id() const {
  const Result<Disk> disk = open_disk(path(), is_raw_);
  EXPECT_TRUE(disk) << disk.error();
  return disk ? disk->link(0).description().content_id : std::nullopt;
}

void ServedDisk::expect_sound(const fs::path& raw) const {
  const Result<Disk> disk = open_disk(path(), is_raw_);
  ASSERT_TRUE(disk) << disk.error();
  const Status sound = disk->check();
  ASSERT_TRUE(sound) << sound.error();
  std::ofstream file(raw, std::ios::binary);
  std::vector<std::byte> bytes(kPiece);
  for (std::uint64_t at = 0; at < disk->size_bytes(); at += kPiece) {
    bytes.resize(std::min(kPiece, disk->size_bytes() - at));
    const Status got = disk->read_at(at, bytes);
    ASSERT_TRUE(got) << got.error();
    file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
}

void ServedDisk::expect_written_well() const {
  const fs::path copy = folder_ / "copy.raw";
  ASSERT_NO_FATAL_FAILURE(expect_sound(copy));
  expect_same_disks(copy, shadow());
  fs::remove(copy);

  const ReferenceDisk reference =
      is_raw_ ? ReferenceDisk::open_raw(path()) : ReferenceDisk::open(path());
  ASSERT_EQ(reference.size_bytes(), fs::file_size(shadow()));
  for_each_piece(shadow(), [&](std::uint64_t offset, const std::vector<std::byte>& want) {
    EXPECT_TRUE(reference.read(offset, want.size()) == want)
        << "by the reference reader, in the MiB at " << offset;
    return !::testing::Test::HasFailure();
  });

  const Result<Disk> disk = open_disk(path(), is_raw_);
  ASSERT_TRUE(disk) << disk.error();
  EXPECT_FALSE(disk->link(0).description().unclean_shutdown);
  if (!is_raw_) {
    EXPECT_NE(disk->link(0).description().content_id, content_id_before_);
  }
  EXPECT_EQ(parent_digests(), digests_before_);
  if (has_qemu_img()) expect_qemu_agrees();
}

void ServedDisk::expect_qemu_agrees() const {
  if (is_sparse_) {
    const CommandResult sound = qemu_check(path());
    EXPECT_TRUE(sound.ok()) << sound.out << sound.err;
  }
  const CommandResult same = run_command(
      {"qemu-img", "compare", "-f", is_raw_ ? "raw" : "vmdk", "-F", "raw", path(), shadow()});
  EXPECT_TRUE(same.ok()) << same.out << same.err;
}

bool has_stress_client() { return run_command({kPython, "-c", "import nbd"}).ok(); }

CommandResult run_stress(const std::vector<std::string>& arguments, double seconds) {
  std::vector<std::string> command = {kPython, stress_script()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  CommandOptions options;
  options.timeout += std::chrono::seconds(static_cast<long>(seconds));
  return run_command(command, options);
}

}  // namespace grainmill::testing
