// SPDX-License-Identifier: Apache-2.0
//
// Devices that fail under what is written. Whatever fails, the conversion does, and leaves nothing
// that could be taken for its output; what had the output's names before stays, or is gone before
// it could be taken for a part of the new disk.
#include "tests/fault/fault_file_system.h"
#include "tests/outputs.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum FileCall;

using Contents = std::map<std::string, std::vector<std::byte>>;

class WriterFault : public ::testing::TestWithParam<Output> {
 protected:
  void SetUp() override {
    fs::create_directories(out_);
    source_ = contents_of(dir_.path());
    ASSERT_NO_FATAL_FAILURE(make_older());
  }

  static Contents contents_of(const fs::path& folder) {
    Contents contents;
    for (const std::string& name : names_in(folder))
      if (fs::is_regular_file(folder / name)) contents[name] = file_bytes(folder / name);
    return contents;
  }
  // A whole output of another disk, under the same names.
  void make_older() {
    ConvertOptions options = convert_options(older_.path(), GetParam(), out_);
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    older_output_ = contents_of(out_);
    clear();
  }
  void clear() {
    for (const std::string& name : names_in(out_)) fs::remove(out_ / name);
  }
  void put_older() {
    clear();
    for (const auto& [name, bytes] : older_output_)
      write_file(out_ / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  Result<ConvertReport> convert_disk() {
    ConvertOptions options = convert_options(disk_.path(), GetParam(), out_);
    options.durability = Durability::synced;
    options.graph.threads = 1;
    return convert(files_, options);
  }

  // How often a conversion without faults does this to files of the output folder.
  std::uint64_t count_clean(FileCall call) {
    files_.clear();
    const Result<ConvertReport> report = convert_disk();
    EXPECT_TRUE(report) << report.error();
    std::uint64_t count = 0;
    for (const std::string& name : output_names(GetParam()))
      count += files_.count(call, "out/" + name);
    return count;
  }

  void expect_fails(const Fault& fault) {
    files_.clear();
    files_.add(fault);
    const Result<ConvertReport> report = convert_disk();
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::io) << report.error();
    EXPECT_FALSE(report.error().path.empty());
    EXPECT_EQ(contents_of(dir_.path()) == source_, true) << "the source was changed";
  }
  // Each of the output's calls of a kind fails in turn. `after` looks at what is left.
  template <typename Prepare, typename After>
  void for_every(FileCall call, const Prepare& prepare, const After& after) {
    prepare();
    const std::uint64_t calls = count_clean(call);
    for (std::uint64_t n = 1; n <= calls; ++n) {
      SCOPED_TRACE("call " + std::to_string(n) + " of " + std::to_string(calls));
      prepare();
      expect_fails({.call = call, .within = "out/", .nth = n});
      after();
      if (HasFatalFailure()) return;
    }
    total_ += calls;
  }

  // Every file that is there is a whole one, of the older output or the new; where there is a file
  // to open, all of one output are there; a manifest speaks for the output it lies beside.
  void expect_nothing_mixed() {
    const fs::path path = output_path(GetParam(), out_);
    const std::string manifest = path.filename().string() + ".manifest";
    const Contents left = contents_of(out_);
    for (const auto& [name, bytes] : left)
      ASSERT_TRUE(older_output_.contains(name)) << name << " is left behind";
    if (left.contains(path.filename().string())) {
      for (const auto& [name, bytes] : older_output_)
        EXPECT_TRUE(name == manifest || left.contains(name)) << name << " is missing";
      for (const auto& [name, bytes] : left)
        EXPECT_EQ(bytes == older_output_[name], true) << name << " is of another output";
    }
    if (!left.contains(manifest)) return;
    EXPECT_EQ(left == older_output_, true) << "the manifest speaks for another output";
  }

  Layout layout_ = parse_layout("64k:A 64k:- 128k:r 33m:- 64k:B 3s:C");
  TempDir dir_;
  fs::path out_ = dir_ / "out";
  BuiltDisk disk_ = build_disk(dir_.path(), "disk", layout_);
  BuiltDisk older_ = build_disk(dir_.path(), "older", parse_layout("64k:D 128k:- 64k:E"));
  Contents source_;
  Contents older_output_;
  FaultFileSystem files_{posix_file_system()};
  std::uint64_t total_ = 0;
};

constexpr std::array kWritingCalls{create, write, resize, sync, publish, remove};

TEST_P(WriterFault, WhateverFailsNothingIsLeft) {
  for (const FileCall call : kWritingCalls) {
    SCOPED_TRACE(static_cast<int>(call));
    for_every(
        call, [this] { clear(); },
        [this] { EXPECT_EQ(names_in(out_), std::vector<std::string>()); });
  }
  EXPECT_GT(total_, 8U);
}

TEST_P(WriterFault, WhateverFailsNothingIsMixedWithAnOlderOutput) {
  for (const FileCall call : kWritingCalls) {
    SCOPED_TRACE(static_cast<int>(call));
    for_every(call, [this] { put_older(); }, [this] { expect_nothing_mixed(); });
  }
}

// Up to the moment when names are given, an older output is not touched.
TEST_P(WriterFault, WhatFailsWhileWritingLeavesTheOlderOutput) {
  for (const FileCall call : {create, write, resize}) {
    SCOPED_TRACE(static_cast<int>(call));
    for_every(
        call, [this] { put_older(); },
        [this] { EXPECT_EQ(contents_of(out_) == older_output_, true); });
  }
}

TEST_P(WriterFault, AFullDeviceLeavesTheOlderOutput) {
  put_older();
  files_.clear();
  ASSERT_TRUE(convert_disk());
  std::uint64_t stored = 0;  // at most; holes count
  for (const auto& [name, bytes] : contents_of(out_)) stored += bytes.size();
  bool fits = false;
  for (std::uint64_t room = 0; room < stored && !fits; room += room / 3 + 997) {
    SCOPED_TRACE(room);
    put_older();
    files_.clear();
    files_.add({.call = write, .within = "out/", .room_bytes = room, .error_number = ENOSPC});
    const Result<ConvertReport> report = convert_disk();
    fits = report.has_value();
    if (fits) break;
    EXPECT_EQ(report.error().kind, ErrorKind::no_space);
    EXPECT_NE(report.error().message.find("No space left"), std::string::npos) << report.error();
    EXPECT_EQ(contents_of(out_) == older_output_, true);
  }
}

TEST_P(WriterFault, OfManyThreadsToo) {
  for (const FileCall call : {write, publish}) {
    for (std::uint64_t n = 1; n <= 8; ++n) {
      clear();
      files_.clear();
      files_.add({.call = call, .within = "out/", .nth = n});
      ConvertOptions options = convert_options(disk_.path(), GetParam(), out_);
      options.graph.threads = 8;
      const Result<ConvertReport> report = convert(files_, options);
      if (report) continue;
      EXPECT_EQ(report.error().kind, ErrorKind::io) << report.error();
      EXPECT_EQ(names_in(out_), std::vector<std::string>());
    }
  }
}

// One per kind of sink, and of how its files get their names.
std::vector<Output> faulty_outputs() {
  std::vector<Output> result;
  for (const std::string name :
       {"monolithicSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "vmfs", "streamOptimized",
        "qcow2", "qcow2_512", "qcow2_zlib", "raw"})
    result.push_back(output_named(name));
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, WriterFault, ::testing::ValuesIn(faulty_outputs()),
                         [](const auto& test) { return test.param.name; });

// A file that is written in place is half written then; but it fails, and gets no manifest.
TEST(InPlaceFault, IsReported) {
  const Layout layout = parse_layout("64k:A 1m:- 128k:r 192k:0 64k:B 3s:C");
  TempDir dir;
  const BuiltDisk disk = build_disk(dir.path(), "disk", layout);
  ConvertOptions options = convert_options(disk.path(), dir / "out.img");
  options.in_place = true;
  options.durability = Durability::synced;
  options.graph.threads = 1;
  FaultFileSystem files(posix_file_system());
  for (const FileCall call : {write, zero_range, sync}) {
    std::uint64_t calls = 1;
    for (std::uint64_t n = 1; n <= calls; ++n) {
      write_file(dir / "out.img", std::string(layout.size_bytes(), 'x'));
      files.clear();
      ASSERT_TRUE(convert(files, options));
      calls = files.count(call, "out.img");
      fs::remove(dir / "out.img.manifest");
      files.clear();
      files.add({.call = call, .path_end = "out.img", .nth = n});
      const Result<ConvertReport> report = convert(files, options);
      ASSERT_FALSE(report);
      EXPECT_EQ(report.error().path, (dir / "out.img").string());
      EXPECT_FALSE(fs::exists(dir / "out.img.manifest"));
    }
    EXPECT_GE(calls, 1U);
  }
}

}  // namespace
}  // namespace grainmill::testing
