// SPDX-License-Identifier: Apache-2.0
//
// Sizes said before an output is made, against outputs that are made, and against qemu-img.
#include "pipeline/measure.h"

#include "tests/outputs.h"
#include "tests/program.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLayout =
    "64k:A 64k:- 3s:B 125s:r 128k:z 192k:C 40m:- 64k:D 128k:- 512k:0 2m:r 7s:F";

MeasureOptions options_for(const Output& output) {
  MeasureOptions options;
  options.output_format = output.format;
  if (!output.settings.empty()) options.sink.settings = split_settings({output.settings});
  options.sink.compress = output.compress;
  options.sink.level = output.level;
  return options;
}

class Measure : public ::testing::TestWithParam<Output> {
 protected:
  OutputSize measured(const fs::path& source, bool exact) {
    MeasureOptions options = options_for(GetParam());
    options.source = source.string();
    options.exact = exact;
    const Result<OutputSize> size = measure(posix_file_system(), options);
    EXPECT_TRUE(size) << size.error();
    return size.value_or(OutputSize{});
  }
  OutputSize measured(std::uint64_t disk_bytes) {
    MeasureOptions options = options_for(GetParam());
    options.size_bytes = disk_bytes;
    const Result<OutputSize> size = measure(posix_file_system(), options);
    EXPECT_TRUE(size) << size.error();
    return size.value_or(OutputSize{});
  }
  // What a conversion leaves, without its manifest: lengths, or of flat files what is allocated.
  std::uint64_t made(const fs::path& source) {
    ConvertOptions options = convert_options(source, GetParam(), dir_.path());
    options.manifest.clear();
    EXPECT_TRUE(convert(posix_file_system(), options));
    std::uint64_t bytes = 0;
    for (const std::string& name : output_names(GetParam())) {
      if (name.ends_with(".manifest")) continue;
      const FileInfo info =
          (*posix_file_system().open_read((dir_ / name).string()))->info().value();
      const bool is_text = info.size_bytes < 4096;
      bytes += GetParam().sparse || is_text ? info.size_bytes : info.allocated_bytes;
    }
    return bytes;
  }

  TempDir dir_;
};

TEST_P(Measure, ExactIsWhatAConversionLeaves) {
  const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout(kLayout));
  const std::uint64_t said = measured(disk.path(), true).required_bytes;
  const std::uint64_t left = made(disk.path());
  // A descriptor of a few hundred bytes takes a block of a flat disk's file system.
  EXPECT_GE(said + 4096, left);
  EXPECT_LE(said, left + 4096);
  if (GetParam().sparse && GetParam().mark.empty()) {
    EXPECT_EQ(said, left);
  }
}

TEST_P(Measure, WithoutReadingItIsNoLess) {
  const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout(kLayout));
  const OutputSize exact = measured(disk.path(), true);
  const OutputSize most = measured(disk.path(), false);
  EXPECT_GE(most.required_bytes, exact.required_bytes);
  EXPECT_GE(most.fully_allocated_bytes, most.required_bytes);
  EXPECT_EQ(most.fully_allocated_bytes, exact.fully_allocated_bytes);
}

TEST_P(Measure, AFullDiskIsFullyAllocated) {
  const BuiltDisk disk = build_disk(dir_.path(), "disk", parse_layout("5m:r 3s:A"));
  EXPECT_EQ(measured(disk.path(), false).required_bytes,
            measured((5 << 20) + 1536).fully_allocated_bytes);
}

TEST_P(Measure, AnEmptyDiskTakesNextToNothing) {
  const OutputSize size = measured(kGiB);
  EXPECT_LE(size.required_bytes, 8 * kMiB);
  EXPECT_GE(size.fully_allocated_bytes, kGiB);
}

TEST_P(Measure, QemuSaysTheSameOfFullDisks) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  if (!GetParam().is_qcow2()) return;
  for (const std::string bytes : {"512", "65536", "1000448", "107374182400"}) {
    const bool is_small =
        GetParam().settings.contains("=512") || GetParam().settings.contains("=4k");
    if (is_small && bytes.size() > 9) continue;  // too many clusters
    std::vector<std::string> argv = {"qemu-img", "measure", "--output=json", "-O", "qcow2"};
    if (const std::string& settings = GetParam().settings; !settings.empty())
      argv.insert(argv.end(), {"-o", settings});
    argv.insert(argv.end(), {"--size", bytes});
    const CommandResult qemu = run_command(argv);
    ASSERT_TRUE(qemu.ok()) << qemu.err;
    EXPECT_EQ(measured(std::stoull(bytes)).fully_allocated_bytes,
              nlohmann::json::parse(qemu.out)["fully-allocated"].get<std::uint64_t>())
        << bytes;
  }
}

INSTANTIATE_TEST_SUITE_P(Outputs, Measure, ::testing::ValuesIn(outputs()),
                         [](const auto& test) { return test.param.name; });

TEST(MeasureProgram, PrintsWhatQemuPrints) {
  const TempDir dir;
  const BuiltDisk disk = build_disk(dir.path(), "disk", parse_layout("1m:A 3m:-"));
  const CommandResult human =
      run_program(dir.path(), {"measure", "-O", "qcow2", disk.path().string()});
  EXPECT_EQ(human.exit_status, 0) << human.err;
  EXPECT_EQ(human.out, "required size: 1376256\nfully allocated size: 4521984\n");
  const CommandResult json =
      run_program(dir.path(), {"measure", "--output", "json", "-O", "qcow2", disk.path().string()});
  EXPECT_EQ(nlohmann::json::parse(json.out),
            (nlohmann::json{{"required", 1376256}, {"fully-allocated", 4521984}}));
}

TEST(MeasureProgram, RefusesWhatItCannotMeasure) {
  const TempDir dir;
  const BuiltDisk disk = build_disk(dir.path(), "disk", parse_layout("1m:A"));
  const std::string image = disk.path().string();
  EXPECT_EQ(run_program(dir.path(), {"measure"}).exit_status, 1);
  EXPECT_EQ(run_program(dir.path(), {"measure", "--size", "1G", image}).exit_status, 1);
  const CommandResult unknown = run_program(dir.path(), {"measure", "-O", "vhd", image});
  EXPECT_EQ(unknown.exit_status, 1);
  EXPECT_NE(unknown.err.find("'vhd' cannot be written"), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace grainmill::testing
