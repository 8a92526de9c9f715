// SPDX-License-Identifier: Apache-2.0
//
// A disk, its raw copy, the manifest of that, and what is healed of the one from the other.
#pragma once

#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "engine/map/extent.h"
#include "pipeline/convert.h"
#include "pipeline/heal.h"
#include "pipeline/repair.h"
#include "tests/fakes/outcome.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::testing {

namespace fs = std::filesystem;

inline constexpr std::uint64_t kGrain = 64 * kKiB;
inline constexpr const char* kLayout = "320k:A 128k:- 192k:B 64k:-";

class HealTest : public ::testing::Test {
 protected:
  // A disk, its raw copy and the manifest of that.
  void build(const std::vector<LinkOptions>& options = {LinkOptions()},
             const char* layout = kLayout) {
    disk_ = build_disk(dir_.path(), "disk", parse_layout(layout), options);
    const ConvertOptions convert_options{.source = disk_.path(),
                                         .disk = {},
                                         .output = raw(),
                                         .manifest = manifest(),
                                         .durability = Durability::unsynced,
                                         .graph = {}};
    ASSERT_TRUE(IsOk(convert(posix_file_system(), convert_options)));
    for (const fs::path& path : disk_.files()) healthy_[path] = file_bytes(path);
    healthy_[raw()] = file_bytes(raw());
  }
  fs::path raw() const { return dir_ / "copy.raw"; }
  fs::path manifest() const { return dir_ / "copy.raw.manifest"; }

  const GrainPlace& grain(std::uint64_t number, std::size_t link = 0) const {
    return disk_.links[link].extents[0].grain_at(number * kGrain);
  }

  Result<HealReport> run(const fs::path& image, const fs::path& from, bool write = true,
                         FileSystem& files = posix_file_system()) {
    ranges_.clear();
    reasons_.clear();
    HealOptions options;
    options.verify.image = image;
    options.verify.manifest = manifest();
    options.verify.graph.threads = 1;
    options.verify.on_difference = [](const Difference&) {};
    options.from = from;
    options.write = write;
    options.on_healed = [this](const GuestRange& range, const std::string& how) {
      ranges_.push_back(range.begin);
      reasons_.push_back(how);
    };
    options.on_left = [this](const GuestRange&, const std::string& why) {
      reasons_.push_back(why);
    };
    return heal(files, options);
  }
  void expect_healed(const fs::path& image, const fs::path& from) {
    const Result<HealReport> report = run(image, from);
    ASSERT_TRUE(IsOk(report));
    EXPECT_TRUE(report->whole());
    EXPECT_FALSE(report->before.same());
    EXPECT_FALSE(fs::exists(repair_journal_path(image)));
    const Result<HealReport> again = run(image, from);
    ASSERT_TRUE(IsOk(again));
    EXPECT_TRUE(again->before.same());
  }
  void expect_healthy_files() {
    for (const auto& [path, bytes] : healthy_) EXPECT_EQ(file_bytes(path), bytes) << path;
  }
  // Where the top link of an image stores what the guest has there.
  std::uint64_t place_in(const std::string& name, std::uint64_t guest_offset) {
    const Result<Disk> disk = Disk::open(posix_file_system(), dir_ / name, {});
    ExtentList extents;
    if (!disk || !disk->map().compose(guest_offset, kSectorBytes, extents)) return 0;
    return extents.front().file_offset;
  }
  CommandResult program(const std::vector<std::string>& arguments) {
    return run_program(dir_.path(), arguments);
  }

  TempDir dir_;
  BuiltDisk disk_;
  std::map<fs::path, std::vector<std::byte>> healthy_;
  std::vector<std::uint64_t> ranges_;
  std::vector<std::string> reasons_;
};

}  // namespace grainmill::testing
