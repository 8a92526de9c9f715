// SPDX-License-Identifier: Apache-2.0
//
// Tests on qcow2 images that qemu makes: in a folder of their own, and compared with what qemu
// reads.
#pragma once

#include "engine/disk/disk.h"
#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace grainmill::testing {

using Words = std::vector<std::string>;

class Qcow2Reader : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_qemu_img() || !has_command("qemu-io")) GTEST_SKIP() << "no qemu-img, or no qemu-io";
  }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  static void run(const Words& argv) {
    const CommandResult result = run_command(argv);
    ASSERT_TRUE(result.ok()) << fmt::format("{}", fmt::join(argv, " ")) << result.out << result.err;
  }
  // A size may be left out where there is a backing file: `-b NAME -F FORMAT` are more options.
  void create(const std::string& name, const std::string& options, const std::string& size,
              const Words& more = {}) {
    Words argv = {"qemu-img", "create", "-q", "-f", "qcow2"};
    if (!options.empty()) argv.insert(argv.end(), {"-o", options});
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back(path(name));
    if (!size.empty()) argv.push_back(size);
    run(argv);
  }
  void io(const std::string& name, const Words& commands, const std::string& format = "qcow2") {
    Words argv = {"qemu-io", "-f", format};
    for (const std::string& command : commands) argv.insert(argv.end(), {"-c", command});
    argv.push_back(path(name));
    run(argv);
  }
  void img(const Words& words) {
    Words argv = {"qemu-img"};
    argv.insert(argv.end(), words.begin(), words.end());
    run(argv);
  }
  // A raw disk with data, text, random bytes and holes.
  void make_source(const std::string& name, std::uint64_t size_bytes, std::uint64_t seed = 1) {
    const Layout layout = random_layout(seed, size_bytes, 65536);
    const std::vector<std::byte> bytes = expected_bytes(layout, 0, size_bytes);
    std::ofstream file(path(name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }

  // Converts an image with both programs, reads it in pieces, and proves it by its manifest.
  void expect_same(const std::string& name, const std::string& format = "qcow2") {
    SCOPED_TRACE(name);
    const std::string theirs = path(name + ".theirs");
    const std::string ours = path(name + ".ours");
    const CommandResult qemu = qemu_convert_to_raw(path(name), theirs, format);
    ASSERT_TRUE(qemu.ok()) << qemu.err;
    const ConvertOptions options = convert_options(path(name), ours);
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    expect_same_disks(ours, theirs);
    const Verification image = verify_image(path(name), options.manifest);
    EXPECT_TRUE(image.same()) << image;
    expect_reads(name, theirs);
    expect_map(name);
    std::filesystem::remove(theirs);
    std::filesystem::remove(ours);
  }
  // Random access, at places that are aligned to nothing.
  void expect_reads(const std::string& name, const std::filesystem::path& want) {
    const Result<Disk> disk = Disk::open(posix_file_system(), path(name), {});
    ASSERT_TRUE(disk) << disk.error();
    const std::uint64_t size = disk->size_bytes();
    for (std::uint64_t i = 0; i < 40 && size != 0; ++i) {
      const std::uint64_t at = mix(i) % size;
      std::vector<std::byte> bytes(std::min(1 + mix(i + 100) % 300000, size - at));
      const Status read = disk->read_at(at, bytes);
      ASSERT_TRUE(read) << read.error();
      expect_same_bytes(bytes, file_bytes(want, at, bytes.size()));
    }
  }
  // What qemu-img map says, where it is the same as what an extent says: which sectors hold data,
  // of which link, and where; and what reads as zeros.
  void expect_map(const std::string& name) {
    const CommandResult result =
        run_command({"qemu-img", "map", "--output=json", "-f", "qcow2", path(name)});
    ASSERT_TRUE(result.ok()) << result.err;
    const Result<Disk> disk = Disk::open(posix_file_system(), path(name), {});
    ASSERT_TRUE(disk) << disk.error();
    for (const nlohmann::json& item : nlohmann::json::parse(result.out)) {
      const auto begin = item["start"].get<std::uint64_t>();
      const auto length = item["length"].get<std::uint64_t>();
      ExtentList list;
      const Status status = disk->map().compose(begin, length, list);
      ASSERT_TRUE(status) << status.error();
      for (const Extent& extent : list) expect_extent(*disk, extent, item);
    }
  }
  static void expect_extent(const Disk& disk, const Extent& extent, const nlohmann::json& item) {
    SCOPED_TRACE(fmt::format("{} at {} + {}", item.dump(), extent.guest_offset, extent.length));
    if (extent.reads_as_zero()) {
      EXPECT_EQ(item["zero"], true);
      return;
    }
    EXPECT_EQ(item["depth"], extent.link);
    // qemu looks into a raw file for its holes, and into one below an image as well.
    if (disk.link(extent.link).description().format != "raw") {
      EXPECT_EQ(item["data"], true);
    }
    if (extent.kind != ExtentKind::data) {
      EXPECT_FALSE(item.contains("offset"));
      return;
    }
    ASSERT_TRUE(item.contains("offset"));
    EXPECT_EQ(item["offset"].get<std::uint64_t>() +
                  (extent.guest_offset - item["start"].get<std::uint64_t>()),
              extent.file_offset);
  }

  // `field`: of the header.
  void patch_quad(const std::string& name, std::uint64_t field, std::uint64_t value) {
    std::array<std::byte, 8> bytes{};
    for (std::size_t i = 8; i-- > 0; value >>= 8) bytes[i] = static_cast<std::byte>(value & 0xff);
    patch_file(path(name), field, bytes);
  }
  std::vector<std::string> warnings_of(const std::string& name) {
    const Result<Disk> disk = Disk::open(posix_file_system(), path(name), {});
    return disk ? disk->link(0).description().warnings
                : std::vector<std::string>{disk.error().to_string()};
  }

  TempDir dir_;
};

}  // namespace grainmill::testing
