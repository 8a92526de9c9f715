// SPDX-License-Identifier: Apache-2.0
//
// `grainmill convert` to other things than a new raw file: disks of other formats, pipes, files
// that are there already, block devices.
#include "tests/conversion.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/little_endian.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class ConvertProgram : public ::testing::Test {
 protected:
  void SetUp() override { build_disk(dir_.path(), "disk", layout_); }

  CommandResult run(Arguments arguments) {
    arguments.insert(arguments.begin(), "convert");
    return run_program(dir_.path(), arguments);
  }
  // A line for bash, in which $GRAINMILL is the program.
  CommandResult run_shell(const std::string& line) {
    return run_command({"bash", "-c", "set -o pipefail; " + line},
                       {.working_dir = dir_.path(),
                        .environment = {"GRAINMILL=" + program_path().string()},
                        .timeout = std::chrono::seconds(60)});
  }

  // Refused with these words on standard error, with nothing on standard output and no file made.
  void expect_refused(const Arguments& arguments, const std::vector<std::string>& words) {
    const std::vector<std::string> before = names_in(dir_.path());
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in: " << result.err;
    EXPECT_EQ(names_in(dir_.path()), before);
  }

  std::vector<std::byte> want() const { return expected_bytes(layout_, 0, layout_.size_bytes()); }
  void expect_image(const std::string& name, const std::string& format = "") {
    DiskOptions options;
    options.format = format;
    const Result<Disk> disk = Disk::open(posix_file_system(), (dir_ / name).string(), options);
    ASSERT_TRUE(disk) << disk.error();
    const Status sound = disk->check();
    EXPECT_TRUE(sound) << sound.error();
    std::vector<std::byte> bytes(disk->size_bytes());
    ASSERT_TRUE(disk->read_at(0, bytes));
    expect_same_bytes(bytes, want());
  }

  Layout layout_ = parse_layout("64k:A 64k:- 64k:r 7s:B 121s:- 3m:- 64k:D | 192k:^ 64k:C 3136k:^");
  TempDir dir_;
  const std::string source_ = "disk-000001.vmdk";
};

// --- Standard output ---

