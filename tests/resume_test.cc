// SPDX-License-Identifier: Apache-2.0
//
// Conversions that are broken off and gone on with: wherever that was, the output ends with the
// bytes of one that nobody disturbed, and what was written before is believed only where it is
// proven.
#include "pipeline/resumable.h"
#include "pipeline/resume_journal.h"
#include "tests/fault/fault_file_system.h"
#include "tests/outputs.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum FileCall;

using Contents = std::map<std::string, std::vector<std::byte>>;

class Resume : public ::testing::TestWithParam<Output> {
 protected:
  void SetUp() override {
    fs::create_directories(out_);
    fs::create_directories(dir_ / "whole");
    ConvertOptions options = convert_options(disk_.path(), GetParam(), dir_ / "whole");
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
    whole_ = contents_of(dir_ / "whole");
  }

  static Contents contents_of(const fs::path& folder) {
    Contents contents;
    for (const std::string& name : names_in(folder))
      if (!name.ends_with(".manifest"))
        contents[name] = without_random_numbers(file_bytes(folder / name));
    return contents;
  }
  void clear() {
    for (const std::string& name : names_in(out_)) fs::remove(out_ / name);
  }

  ConvertOptions options() {
    ConvertOptions options = convert_options(disk_.path(), GetParam(), out_);
    options.resume = true;
    options.checkpoints = {.data_bytes = 1, .interval = std::chrono::milliseconds(0)};
    options.graph.cancelled = &cancelled_;
    return options;
  }
  Result<ConvertReport> convert_disk() {
    cancelled_ = false;
    return convert(files_, options());
  }
  // Stops as soon as so many checkpoints are there; 0: when the journal is.
  Result<ConvertReport> convert_up_to(std::uint64_t checkpoints, bool has_journal = false) {
    files_.clear();
    files_.add({.call = write,
                .path_end = ".journal",
                .nth = checkpoints + (has_journal ? 0 : 2),
                .error_number = 0,
                .before = [this] { cancelled_ = true; }});
    Result<ConvertReport> report = convert_disk();
    files_.clear();
    return report;
  }

  fs::path path() const { return output_path(GetParam(), out_); }
  fs::path journal() const { return resume_journal_path(path().string()); }
  std::vector<fs::path> partials() const {
    std::vector<fs::path> paths;
    for (const std::string& name : names_in(out_))
      if (name.ends_with(".partial")) paths.push_back(out_ / name);
    return paths;
  }

  void expect_whole() {
    EXPECT_EQ(names_in(out_), output_names(GetParam()));
    const Contents found = contents_of(out_);
    for (const auto& [name, bytes] : whole_) {
      SCOPED_TRACE(name);
      ASSERT_TRUE(found.contains(name));
      expect_same_bytes(found.at(name), bytes);
    }
    expect_proven();
  }
  void expect_proven() {
    const Verification proof =
        verify_image(path(), path().string() + ".manifest", disk_options(GetParam()));
    EXPECT_TRUE(proof.same()) << proof;
  }
  // Without `resumed`: all is converted anew, and a warning says why.
  void expect_goes_on_to_whole(bool resumed, const std::string& reason = "") {
    const Result<ConvertReport> report = convert_disk();
    ASSERT_TRUE(report) << report.error();
    EXPECT_EQ(report->resumed_bytes != 0, resumed);
    EXPECT_EQ(report->warnings.empty(), reason.empty());
    for (const std::string& warning : report->warnings)
      EXPECT_NE(warning.find(reason), std::string::npos) << warning;
    expect_whole();
  }

  TempDir dir_;
  fs::path out_ = dir_ / "out";
  // Where there are tables, there is more than one.
  Layout layout_ =
      parse_layout("192k:A 64k:- 300k:r " + std::string(GetParam().sparse ? "35m" : "2m") +
                   ":- 1m:B 700k:- 64k:C 1m:r 256k:0 5s:D");
  BuiltDisk disk_ = build_disk(dir_.path(), "disk", layout_);
  Contents whole_;
  std::atomic<bool> cancelled_ = false;
  FaultFileSystem files_{posix_file_system()};
};

TEST_P(Resume, UndisturbedIsAsWithout) { expect_goes_on_to_whole(false); }

