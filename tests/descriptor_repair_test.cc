// SPDX-License-Identifier: Apache-2.0
//
// Descriptors that are put right by the files that they name; and sizes that differ, of which one
// is put right only where something tells which. (All kinds of damage are for the damage tests.)
#include "pipeline/repair.h"
#include "tests/fakes/outcome.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  const std::vector<std::byte> bytes = file_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void restore(const fs::path& path, const std::vector<std::byte>& bytes) {
  if (same_bytes(file_bytes(path), bytes)) return;
  fs::resize_file(path, 0);
  patch_file(path, 0, bytes);
}

void replace_in(const fs::path& path, const std::string& old, const std::string& fresh) {
  std::string text = text_of(path);
  const std::size_t at = text.find(old);
  ASSERT_NE(at, std::string::npos) << old;
  const bool embedded = text.starts_with("KDMV");
  text.replace(at, old.size(), fresh);
  if (embedded) {
    // What follows stays where it is: the zeros behind the text give way.
    const std::size_t end = text.find('\0', at);
    if (fresh.size() > old.size())
      text.erase(end, fresh.size() - old.size());
    else
      text.insert(end, old.size() - fresh.size(), '\0');
  }
  fs::resize_file(path, 0);
  patch_file(path, 0, text);
}

class DescriptorRepairTest : public ::testing::TestWithParam<Kind> {
 protected:
  // Two cylinders of 255 heads with 63 sectors, so that half and twice of it are other numbers.
  void build() {
    LinkOptions options;
    options.kind = GetParam();
    disk_ = build_disk(dir_.path(), "disk", parse_layout("192k:A 15873k:-"), {options});
    for (const fs::path& path : disk_.files()) healthy_[path] = file_bytes(path);
    const std::string text = text_of(disk_.path());
    const std::size_t begin = text.find("\nRW ") + 1;
    line_ = text.substr(begin, text.find('\n', begin) - begin);
  }
  std::string size() const { return line_.substr(3, line_.find(' ', 3) - 3); }
  void change_line(const std::string& from, const std::string& to) {
    std::string line = line_;
    line.replace(line.find(from), from.size(), to);
    replace_in(disk_.path(), line_, line);
  }

  Result<RepairReport> run(bool write) {
    RepairOptions options;
    options.check.image = disk_.path();
    options.check.graph.threads = 1;
    options.write = write;
    return repair(posix_file_system(), options);
  }
  void expect_repaired() {
    const Result<RepairReport> report = run(true);
    ASSERT_TRUE(IsOk(report));
    EXPECT_NE(report->before.damage, 0U);
    EXPECT_EQ(report->corrections, 1U);
    EXPECT_TRUE(report->after.sound());
    EXPECT_TRUE(text_of(disk_.path()).contains("\n" + line_ + "\n")) << line_;
    for (const auto& [path, bytes] : healthy_) {
      if (path == disk_.path()) continue;
      EXPECT_EQ(file_bytes(path), bytes) << path;
    }
  }

  TempDir dir_;
  BuiltDisk disk_;
  std::map<fs::path, std::vector<std::byte>> healthy_;
  std::string line_;  // the first extent line
};

TEST_P(DescriptorRepairTest, TheSizeInAnExtentLine) {
  build();
  for (const std::string& wrong :
       {std::to_string(std::stoull(size()) * 2), std::to_string(std::stoull(size()) / 2),
        size() + "0", std::string("0"), std::string("1"), std::string("x"), std::string("-1")}) {
    SCOPED_TRACE(wrong);
    change_line(size(), wrong);
    expect_repaired();
    for (const auto& [path, bytes] : healthy_) restore(path, bytes);
  }
}

TEST_P(DescriptorRepairTest, TheRestOfAnExtentLine) {
  build();
  const std::string name = line_.substr(line_.find('"'));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"RW", "NOACCESS"}, {"RW", "R"}, {line_.substr(0, line_.find('"')), "RW "}}) {
    SCOPED_TRACE(to);
    change_line(from, to);
    expect_repaired();
    for (const auto& [path, bytes] : healthy_) restore(path, bytes);
  }
}

// qemu takes an extent line behind an empty line for two.
TEST_P(DescriptorRepairTest, AnExtentLineThatIsLostWithTheCommentAboveIt) {
  build();
  replace_in(disk_.path(), "# Extent description\n" + line_ + "\n", "");
  expect_repaired();
  EXPECT_TRUE(text_of(disk_.path()).contains("# Extent description\n" + line_ + "\n"));
}