TEST_F(ConvertProgram, WritesAStreamToAPipe) {
  const CommandResult result = run({"-O", "vmdk", "-c", source_, "-"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  EXPECT_NE(result.err.find("-: "), std::string::npos) << "the report: " << result.err;
  write_file(dir_ / "out.vmdk", result.out);
  expect_image("out.vmdk", "vmdk");
  const CommandResult quiet = run({"-q", "-O", "vmdk", "-c", source_, "-"});
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(quiet.out.size(), result.out.size());
}

TEST_F(ConvertProgram, WritesAStreamToAFileByRedirection) {
  const CommandResult result = run_shell(
      "\"$GRAINMILL\" convert -O vmdk -o subformat=streamOptimized disk-000001.vmdk - "
      "> out.vmdk");
  ASSERT_TRUE(result.ok()) << result.err;
  expect_image("out.vmdk", "vmdk");
  EXPECT_FALSE(fs::exists(dir_ / "-.manifest")) << "a stream has no name to call one by";
}

TEST_F(ConvertProgram, WritesARawDiskToAPipe) {
  for (const std::string threads : {"1", "8"}) {
    const CommandResult result = run({"--threads", threads, source_, "-"});
    ASSERT_EQ(result.exit_status, 0) << result.err;
    write_file(dir_ / "out.img", result.out);
    expect_same_bytes(file_bytes(dir_ / "out.img"), want());
  }
}

TEST_F(ConvertProgram, WritesTheZerosOfLongHolesToAPipe) {
  build_disk(dir_.path(), "long", parse_layout("64k:A 300m:- 64k:B 3s:- 1s:C 200m:-"));
  ASSERT_TRUE(run({"-q", "long.vmdk", "long.img"}).ok());
  const CommandResult result = run_shell(
      "\"$GRAINMILL\" convert -q long.vmdk - | cmp - long.img && "
      "\"$GRAINMILL\" convert -q -S 0 long.vmdk - | cmp - long.img");
  EXPECT_TRUE(result.ok()) << result.out << result.err;
}

TEST_F(ConvertProgram, AStreamMayHaveAManifest) {
  const CommandResult result =
      run_shell("\"$GRAINMILL\" convert -O vmdk -c --manifest m disk-000001.vmdk - > out.vmdk");
  ASSERT_TRUE(result.ok()) << result.err;
  const Verification found = verify_image(dir_ / "out.vmdk", dir_ / "m");
  EXPECT_TRUE(found.same()) << found;
}

TEST_F(ConvertProgram, WhatNeedsToSeekIsRefusedWithAdvice) {
  expect_refused({"-O", "qcow2", source_, "-"}, {"name a file", "-O vmdk -c"});
  expect_refused({"-O", "qcow2", "-c", source_, "-"}, {"name a file"});
  expect_refused({"-O", "vmdk", source_, "-"}, {"standard output", "use -c"});
  for (const std::string subformat :
       {"monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat", "vmfs"})
    expect_refused({"-O", "vmdk", "-o", "subformat=" + subformat, source_, "-"},
                   {"streamOptimized", "use -c"});
}

TEST_F(ConvertProgram, AReaderThatGoesAwayIsAnError) {
  build_long_disk(dir_ / "long.raw", 16);
  for (const std::string format : {"raw", "vmdk -c"}) {
    for (const std::string threads : {"1", "8"}) {
      SCOPED_TRACE(::testing::Message() << format << ", threads " << threads);
      std::string command = "\"$GRAINMILL\" convert -q --threads ";
      command.append(threads).append(" -f raw -O ").append(format);
      command.append(" long.raw - | head -c 100 | wc -c; echo ${PIPESTATUS[0]}");
      const CommandResult result = run_shell(command);
      EXPECT_FALSE(result.timed_out);
      EXPECT_EQ(result.out, "100\n1\n");
      EXPECT_NE(result.err.find("standard output"), std::string::npos) << result.err;
      EXPECT_NE(result.err.find("Broken pipe"), std::string::npos) << result.err;
    }
  }
}

// Descriptors that are closed are the next that the program would get for its own files.
TEST_F(ConvertProgram, ClosedStandardStreamsDoNotGetIntoTheOutput) {
  for (const std::string closed : {">&-", "2>&-", "<&- >&- 2>&-"}) {
    SCOPED_TRACE(closed);
    const CommandResult result =
        run_shell("\"$GRAINMILL\" convert -p disk-000001.vmdk out.img " + closed + "; true");
    EXPECT_TRUE(result.ok()) << result.err;
    expect_image("out.img", "raw");
    const Verification found = verify_image(dir_ / "out.img", dir_ / "out.img.manifest");
    EXPECT_TRUE(found.same()) << found;
    fs::remove(dir_ / "out.img");
    fs::remove(dir_ / "out.img.manifest");
  }
  const CommandResult result = run_shell("\"$GRAINMILL\" convert disk-000001.vmdk - >&-");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("standard output"), std::string::npos) << result.err;
}

TEST_F(ConvertProgram, APipeThatDoesNotBlockIsWaitedFor) {
  if (!has_command("python3")) GTEST_SKIP() << "no python3";
  build_long_disk(dir_ / "long.raw", 4);
  const CommandResult result = run_shell(
      "python3 -c 'import fcntl, os, sys; fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK); "
      "os.execv(sys.argv[1], sys.argv[1:])' \"$GRAINMILL\" convert -q -f raw long.raw - | "
      "(sleep 0.3; cmp - long.raw)");
  EXPECT_TRUE(result.ok()) << result.out << result.err;
}

TEST_F(ConvertProgram, AFullDeviceIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const CommandResult result =
      run_shell("\"$GRAINMILL\" convert -q -O vmdk -c disk-000001.vmdk - > /dev/full");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.err;
}

// A stream ends with a marker of its own; without it, its reader knows that it is not whole.
TEST_F(ConvertProgram, AStreamOfADamagedDiskHasNoEnd) {
  const BuiltDisk bad = build_disk(dir_.path(), "bad", parse_layout("4m:A 64k:r 4m:B"),
                                   {.kind = Kind::stream_optimized});
  flip_bits(bad.path(), bad.links[0].extents[0].grain_at(3 << 20).data_offset + 40, 0xff);
  for (const std::string threads : {"1", "8"}) {
    const CommandResult result =
        run({"--threads", threads, "-O", "vmdk", "-c", "--manifest", "m", "bad.vmdk", "-"});
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find("\nTo see all that is wrong: grainmill check bad.vmdk\n"),
              std::string::npos)
        << result.err;
    EXPECT_FALSE(fs::exists(dir_ / "m"));
    const auto bytes = std::as_bytes(std::span(result.out));
    ASSERT_GE(bytes.size(), 65536U);
    std::uint64_t last = 0;
    for (std::uint64_t at = 65536; at < bytes.size();) {
      const std::uint64_t stored = get_le32(bytes, at + 8);
      ASSERT_NE(stored, 0U) << "a marker";
      last = get_le64(bytes, at);
      at += (12 + stored + 511) / 512 * 512;
    }
    EXPECT_LT(last * 512, 3U << 20) << "a grain from behind the damage";
    write_file(dir_ / "broken.vmdk", result.out);
    const Result<Disk> disk = Disk::open(posix_file_system(), (dir_ / "broken.vmdk").string(), {});
    EXPECT_FALSE(disk && disk->check());
  }
}