TEST_P(Resume, GoesOnFromEachCheckpoint) {
  std::uint64_t stops = 0;
  std::uint64_t before = 0;
  for (;; ++stops) {
    SCOPED_TRACE(stops);
    const Result<ConvertReport> report = convert_up_to(1, stops != 0);
    if (report) {
      EXPECT_EQ(report->resumed_bytes != 0, stops != 0);
      EXPECT_TRUE(report->warnings.empty()) << report->warnings.front();
      break;
    }
    ASSERT_EQ(report.error().kind, ErrorKind::cancelled) << report.error();
    EXPECT_NE(report.error().message.find("goes on"), std::string::npos) << report.error();
    EXPECT_FALSE(fs::exists(path()));
    EXPECT_GT(fs::file_size(journal()), before);
    before = fs::file_size(journal());
  }
  EXPECT_GE(stops, 2U);
  expect_whole();
}

// What was written behind the last checkpoint makes no difference.
TEST_P(Resume, GoesOnAfterAWriteThatFails) {
  const Result<ConvertReport> clean = convert_disk();
  ASSERT_TRUE(clean) << clean.error();
  std::uint64_t writes = 0;
  for (const std::string& name : output_names(GetParam()))
    writes += files_.count(write, "/" + name);
  bool went_on = false;
  for (std::uint64_t n = 1; n <= writes; n += 1 + writes / 8) {
    SCOPED_TRACE(n);
    clear();
    files_.clear();
    files_.add({.call = write, .within = "out/", .nth = n, .error_number = ENOSPC});
    const Result<ConvertReport> report = convert_disk();
    ASSERT_FALSE(report);
    ASSERT_EQ(report.error().kind, ErrorKind::no_space) << report.error();
    const bool has_message = report.error().message.find("goes on") != std::string::npos;
    EXPECT_EQ(has_message, fs::exists(journal()));
    EXPECT_EQ(has_message, !partials().empty());
    files_.clear();
    ASSERT_NO_FATAL_FAILURE(expect_goes_on_to_whole(has_message));
    went_on |= has_message;
  }
  EXPECT_TRUE(went_on);
}

// One kind of each sink, and of how its files are made.
class ResumeDoubt : public Resume {};

TEST_P(ResumeDoubt, ReplacesAnOlderOutputAtTheEnd) {
  ASSERT_TRUE(convert_disk());
  const Contents older = contents_of(out_);
  ASSERT_FALSE(convert_up_to(2));
  for (const auto& [name, bytes] : older)
    expect_same_bytes(without_random_numbers(file_bytes(out_ / name)), bytes);
  expect_goes_on_to_whole(true);
}

// A byte of what was written is another one now: found, and put right, where anybody reads it.
TEST_P(ResumeDoubt, BelievesNothingThatIsNotProven) {
  std::uint64_t found = 0;
  for (std::uint64_t round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    clear();
    ASSERT_FALSE(convert_up_to(2));
    std::vector<fs::path> paths = partials();
    const fs::path& path = paths[mix(round) % paths.size()];
    const std::vector<std::byte> bytes = file_bytes(path);
    std::uint64_t at = mix(round + 100) % 150'000;  // before the first checkpoint
    while (at < bytes.size() && bytes[at] == std::byte{0}) ++at;
    if (at >= bytes.size()) continue;
    flip_bits(path, at);
    const Result<ConvertReport> report = convert_disk();
    ASSERT_TRUE(report) << report.error();
    found += report->warnings.empty() ? 0 : 1;
    expect_proven();
  }
  EXPECT_GE(found, 1U);
}

TEST_P(ResumeDoubt, NamesTheRangeThatDiffers) {
  if (!GetParam().is_raw()) GTEST_SKIP() << "another place of the file for each format";
  ASSERT_FALSE(convert_up_to(2));
  flip_bits(partials().front(), 70000);
  expect_goes_on_to_whole(false, "(guest range 0x0 to 0x40000)");
}

TEST_P(ResumeDoubt, APartialThatIsGoneOrCutOffIsMadeAnew) {
  for (const bool gone : {true, false}) {
    clear();
    ASSERT_FALSE(convert_up_to(2));
    for (const fs::path& path : partials()) {
      if (gone)
        fs::remove(path);
      else
        fs::resize_file(path, fs::file_size(path) / 100);
    }
    expect_goes_on_to_whole(false, "cannot be gone on with");
  }
}

// Bytes of an earlier call behind the checkpoint never get into the output.
TEST_P(Resume, WhatLiesBehindTheCheckpointDoesNotMatter) {
  ASSERT_FALSE(convert_up_to(1));
  for (const fs::path& path : partials()) {
    const std::uint64_t size = fs::file_size(path);
    patch_file(path, GetParam().sparse ? size : size / 2, std::string(300000, 'x'));
  }
  expect_goes_on_to_whole(true);
}