TEST_P(DescriptorRepairTest, LeavesSizesAloneOfWhichNothingTellsTheRightOne) {
  build();
  // Less than a cylinder more, and in the same grain table.
  change_line(size(), std::to_string(std::stoull(size()) + 128));
  std::map<fs::path, std::vector<std::byte>> damaged;
  for (const auto& [path, bytes] : healthy_) damaged[path] = file_bytes(path);
  const Result<RepairReport> report = run(true);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->corrections, 0U);
  EXPECT_NE(report->after.damage, 0U);
  for (const auto& [path, bytes] : damaged) EXPECT_EQ(file_bytes(path), bytes) << path;
}

std::string kind_name(const ::testing::TestParamInfo<Kind>& info) {
  switch (info.param) {
    case Kind::two_gb_sparse:
      return "Split";
    case Kind::monolithic_flat:
      return "Flat";
    case Kind::vmfs:
      return "Vmfs";
    default:
      return "Sparse";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DescriptorRepairTest,
                         ::testing::Values(Kind::monolithic_sparse, Kind::two_gb_sparse,
                                           Kind::monolithic_flat, Kind::vmfs),
                         kind_name);

using HeaderRepairTest = DescriptorRepairTest;

TEST_P(HeaderRepairTest, TheSizeInTheHeader) {
  build();
  const fs::path file = disk_.links[0].extents[0].path;
  for (const std::uint32_t wrong : {0U, 1U, 16065U, 64260U, 0x80000000U}) {
    SCOPED_TRACE(wrong);
    constexpr std::uint64_t kCapacity = 12;
    patch_word(file, kCapacity, wrong);
    const Result<RepairReport> report = run(true);
    ASSERT_TRUE(IsOk(report));
    EXPECT_TRUE(report->after.sound());
    EXPECT_EQ(file_bytes(file), healthy_[file]);
    for (const auto& [path, bytes] : healthy_) restore(path, bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, HeaderRepairTest,
                         ::testing::Values(Kind::monolithic_sparse, Kind::two_gb_sparse),
                         kind_name);

// Of an image laid out as writers lay them out; those of the builder need not be.
TEST(LostHeaderTest, IsMadeAnewWhereTheLayoutIsTheUsualOne) {
  const TempDir dir;
  build_disk(dir.path(), "disk", parse_layout("192k:A 15873k:- 64k:B"));
  for (const std::string kind : {"monolithicSparse", "twoGbMaxExtentSparse"}) {
    const std::string name = kind + ".vmdk";
    ASSERT_EQ(run_program(dir.path(), {"convert", "-q", "-O", "vmdk", "-o", "subformat=" + kind,
                                       "disk.vmdk", name})
                  .exit_status,
              0);
    const fs::path file =
        dir / (kind == "monolithicSparse" ? name : "twoGbMaxExtentSparse-s001.vmdk");
    const std::vector<std::byte> healthy = file_bytes(file);
    patch_file(file, 0, std::vector<std::byte>(512));
    EXPECT_NE(run_program(dir.path(), {"check", name}).exit_status, 0);
    const CommandResult repaired =
        run_program(dir.path(), {"check", "-f", "vmdk", "--repair", "--yes", name});
    EXPECT_EQ(repaired.exit_status, 0) << repaired.out << repaired.err;
    EXPECT_EQ(file_bytes(file), healthy);
  }
}

// Ways to lose the first sector.
std::vector<std::string> lost_sectors() {
  std::vector<std::string> sectors;
  for (const char c : {'\0', 'x', '\n', '\xff'}) sectors.emplace_back(512, c);
  std::mt19937 random(1);
  for (int i = 0; i < 4; ++i) {
    std::string sector(512, '\0');
    // Half of them without a zero byte.
    for (char& c : sector) c = static_cast<char>(random() % (i < 2 ? 256 : 255) + (i < 2 ? 0 : 1));
    sectors.push_back(std::move(sector));
  }
  return sectors;
}

// Images of the other program that writes them.
class LostQemuHeaderTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_command("qemu-img")) GTEST_SKIP() << "needs qemu-img";
    if (!has_command("qemu-io")) GTEST_SKIP() << "needs qemu-io";
    build_disk(dir_.path(), "disk", parse_layout("192k:A 65536k:- 64k:B"));
    const std::string raw = dir_ / "disk.raw";
    ASSERT_EQ(
        run_program(dir_.path(), {"convert", "-q", "-O", "raw", "disk.vmdk", raw}).exit_status, 0);
    ASSERT_TRUE(run_command({"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o",
                             std::string("subformat=") + GetParam(), raw, image()})
                    .ok());
    if (std::string_view(GetParam()).contains("zeroed_grain")) {
      ASSERT_TRUE(run_command({"qemu-io", "-f", "vmdk", "-c", "write -z 1M 64k", image()}).ok());
    }
    ASSERT_TRUE(run_command({"qemu-img", "convert", "-f", "vmdk", "-O", "raw", image(), raw}).ok());
    healthy_ = file_bytes(image());
  }
  std::string image() const { return dir_ / "image.vmdk"; }
  CommandResult program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir_.path(), arguments);
  }

  TempDir dir_;
  std::vector<std::byte> healthy_;
};