TEST_F(ConvertProgram, ASourceThatStandardOutputGoesToIsRefused) {
  const std::vector<std::byte> before = file_bytes(dir_ / "disk.vmdk");
  for (const std::string mode : {"1<>", ">>"}) {
    const CommandResult result =
        run_shell("\"$GRAINMILL\" convert disk-000001.vmdk - " + mode + " disk.vmdk");
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_NE(result.err.find("part of the source"), std::string::npos) << result.err;
    EXPECT_EQ(file_bytes(dir_ / "disk.vmdk") == before, true);
  }
}

TEST_F(ConvertProgram, AFileCalledMinusIsLeftAlone) {
  write_file(dir_ / "-", "mine");
  write_file(dir_ / "-.manifest", "mine too");
  EXPECT_TRUE(run({"-q", source_, "-"}).ok());
  EXPECT_TRUE(run({"-q", "--no-manifest", source_, "-"}).ok());
  EXPECT_EQ(fs::file_size(dir_ / "-"), 4U);
  EXPECT_EQ(fs::file_size(dir_ / "-.manifest"), 8U);
}

TEST_F(ConvertProgram, ProgressGoesBesideADiskOnStandardOutput) {
  const CommandResult result = run({"--progress", "json", source_, "-"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out.size(), layout_.size_bytes());
  std::istringstream lines(result.err);
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);)
    objects.push_back(nlohmann::json::parse(line, nullptr, false));
  ASSERT_GE(objects.size(), 2U);
  for (const nlohmann::json& object : objects) ASSERT_TRUE(object.is_object()) << result.err;
  EXPECT_EQ(objects.front()["event"], "progress");
  EXPECT_EQ(objects.back()["event"], "done");
  EXPECT_EQ(objects.back()["output"], "-");
}

// --- Files that are there already ---

TEST_F(ConvertProgram, WritesOverARawFileThatIsThere) {
  for (const std::uint64_t more : {0U, 512U, 1'000'000U}) {
    SCOPED_TRACE(more);
    const std::uint64_t size = layout_.size_bytes();
    write_file(dir_ / "out.img", std::string(size + more, 'x'));
    fs::create_hard_link(dir_ / "out.img", dir_ / "alias.img");
    const CommandResult result = run({"-n", "-O", "raw", source_, "out.img"});
    ASSERT_EQ(result.exit_status, 0) << result.err;
    EXPECT_EQ(fs::hard_link_count(dir_ / "out.img"), 2U) << "the same file as before";
    expect_same_bytes(file_bytes(dir_ / "out.img", 0, size), want());
    // What lies behind the disk is not the disk's.
    EXPECT_EQ(fs::file_size(dir_ / "out.img"), size + more);
    for (const std::byte byte : file_bytes(dir_ / "out.img", size, more))
      ASSERT_EQ(byte, std::byte{'x'});
    fs::remove(dir_ / "alias.img");
  }
}