TEST_P(ResumeDoubt, AnyJournalIsSafe) {
  clear();
  ASSERT_FALSE(convert_up_to(3));
  const Contents left = [&] {
    Contents contents;
    for (const std::string& name : names_in(out_)) contents[name] = file_bytes(out_ / name);
    return contents;
  }();
  const std::uint64_t size = fs::file_size(journal());
  for (std::uint64_t round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    clear();
    for (const auto& [name, bytes] : left)
      write_file(out_ / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (round % 2 == 0)
      fs::resize_file(journal(), mix(round) % size);
    else
      flip_bits(journal(), 8 + mix(round) % (size - 8), 1U << round);
    const Result<ConvertReport> report = convert_disk();
    ASSERT_TRUE(report) << report.error();
    expect_whole();
  }
}

// A state whose digest is right, and which is wrong all the same.
TEST_P(ResumeDoubt, AnyStateIsSafe) {
  for (std::uint64_t round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    clear();
    ASSERT_FALSE(convert_up_to(2));
    {
      Result<ResumeJournal> journal =
          ResumeJournal::open(posix_file_system(), this->journal().string(), Durability::unsynced);
      ASSERT_TRUE(journal) << journal.error();
      Result<Checkpoint> last = journal->read(1);
      ASSERT_TRUE(last) << last.error();
      std::vector<std::byte>& state = last->state;
      if (round % 4 == 3 || state.empty()) state.resize(mix(round) % (state.size() + 40));
      const std::size_t head = std::min<std::size_t>(state.size(), round % 2 == 0 ? 48 : ~0U);
      for (std::uint64_t i = 0; head != 0 && i < 3; ++i)
        state[mix(round * 8 + i) % head] = std::byte(mix(round * 9 + i));
      const Result<Checkpoint> first = journal->read(0);
      ASSERT_TRUE(first) << first.error();
      const auto identity = journal->identity();
      ASSERT_TRUE(journal->begin({identity.begin(), identity.end()}, Durability::unsynced));
      ASSERT_TRUE(journal->append(*first, Durability::unsynced));
      ASSERT_TRUE(journal->append(*last, Durability::unsynced));
    }
    const Result<ConvertReport> report = convert_disk();
    ASSERT_TRUE(report) << report.error();
    expect_proven();
  }
}

TEST_P(ResumeDoubt, AChangedSourceIsConvertedAnew) {
  ASSERT_FALSE(convert_up_to(2));
  const fs::path source = disk_.files().back();
  fs::last_write_time(source, fs::last_write_time(source) + std::chrono::seconds(1));
  expect_goes_on_to_whole(false, "source ");
}

TEST_P(ResumeDoubt, DamageOfTheSourceLeavesNothing) {
  ASSERT_FALSE(convert_up_to(2));
  // The source gets shorter while it is read.
  files_.add({.call = read,
              .path_end = disk_.files().back().filename().string(),
              .range_begin = 1200 << 10,
              .error_number = 0,
              .before = [this] { fs::resize_file(disk_.files().back(), 1200 << 10); }});
  const Result<ConvertReport> report = convert_disk();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::corrupt) << report.error();
  EXPECT_EQ(names_in(out_), std::vector<std::string>());
}

TEST_P(ResumeDoubt, OneAtATime) {
  ASSERT_FALSE(convert_up_to(1));
  std::optional<Result<ConvertReport>> other;
  files_.add({.call = write, .path_end = ".journal", .nth = 1, .error_number = 0, .before = [&] {
                other = convert(posix_file_system(), options());
              }});
  expect_goes_on_to_whole(true);
  ASSERT_TRUE(other);
  ASSERT_FALSE(*other);
  EXPECT_EQ(other->error().kind, ErrorKind::busy) << other->error();
}

// But what takes longest to compress: its sink has another level among the kinds.
std::vector<Output> quick_outputs() {
  std::vector<Output> result = outputs();
  std::erase_if(result, [](const Output& output) { return output.level == "12"; });
  return result;
}

INSTANTIATE_TEST_SUITE_P(All, Resume, ::testing::ValuesIn(quick_outputs()),
                         [](const auto& test) { return test.param.name; });

