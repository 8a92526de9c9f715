// SPDX-License-Identifier: Apache-2.0
//
// Other programs read what is written here, and find it sound: qemu-img, vmdk-convert of open-vmdk,
// vmdkinfo of libvmdk. Each is skipped where it is not installed.
#include "tests/outputs.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"
#include "tests/variants.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

std::vector<NamedLayout> oracle_layouts() {
  std::vector<NamedLayout> result = layouts();
  result.push_back({"three_sectors", "3s:r"});
  result.push_back({"incompressible", "64k:r 2m:r 5s:r"});
  result.push_back({"whole_grains", "64k:A 64k:r 1m:- 128k:z 192k:B 32m:- 64k:C 2m:0 64k:D"});
  result.push_back({"tables_apart", "64k:A 33m:- 64k:r 64k:B 40m:- 1s:C"});
  result.push_back({"last_sector_only", "70m:- 127s:- 1s:A"});
  return result;
}

class WriterOracle : public ::testing::TestWithParam<Output> {
 protected:
  // Stores a layout in the output of this test.
  void make(const NamedLayout& named) {
    for (const std::string& name : names_in(dir_.path())) fs::remove(dir_ / name);
    layout_ = parse_layout(named.text);
    const BuiltDisk source = build_disk(dir_.path(), "disk", layout_, {.kind = Kind::raw});
    make_of(source.path());
  }
  void make_of(const fs::path& raw) {
    ConvertOptions options = convert_options(raw, GetParam(), dir_.path());
    options.disk.format = "raw";
    const Result<ConvertReport> report = convert(posix_file_system(), options);
    ASSERT_TRUE(report) << report.error();
  }
  void make_random(std::uint64_t seed) {
    const NamedLayout random{"random", to_string(random_layout(seed, (1 + mix(seed) % 9000) * 512,
                                                               4096ULL << mix(seed + 1) % 6))};
    SCOPED_TRACE(random.text);
    make(random);
  }

  std::vector<std::byte> want() const { return expected_bytes(layout_, 0, layout_.size_bytes()); }

  // Whole files of either: terabytes are compared elsewhere.
  void expect_qemu_reads(const std::vector<std::byte>& want) {
    const CommandResult raw = qemu_convert_to_raw(path_, theirs_, GetParam().format);
    ASSERT_TRUE(raw.ok()) << raw.err;
    expect_same_bytes(file_bytes(theirs_), want);
    const CommandResult info =
        run_command({"qemu-img", "info", "--output=json", "-f", GetParam().format, path_.string()});
    ASSERT_TRUE(info.ok()) << info.err;
    EXPECT_EQ(nlohmann::json::parse(info.out, nullptr, false)["virtual-size"], want.size());
  }
  // It exits with 3 where there is a leak.
  void expect_qemu_finds_it_sound() {
    if (!GetParam().is_qcow2() && !(GetParam().is_vmdk() && GetParam().sparse)) return;
    const CommandResult check =
        run_command({"qemu-img", "check", "-f", GetParam().format, path_.string()});
    EXPECT_EQ(check.exit_status, 0) << check.out << check.err;
  }
  // Older versions know no footers, and take such a stream for a raw disk.
  bool open_vmdk_knows_it() {
    const CommandResult info = run_command({"vmdk-convert", "-i", path_.string()});
    return nlohmann::json::parse(info.out, nullptr, false)["capacity"] == layout_.size_bytes();
  }
  void expect_open_vmdk_reads(const std::vector<std::byte>& want) {
    const CommandResult result = run_command({"vmdk-convert", path_.string(), theirs_.string()},
                                             {.timeout = std::chrono::seconds(20)});
    // It exits with 0 whatever happens.
    ASSERT_NE(result.out.find("Success"), std::string::npos) << result.out << result.err;
    expect_same_bytes(file_bytes(theirs_), want);
  }

  TempDir dir_;
  fs::path path_ = output_path(GetParam(), dir_.path());
  fs::path theirs_ = dir_ / "theirs.raw";
  Layout layout_;
};

TEST_P(WriterOracle, QemuReadsAndChecks) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  for (const NamedLayout& layout : oracle_layouts()) {
    SCOPED_TRACE(layout.text);
    ASSERT_NO_FATAL_FAILURE(make(layout));
    expect_qemu_reads(want());
    expect_qemu_finds_it_sound();
  }
}

TEST_P(WriterOracle, QemuReadsRandomDisks) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    ASSERT_NO_FATAL_FAILURE(make_random(mix(GetParam().name.size()) + seed));
    expect_qemu_reads(want());
    expect_qemu_finds_it_sound();
  }
}

// Sizes that no sector divides. VMDK and qemu count in sectors, and fill the last one with zeros.
TEST_P(WriterOracle, QemuReadsSizesOfAnyNumberOfBytes) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  for (const std::uint64_t size : {1U, 511U, 513U, 65'537U, 131'071U, 1'000'003U}) {
    SCOPED_TRACE(size);
    for (const std::string& name : names_in(dir_.path())) fs::remove(dir_ / name);
    std::vector<std::byte> bytes(size);
    fill_pattern('r', 0, bytes);
    write_file(dir_ / "odd.raw", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    ASSERT_NO_FATAL_FAILURE(make_of(dir_ / "odd.raw"));
    const Verification found =
        verify_image(path_, path_.string() + ".manifest", disk_options(GetParam()));
    EXPECT_TRUE(found.same()) << found;
    bytes.resize((size + 511) / 512 * 512);
    if (!GetParam().is_raw()) expect_disk_holds(path_, GetParam(), bytes);
    expect_qemu_reads(bytes);
    expect_qemu_finds_it_sound();
  }
}

TEST_P(WriterOracle, OpenVmdkReads) {
  if (!has_command("vmdk-convert")) GTEST_SKIP() << "no vmdk-convert";
  // It knows no descriptors, and no grains of more than 64 KiB.
  const bool is_readable = GetParam().is_stream() || GetParam().is_hosted_sparse();
  if (!is_readable || !GetParam().mark.empty() || GetParam().name == "sparse_1m")
    GTEST_SKIP() << "vmdk-convert does not read this kind";
  for (const NamedLayout& layout : oracle_layouts()) {
    // It never comes to the end of a disk that ends within a grain.
    if (parse_layout(layout.text).size_bytes() % (64 << 10) != 0) continue;
    SCOPED_TRACE(layout.text);
    ASSERT_NO_FATAL_FAILURE(make(layout));
    if (!open_vmdk_knows_it()) GTEST_SKIP() << "this vmdk-convert knows no footers";
    expect_open_vmdk_reads(want());
  }
}

TEST_P(WriterOracle, LibvmdkOpens) {
  if (!has_command("vmdkinfo")) GTEST_SKIP() << "no vmdkinfo";
  if (!GetParam().is_vmdk()) GTEST_SKIP() << "not a VMDK";
  if (GetParam().name == "sparse_4k") GTEST_SKIP() << "vmdkinfo takes no grains of 4 KiB";
  for (const NamedLayout& layout : oracle_layouts()) {
    SCOPED_TRACE(layout.text);
    ASSERT_NO_FATAL_FAILURE(make(layout));
    const CommandResult info = run_command({"vmdkinfo", path_.string()});
    EXPECT_EQ(info.exit_status, 0) << info.out << info.err;
    EXPECT_NE(info.out.find(std::to_string(layout_.size_bytes()) + " bytes"), std::string::npos)
        << info.out;
  }
}

INSTANTIATE_TEST_SUITE_P(All, WriterOracle, ::testing::ValuesIn(outputs()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace grainmill::testing