TEST_P(LostQemuHeaderTest, IsMadeAnewWhateverStandsInItsPlace) {
  for (const std::string& sector : lost_sectors()) {
    patch_file(image(), 0, sector);
    const CommandResult checked = program({"image.vmdk"});
    EXPECT_EQ(checked.exit_status, 2) << checked.out << checked.err;
    EXPECT_TRUE(checked.out.contains("whose header is damaged")) << checked.out;
    EXPECT_TRUE(checked.out.contains("`grainmill check --repair -f vmdk image.vmdk`"));
    EXPECT_TRUE(checked.out.contains(": grainmill check --repair -f vmdk image.vmdk\n"));
    const CommandResult converted = run_program(dir_.path(), {"convert", "image.vmdk", "out.raw"});
    EXPECT_EQ(converted.exit_status, 1);
    EXPECT_TRUE(converted.err.contains(": grainmill check -f vmdk image.vmdk\n"));
    const CommandResult saved = program({"--salvage", "saved.raw", "-f", "vmdk", "image.vmdk"});
    EXPECT_EQ(saved.exit_status, 0) << saved.out << saved.err;
    EXPECT_EQ(file_bytes(dir_ / "saved.raw"), file_bytes(dir_ / "disk.raw"));
    for (const char* const name : {"saved.raw", "saved.raw.map"}) fs::remove(dir_ / name);
    const CommandResult repaired = program({"-f", "vmdk", "--repair", "--yes", "image.vmdk"});
    EXPECT_EQ(repaired.exit_status, 0) << repaired.out << repaired.err;
    EXPECT_EQ(file_bytes(image()), healthy_);
    restore(image(), healthy_);
  }
}

TEST_P(LostQemuHeaderTest, LeavesTheDescriptorAloneWhereItIsUndecided) {
  for (const std::string& sector : lost_sectors()) {
    patch_file(image(), 0, sector);
    constexpr std::uint64_t kTables = 21UL * 512;
    patch_file(image(), kTables, std::vector<std::byte>(64UL * 512, std::byte{0x5a}));
    const std::vector<std::byte> damaged = file_bytes(image());
    const CommandResult repaired = program({"-f", "vmdk", "--repair", "--yes", "image.vmdk"});
    EXPECT_EQ(repaired.exit_status, 2) << repaired.out << repaired.err;
    EXPECT_TRUE(repaired.out.contains("the header is lost")) << repaired.out;
    EXPECT_FALSE(repaired.out.contains("begins like a descriptor")) << repaired.out;
    EXPECT_EQ(file_bytes(image()), damaged);
    const CommandResult saved = program({"--salvage", "saved.raw", "-f", "vmdk", "image.vmdk"});
    EXPECT_EQ(saved.exit_status, 1) << saved.out << saved.err;
    EXPECT_TRUE(saved.err.contains("header is lost")) << saved.err;
    restore(image(), healthy_);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, LostQemuHeaderTest,
                         ::testing::Values("monolithicSparse", "streamOptimized",
                                           "monolithicSparse,zeroed_grain=on"),
                         [](const auto& of) {
                           std::string name = of.param;
                           std::erase_if(name,
                                         [](char c) { return c == ',' || c == '_' || c == '='; });
                           return name;
                         });

// Our streams have their header again at the end.
TEST(LostHeaderTest, OfAStreamIsReadFromItsFooter) {
  const TempDir dir;
  build_disk(dir.path(), "disk", parse_layout("192k:A 15873k:- 64k:B"));
  ASSERT_EQ(run_program(dir.path(), {"convert", "-q", "-O", "vmdk", "-o",
                                     "subformat=streamOptimized", "disk.vmdk", "image.vmdk"})
                .exit_status,
            0);
  const fs::path image = dir / "image.vmdk";
  const std::vector<std::byte> healthy = file_bytes(image);
  for (const std::string& sector : lost_sectors()) {
    patch_file(image, 0, sector);
    const CommandResult repaired =
        run_program(dir.path(), {"check", "-f", "vmdk", "--repair", "--yes", "image.vmdk"});
    EXPECT_EQ(repaired.exit_status, 0) << repaired.out << repaired.err;
    EXPECT_EQ(file_bytes(image), healthy);
  }
}

TEST(LostHeaderTest, OfAParentIsMadeAnewWithItsChild) {
  const TempDir dir;
  const BuiltDisk disk = build_disk(dir.path(), "disk", parse_layout("64k:A 64k:- | 64k:^ 64k:B"));
  const fs::path parent = dir / "disk.vmdk";
  const std::vector<std::byte> healthy = file_bytes(parent);
  const std::string child = disk.path().filename();
  const auto program = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir.path(), arguments);
  };
  patch_file(parent, 0, std::string("?"));
  const CommandResult checked = program({child});
  EXPECT_EQ(checked.exit_status, 2) << checked.out << checked.err;
  EXPECT_TRUE(checked.out.contains("whose header is damaged")) << checked.out;
  const CommandResult saved = program({"--salvage", "saved.raw", child});
  EXPECT_EQ(saved.exit_status, 0) << saved.out << saved.err;
  const CommandResult repaired = program({"--repair", "--yes", child});
  EXPECT_EQ(repaired.exit_status, 0) << repaired.out << repaired.err;
  EXPECT_EQ(file_bytes(parent), healthy);
}

