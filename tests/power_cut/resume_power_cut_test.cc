// SPDX-License-Identifier: Apache-2.0
//
// Power cuts while a disk is converted that can be gone on with, and while it is: whatever arrived
// on the device, what has the output's name is whole, and the same call ends with the bytes of a
// conversion that nobody disturbed. GRAINMILL_POWER_CUTS says in how many states (default: 150).
#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/outputs.h"
#include "tests/power_cut/power_cut_file_system.h"
#include "tests/support/environment.h"
#include "tests/support/layout.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

using Contents = std::map<std::string, std::vector<std::byte>>;

// A source that stays as it is, and files beside it that power cuts are for.
class TwoDevices final : public FileSystem {
 public:
  TwoDevices(FileSystem& source, FileSystem& output) : source_(source), output_(output) {}

  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override {
    return at(path).open_read(path);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override {
    return at(path).open_write(path);
  }
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override {
    return at(folder + "/").open_beneath(folder, relative, mode);
  }
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override {
    return at(path).create_pending(path);
  }
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_partial(
      const std::string& path, const std::string& until_then, Durability durability) override {
    return at(path).create_partial(path, until_then, durability);
  }
  [[nodiscard]] Status remove(const std::string& path) override { return at(path).remove(path); }
  [[nodiscard]] Result<std::string> canonical(const std::string& path) override { return path; }
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override {
    return at(folder + "/").list(folder);
  }

 private:
  FileSystem& at(const std::string& path) {
    return path.starts_with("/source/") ? source_ : output_;
  }

  FileSystem& source_;
  FileSystem& output_;
};

class ResumePowerCut : public ::testing::TestWithParam<Output> {
 protected:
  void SetUp() override {
    source_.add("/source/disk.raw", expected_bytes(layout_, 0, layout_.size_bytes()));
    MemoryFileSystem files;
    ASSERT_TRUE(convert_in(files).has_value());
    whole_ = contents_of(files);
  }

  ConvertOptions options() const {
    ConvertOptions options = convert_options("/source/disk.raw", GetParam(), "/out");
    options.disk.format = "raw";
    options.resume = true;
    options.checkpoints = {.data_bytes = 1, .interval = std::chrono::milliseconds(0)};
    options.durability = Durability::synced;
    options.graph.threads = 1;
    return options;
  }
  Result<ConvertReport> convert_in(FileSystem& files) {
    TwoDevices both(source_, files);
    return convert(both, options());
  }
  // Stops when another checkpoint is written.
  void convert_up_to(FileSystem& files, std::uint64_t journal_writes) {
    std::atomic<bool> cancelled = false;
    TwoDevices both(source_, files);
    FaultFileSystem watched(both);
    watched.add({.call = FileCall::write,
                 .path_end = ".journal",
                 .nth = journal_writes,
                 .error_number = 0,
                 .before = [&] { cancelled = true; }});
    ConvertOptions stopped = options();
    stopped.graph.cancelled = &cancelled;
    const Result<ConvertReport> report = convert(watched, stopped);
    ASSERT_FALSE(report);
    ASSERT_EQ(report.error().kind, ErrorKind::cancelled) << report.error();
  }

  static Contents contents_of(MemoryFileSystem& files) {
    Contents contents;
    for (const std::string& path : files.paths())
      if (!path.ends_with(".manifest"))
        contents[path] = without_random_numbers(files.content(path).bytes());
    return contents;
  }

  void expect_goes_on(PowerCut& cut) {
    MemoryFileSystem& files = cut.files();
    // The name to open is given last.
    const std::string path = output_path(GetParam(), "/out").string();
    if (files.has(path)) {
      for (const auto& [name, bytes] : whole_)
        ASSERT_TRUE(files.has(name) && without_random_numbers(files.content(name).bytes()) == bytes)
            << name << " is not whole\n"
            << cut.story();
    }
    const Result<ConvertReport> report = convert_in(files);
    ASSERT_TRUE(report) << report.error() << '\n' << cut.story();
    resumed_ += report->resumed_bytes != 0 ? 1 : 0;
    EXPECT_EQ(contents_of(files) == whole_, true) << cut.story();
  }

  Layout layout_ = parse_layout("192k:A 64k:- 300k:r 1m:- 200k:B 500k:- 64k:C 256k:r 5s:D");
  MemoryFileSystem source_;
  Contents whole_;
  std::uint64_t resumed_ = 0;
};

TEST_P(ResumePowerCut, GoesOnFromWhateverArrived) {
  PowerCutFileSystem files;
  convert_up_to(files, 4);
  ASSERT_FALSE(HasFatalFailure());
  convert_up_to(files, 1);
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(convert_in(files).has_value());
  EXPECT_EQ(contents_of(files.live()) == whole_, true);
  const std::size_t states = files.for_each_state(
      [this](PowerCut& cut) {
        expect_goes_on(cut);
        return !HasFailure();
      },
      {.max_exhaustive = 2, .random_states = number_from_environment("GRAINMILL_POWER_CUTS", 150)});
  EXPECT_GT(resumed_, states / 10);
  RecordProperty("states", std::to_string(states));
}

std::vector<Output> kinds() {
  std::vector<Output> result;
  for (const std::string name : {"monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat",
                                 "streamOptimized", "qcow2", "qcow2_zlib_4k", "raw"})
    result.push_back(output_named(name));
  return result;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ResumePowerCut, ::testing::ValuesIn(kinds()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