TEST_F(ConvertProgram, AFileThatIsTooSmallIsLeftAsItIs) {
  write_file(dir_ / "out.img", std::string(layout_.size_bytes() - 1, 'x'));
  const std::vector<std::byte> before = file_bytes(dir_ / "out.img");
  expect_refused({"-n", source_, "out.img"},
                 {"out.img", std::to_string(before.size()), std::to_string(before.size() + 1)});
  EXPECT_EQ(file_bytes(dir_ / "out.img") == before, true);
  expect_refused({"-n", source_, "none.img"}, {"none.img", "No such file"});
}

TEST_F(ConvertProgram, OnlyRawDisksAreWrittenInPlace) {
  write_file(dir_ / "out.img", std::string(1 << 20, 'x'));
  expect_refused({"-n", "-O", "qcow2", source_, "out.img"}, {"leave out -n"});
  expect_refused({"-n", "-O", "vmdk", source_, "out.img"}, {"leave out -n"});
  expect_refused({"-n", "-O", "vmdk", "-c", source_, "out.img"}, {"leave out -n"});
  for (const std::string& part : {source_, std::string("disk.vmdk")})
    expect_refused({"-n", source_, part}, {part, "part of the source"});
}

// --- Sources and manifests among the output's files ---

TEST_F(ConvertProgram, NoFileOfTheOutputMayBePartOfTheSource) {
  const std::string subformat = "subformat=";
  for (const auto& [kind, name] :
       std::vector<std::pair<Kind, std::string>>{{Kind::monolithic_flat, "monolithicFlat"},
                                                 {Kind::two_gb_flat, "twoGbMaxExtentFlat"},
                                                 {Kind::two_gb_sparse, "twoGbMaxExtentSparse"}}) {
    SCOPED_TRACE(name);
    const BuiltDisk disk = build_disk(dir_.path(), "other", parse_layout("64k:A"), {.kind = kind});
    std::vector<std::vector<std::byte>> before;
    for (const fs::path& file : disk.files()) before.push_back(file_bytes(file));
    // By its descriptor's name, and by that of its extent alone.
    expect_refused({"-O", "vmdk", "-o", subformat + name, "other.vmdk", "other.vmdk"},
                   {"part of the source"});
    const std::string extent = disk.links[0].extents[0].path.filename();
    fs::rename(dir_ / "other.vmdk", dir_ / "moved.vmdk");
    expect_refused({"-O", "vmdk", "-o", subformat + name, "moved.vmdk", "other.vmdk"},
                   {extent, "part of the source"});
    expect_refused({"-f", "raw", "-O", "vmdk", "-o", subformat + name, extent, "other.vmdk"},
                   {extent, "part of the source"});
    fs::rename(dir_ / "moved.vmdk", dir_ / "other.vmdk");
    for (std::size_t i = 0; i < before.size(); ++i)
      EXPECT_EQ(file_bytes(disk.files()[i]) == before[i], true);
    for (const fs::path& file : disk.files()) fs::remove(file);
  }
}

TEST_F(ConvertProgram, AManifestHasANameOfItsOwn) {
  for (const std::string manifest : {"out.vmdk", "./out.vmdk", "out-flat.vmdk", "./out-flat.vmdk"})
    expect_refused({"-O", "vmdk", "-o", "subformat=monolithicFlat", "--manifest", manifest, source_,
                    "out.vmdk"},
                   {"both", "manifest"});
  expect_refused({"-O", "qcow2", "--manifest", "out.qcow2", source_, "out.qcow2"}, {"both"});
}

TEST_F(ConvertProgram, StrangersWithTheNameOfAPartAreNotTakenForOne) {
  write_file(dir_ / "out-s002.vmdk", "of another disk");
  expect_refused({"-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", source_, "out.vmdk"},
                 {"out-s002.vmdk", "move it away"});
}

// --- Options ---

TEST_F(ConvertProgram, HelpListsTheOptionsOfAFormat) {
  for (const Arguments& files : {Arguments{}, Arguments{source_, "out"}}) {
    for (const auto& [format, word] : std::vector<std::pair<std::string, std::string>>{
             {"vmdk", "subformat="}, {"qcow2", "cluster_size="}, {"raw", "no options"}}) {
      Arguments arguments = {"-O", format, "-o", "help"};
      arguments.insert(arguments.end(), files.begin(), files.end());
      const CommandResult help = run(arguments);
      EXPECT_EQ(help.exit_status, 0) << help.err;
      EXPECT_NE(help.out.find(word), std::string::npos) << help.out;
      EXPECT_EQ(help.err, "");
      EXPECT_FALSE(fs::exists(dir_ / "out"));
    }
  }
}