std::vector<Output> one_of_each() {
  std::vector<Output> result;
  for (const std::string name : {"monolithicSparse", "twoGbMaxExtentSparse", "vmfs", "stream_fast",
                                 "qcow2", "qcow2_zlib_4k", "raw"})
    result.push_back(output_named(name));
  return result;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ResumeDoubt, ::testing::ValuesIn(one_of_each()),
                         [](const auto& test) { return test.param.name; });

class ResumeRefused : public ::testing::Test {
 protected:
  ConvertOptions options() {
    ConvertOptions options = convert_options(disk_.path(), dir_ / "out.img");
    options.resume = true;
    return options;
  }

  TempDir dir_;
  BuiltDisk disk_ = build_disk(dir_.path(), "disk", parse_layout("64k:A 64k:-"));
};

TEST_F(ResumeRefused, WhatIsWrittenInPlaceOrToAStream) {
  write_file(dir_ / "out.img", std::string(128 << 10, 'x'));
  ConvertOptions in_place = options();
  in_place.in_place = true;
  ConvertOptions stream = options();
  stream.output = kStandardOutputName;
  stream.manifest.clear();
  for (const ConvertOptions& refused : {in_place, stream}) {
    const Result<ConvertReport> report = convert(posix_file_system(), refused);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::invalid_argument) << report.error();
  }
}

// A file of the user's that has the journal's name, or a partial's, and is the source.
TEST_F(ResumeRefused, FilesOfTheUser) {
  write_file(dir_ / ".out.img.journal", "dear diary");
  const Result<ConvertReport> report = convert(posix_file_system(), options());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::invalid_argument) << report.error();
  fs::remove(dir_ / ".out.img.journal");
  for (const std::string name : {".out.img.partial", ".out.img.journal"}) {
    write_file(dir_ / name, std::string(128 << 10, 'x'));
    ConvertOptions own = options();
    own.source = (dir_ / name).string();
    own.disk.format = "raw";
    const Result<ConvertReport> refused = convert(posix_file_system(), own);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::invalid_argument) << refused.error();
    EXPECT_EQ(fs::file_size(dir_ / name), 128U << 10);
    fs::remove(dir_ / name);
  }
}

TEST_F(ResumeRefused, AFailureBeforeTheFirstCheckpointLeavesNothing) {
  FaultFileSystem files(posix_file_system());
  files.add({.call = write, .path_end = "out.img", .nth = 1});
  const Result<ConvertReport> report = convert(files, options());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().message.find("goes on"), std::string::npos) << report.error();
  for (const std::string& name : names_in(dir_.path())) EXPECT_FALSE(name.starts_with(".")) << name;
}

TEST_F(ResumeRefused, AWrongOptionKeepsWhatThereIs) {
  fs::create_symlink("real.img", dir_ / "out.img");
  write_file(dir_ / "real.img", "older");
  std::atomic<bool> cancelled = false;
  FaultFileSystem files(posix_file_system());
  files.add({.call = write, .path_end = ".journal", .nth = 3, .error_number = 0, .before = [&] {
               cancelled = true;
             }});
  ConvertOptions resumed = options();
  resumed.checkpoints = {.data_bytes = 1, .interval = std::chrono::milliseconds(0)};
  resumed.graph.cancelled = &cancelled;
  // Both lie beside the file that the link leads to.
  const BuiltDisk larger = build_disk(dir_.path(), "larger", parse_layout("1m:A 1m:B"));
  resumed.source = larger.path().string();
  ASSERT_FALSE(convert(files, resumed));
  EXPECT_TRUE(fs::exists(dir_ / ".real.img.journal"));
  EXPECT_TRUE(fs::exists(dir_ / ".real.img.partial"));
  cancelled = false;
  ConvertOptions wrong = resumed;
  wrong.level = "9";
  ASSERT_FALSE(convert(posix_file_system(), wrong));
  wrong = resumed;
  wrong.graph.memory_bytes = 1;
  ASSERT_FALSE(convert(posix_file_system(), wrong));
  const Result<ConvertReport> report = convert(posix_file_system(), resumed);
  ASSERT_TRUE(report) << report.error();
  EXPECT_NE(report->resumed_bytes, 0U);
  EXPECT_TRUE(fs::is_symlink(dir_ / "out.img"));
  EXPECT_EQ(fs::file_size(dir_ / "real.img"), 2U << 20);
  for (const std::string& name : names_in(dir_.path())) EXPECT_FALSE(name.starts_with(".")) << name;
}

}  // namespace
}  // namespace grainmill::testing