TEST(DescriptorRepair, KeepsNamesWithQuotes) {
  for (const std::string name : {"\"test\".vmdk", "te\"st.vmdk", "a \"b\" 2 copy.vmdk"}) {
    SCOPED_TRACE(name);
    const TempDir dir;
    if (!has_command("qemu-img")) GTEST_SKIP() << "needs qemu-img";
    const std::string image = dir / name;
    ASSERT_TRUE(run_command({"qemu-img", "create", "-q", "-f", "vmdk", image, "1M"}).ok());
    const std::vector<std::byte> healthy = file_bytes(image);
    ASSERT_TRUE(text_of(image).contains("RW 2048 SPARSE \"" + name + "\"\n"));
    const auto check = [&](std::vector<std::string> arguments) {
      arguments.insert(arguments.begin(), "check");
      arguments.push_back(name);
      return run_program(dir.path(), arguments);
    };
    const CommandResult checked = check({});
    EXPECT_EQ(checked.exit_status, 0) << checked.out << checked.err;
    for (const std::string wrong : {"RW 9048 SPARSE", "RX 2048 SPARSE", "RW 2048 SPARXE"}) {
      replace_in(image, "RW 2048 SPARSE", wrong);
      const CommandResult repaired = check({"--repair", "--yes"});
      EXPECT_EQ(repaired.exit_status, 0) << wrong << '\n' << repaired.out << repaired.err;
      EXPECT_EQ(file_bytes(image), healthy) << wrong;
      restore(image, healthy);
    }
  }
}

class AcceptParentTest : public ::testing::Test {
 protected:
  AcceptParentTest()
      : disk_(build_disk(dir_.path(), "disk", parse_layout("64k:A 64k:- | 64k:^ 64k:B"))),
        child_(disk_.path()),
        healthy_(file_bytes(child_)) {
    const std::string text = text_of(parent());
    const std::size_t at = text.find("\nCID=") + 5;
    replace_in(parent(), text.substr(at - 4, 12), "CID=12345678");
  }
  fs::path parent() const { return dir_ / "disk.vmdk"; }
  CommandResult program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "check");
    return run_program(dir_.path(), arguments);
  }

  TempDir dir_;
  BuiltDisk disk_;
  fs::path child_;
  std::vector<std::byte> healthy_;
};

TEST_F(AcceptParentTest, WritesTheParentsContentIdWhenToldTo) {
  const std::string child = child_.filename();
  EXPECT_EQ(program({child}).exit_status, 2);
  EXPECT_EQ(program({"--repair", "--yes", child}).exit_status, 2);
  EXPECT_EQ(file_bytes(child_), healthy_);
  EXPECT_EQ(program({"--repair", "--accept-parent", child}).exit_status, 2);
  EXPECT_EQ(file_bytes(child_), healthy_);
  const CommandResult done = program({"--repair", "--accept-parent", "--yes", child});
  EXPECT_EQ(done.exit_status, 0) << done.out << done.err;
  EXPECT_TRUE(text_of(child_).contains("parentCID=12345678"));
  EXPECT_EQ(program({child}).exit_status, 0);
}

TEST_F(AcceptParentTest, LeavesAHalfDoneCommitToBeFinished) {
  const std::string text = text_of(child_);
  const std::string own = text.substr(text.find("\nCID=") + 5, 8);
  replace_in(parent(), "CID=12345678", "CID=" + own);
  const std::vector<std::byte> before = file_bytes(child_);
  EXPECT_EQ(
      program({"--repair", "--accept-parent", "--yes", child_.filename().string()}).exit_status, 2);
  EXPECT_EQ(file_bytes(child_), before);
}

}  // namespace
}  // namespace grainmill::testing