TEST_F(ConvertProgram, RefusesOptionsThatMeanNothing) {
  const auto vmdk = [&](const std::string& option) {
    return Arguments{"-O", "vmdk", "-o", option, source_, "out.vmdk"};
  };
  expect_refused(vmdk("frobnicate=1"), {"frobnicate", "-o help"});
  expect_refused(vmdk("subformat=dense"), {"dense", "monolithicSparse"});
  expect_refused(vmdk("grain_size=3k"), {"grain_size", "power of two"});
  expect_refused(vmdk("subformat=vmfs,grain_size=64k"), {"grain_size"});
  expect_refused(vmdk("subformat=streamOptimized,zeroed_grain=on"), {"zeroed_grain"});
  expect_refused(vmdk("adapter_type=scsi"), {"scsi", "lsilogic"});
  expect_refused(vmdk("hwversion=new"), {"hwversion", "whole number"});
  const auto qcow2 = [&](const std::string& option) {
    return Arguments{"-O", "qcow2", "-o", option, source_, "out.qcow2"};
  };
  expect_refused(qcow2("frobnicate=1"), {"frobnicate", "-o help"});
  expect_refused(qcow2("cluster_size=100"), {"cluster_size", "512 to 2M"});
  expect_refused(qcow2("cluster_size=4M"), {"cluster_size", "512 to 2M"});
  expect_refused(qcow2("compression_type=lz4"), {"compression_type", "zlib or zstd"});
  expect_refused(qcow2("lazy_refcounts=maybe"), {"lazy_refcounts", "on or off"});
  expect_refused(qcow2("compat=0.10"), {"compat", "1.1"});
  expect_refused(qcow2("preallocation=full"), {"preallocation"});
  expect_refused({"-o", "size=1", source_, "out.img"}, {"size", "no options"});
}

TEST_F(ConvertProgram, RefusesCompressionThatMeansNothing) {
  expect_refused({"-c", source_, "out.img"}, {"-c", "raw"});
  expect_refused({"--level", "6", source_, "out.img"}, {"--level", "raw"});
  expect_refused({"--level", "nonsense", source_, "out.img"}, {"--level"});
  expect_refused({"-O", "vmdk", "-c", "-o", "subformat=vmfs", source_, "o.vmdk"}, {"vmfs", "-c"});
  expect_refused({"-O", "vmdk", "--level", "6", source_, "out.vmdk"}, {"--level"});
  expect_refused({"-O", "qcow2", "--level", "6", source_, "out.qcow2"}, {"use -c"});
  for (const std::string level : {"nonsense", "0", "13", "-1", "6x"}) {
    expect_refused({"-O", "vmdk", "-c", "--level=" + level, source_, "out.vmdk"},
                   {level, "1 to 12"});
    expect_refused({"-O", "qcow2", "-c", "--level=" + level, source_, "out.qcow2"},
                   {level, "1 to 12"});
  }
  expect_refused(
      {"-O", "qcow2", "-c", "-o", "compression_type=zstd", "--level", "23", source_, "o"},
      {"23", "1 to 22"});
}

TEST_F(ConvertProgram, TellsOfASectorThatItFilledUp) {
  write_file(dir_ / "odd.raw", "a thousand bytes, nearly");
  const CommandResult raw = run({"-f", "raw", "odd.raw", "out.img"});
  EXPECT_TRUE(raw.ok());
  EXPECT_EQ(raw.err, "");
  EXPECT_EQ(fs::file_size(dir_ / "out.img"), 24U);
  for (const std::string format : {"qcow2", "vmdk"}) {
    const CommandResult result = run({"-f", "raw", "-O", format, "odd.raw", "out." + format});
    EXPECT_TRUE(result.ok());
    EXPECT_NE(result.err.find("warning: odd.raw: the 24 bytes"), std::string::npos) << result.err;
    const Verification found =
        verify_image(dir_ / ("out." + format), dir_ / ("out." + format + ".manifest"));
    EXPECT_TRUE(found.same()) << found;
    EXPECT_EQ(found.report->disk_bytes, 512U);
  }
}

}  // namespace
}  // namespace grainmill::testing
