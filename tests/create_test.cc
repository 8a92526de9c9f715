// SPDX-License-Identifier: Apache-2.0
//
// New disks and snapshots, as the program makes them: sound to us and to qemu-img, writable by
// qemu-io, and nothing left where making one fails.
#include "engine/format/vmdk/create.h"

#include "tests/conversion.h"
#include "tests/fault/fault_file_system.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/qemu_img.h"
#include "tests/support/reference_reader.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

bool has_qemu() { return has_qemu_img() && has_command("qemu-io"); }

class NewDisk : public ::testing::Test {
 protected:
  CommandResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "create");
    return run_program(dir_.path(), arguments);
  }
  void make(const std::vector<std::string>& arguments) {
    const CommandResult result = run(arguments);
    ASSERT_TRUE(result.ok()) << result.err;
    ASSERT_EQ(result.err, "");
  }
  // Refused with these words, and without a trace.
  void expect_refused(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& words) {
    const std::vector<std::string> before = names_in(dir_.path());
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_EQ(result.out, "");
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in: " << result.err;
    EXPECT_EQ(names_in(dir_.path()), before);
  }

  // Sound to us, and the same disk to us as the raw file is.
  void expect_holds(const std::string& image, const fs::path& raw) {
    const Result<Disk> disk = Disk::open(posix_file_system(), (dir_ / image).string(), {});
    ASSERT_TRUE(disk) << disk.error();
    const Status sound = disk->check();
    EXPECT_TRUE(sound) << sound.error();
    EXPECT_EQ(disk->size_bytes(), fs::file_size(raw));
    const fs::path ours = dir_ / "ours.raw";
    const Result<ConvertReport> report =
        convert(posix_file_system(), convert_options(dir_ / image, ours));
    ASSERT_TRUE(report) << report.error();
    expect_same_disks(ours, raw);
  }
  void expect_qemu_holds(const std::string& image, const fs::path& raw) {
    const CommandResult info =
        run_command({"qemu-img", "info", "--output=json", "-f", "vmdk", (dir_ / image).string()});
    ASSERT_TRUE(info.ok()) << info.err;
    const nlohmann::json facts = nlohmann::json::parse(info.out, nullptr, false);
    EXPECT_EQ(facts["virtual-size"], fs::file_size(raw));
    const CommandResult check = qemu_check(dir_ / image);
    EXPECT_TRUE(check.ok()) << check.out << check.err;
    const CommandResult compare = run_command(
        {"qemu-img", "compare", "-f", "vmdk", "-F", "raw", (dir_ / image).string(), raw.string()});
    EXPECT_TRUE(compare.ok()) << compare.out << compare.err;
  }

  fs::path zeros(std::uint64_t size_bytes) {
    const fs::path path = dir_ / "zeros.raw";
    write_file(path, "");
    fs::resize_file(path, size_bytes);
    return path;
  }

  TempDir dir_;
};

struct Form {
  std::string subformat;
  std::string grain;  // empty: flat

  std::string options() const {
    return "subformat=" + subformat + (grain.empty() ? "" : ",grain_size=" + grain);
  }
};
void PrintTo(const Form& form, std::ostream* out) { *out << form.subformat << '_' << form.grain; }

const std::vector<Form> kForms = {
    {"monolithicSparse", "4k"},     {"monolithicSparse", "64k"},     {"monolithicSparse", "1M"},
    {"twoGbMaxExtentSparse", "4k"}, {"twoGbMaxExtentSparse", "64k"}, {"twoGbMaxExtentSparse", "1M"},
    {"monolithicFlat", ""},         {"twoGbMaxExtentFlat", ""},      {"vmfs", ""}};

class EveryForm : public NewDisk, public ::testing::WithParamInterface<Form> {};

TEST_P(EveryForm, IsEmptyAndSound) {
  for (const std::uint64_t size :
       {64 * kKiB, kMiB, kMiB + 512, 2047 * kMiB, 2047 * kMiB + 64 * kKiB, 10 * kGiB}) {
    SCOPED_TRACE(size);
    const std::string name = std::to_string(size) + ".vmdk";
    make({"-f", "vmdk", "-q", "-o", GetParam().options(), name, std::to_string(size)});
    expect_holds(name, zeros(size));
    if (has_qemu()) expect_qemu_holds(name, zeros(size));
  }
}

TEST_P(EveryForm, TakesWhatQemuWrites) {
  if (!has_qemu()) GTEST_SKIP() << "no qemu-img and qemu-io";
  struct Write {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  const std::uint64_t size = 2047 * kMiB + kMiB + 512;
  make({"-o", GetParam().options(), "d.vmdk", std::to_string(size)});
  const fs::path raw = zeros(size);
  char pattern = 'A';
  for (const Write& write : {Write{0, 512}, Write{5 * kMiB + 512, 3 * kMiB},
                             Write{2047 * kMiB - 1024, 2048}, Write{size - 512, 512}}) {
    const CommandResult put =
        run_command({"qemu-io", "-f", "vmdk", "-c",
                     "write -P " + std::to_string(pattern) + " " + std::to_string(write.offset) +
                         " " + std::to_string(write.length),
                     (dir_ / "d.vmdk").string()});
    ASSERT_TRUE(put.ok()) << put.out << put.err;
    ASSERT_EQ(put.out.find("failed"), std::string::npos) << put.out;
    const std::vector<std::byte> bytes(write.length, static_cast<std::byte>(pattern++));
    patch_file(raw, write.offset, bytes);
    EXPECT_EQ(ReferenceDisk::open(dir_ / "d.vmdk").read(write.offset, write.length), bytes);
  }
  expect_holds("d.vmdk", raw);
  expect_qemu_holds("d.vmdk", raw);
}

void write_and_close(const fs::path& image, const std::vector<std::uint64_t>& offsets,
                     const std::vector<std::byte>& bytes) {
  DiskOptions options;
  options.open.mode = OpenMode::read_write;
  Result<Disk> disk = Disk::open(posix_file_system(), image.string(), options);
  ASSERT_TRUE(disk) << disk.error();
  for (const std::uint64_t offset : offsets) {
    const Status written = disk->write_at(offset, bytes);
    ASSERT_TRUE(written) << written.error();
  }
  const Status closed = disk->close();
  ASSERT_TRUE(closed) << closed.error();
}

TEST_P(EveryForm, TakesWhatWeWrite) {
  const std::uint64_t size = 2047 * kMiB + kMiB + 512;
  make({"-o", GetParam().options(), "d.vmdk", std::to_string(size)});
  const std::vector<std::byte> bytes(96 * kKiB, std::byte{0x5a});
  const std::vector<std::uint64_t> offsets = {512, 2047 * kMiB - 4096, size - bytes.size()};
  write_and_close(dir_ / "d.vmdk", offsets, bytes);
  const fs::path raw = zeros(size);
  for (const std::uint64_t offset : offsets) patch_file(raw, offset, bytes);
  expect_holds("d.vmdk", raw);
  if (has_qemu()) expect_qemu_holds("d.vmdk", raw);
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryForm, ::testing::ValuesIn(kForms), [](const auto& param) {
  return param.param.subformat + param.param.grain;
});

TEST_F(NewDisk, IsLaidOutAsQemuImgDoesIt) {
  if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  for (const std::string size : {"64k", "1025k", "33M", "300M", "5G", "40G", "2047G"}) {
    for (const std::string zeroed : {"off", "on"}) {
      SCOPED_TRACE(size);
      const std::string options = "zeroed_grain=" + zeroed;
      make({"--force", "-o", options, "ours.vmdk", size});
      const fs::path theirs = dir_ / "theirs.vmdk";
      ASSERT_TRUE(
          run_command({"qemu-img", "create", "-f", "vmdk", "-o", options, theirs.string(), size})
              .ok());
      // All but the descriptor's text, and of the tables the directories.
      ASSERT_EQ(fs::file_size(dir_ / "ours.vmdk"), fs::file_size(theirs));
      expect_same_bytes(file_bytes(dir_ / "ours.vmdk", 0, 512), file_bytes(theirs, 0, 512));
      for (const std::uint64_t field : {48U, 56U}) {
        const std::uint64_t directory = file_dword(theirs, field) * 512;
        const std::size_t length =
            std::min<std::uint64_t>(256 * kKiB, fs::file_size(theirs) - directory);
        expect_same_bytes(file_bytes(dir_ / "ours.vmdk", directory, length),
                          file_bytes(theirs, directory, length));
      }
    }
  }
}

TEST_F(NewDisk, OfTerabytesIsSplit) {
  expect_refused({"d.vmdk", "3T"}, {"2 TiB", "twoGbMaxExtentSparse"});
  const CommandResult made =
      run({"-o", "subformat=twoGbMaxExtentSparse", "-o", "adapter_type=lsilogic", "d.vmdk", "3T"});
  ASSERT_TRUE(made.ok()) << made.err;
  EXPECT_NE(made.out.find("1537 files, d-s001.vmdk to d-s1537.vmdk"), std::string::npos)
      << made.out;
  const CommandResult converted = run_program(
      dir_.path(), {"convert", "-q", "--no-sync", "--no-manifest", "d.vmdk", "out.raw"});
  ASSERT_TRUE(converted.ok()) << converted.err;
  expect_same_disks(dir_ / "out.raw", zeros(3 * kTiB));
  if (!has_qemu_img()) return;
  const CommandResult info = run_command({"qemu-img", "info", (dir_ / "d.vmdk").string()});
  EXPECT_NE(info.out.find("3298534883328 bytes"), std::string::npos) << info.err;
}

TEST_F(NewDisk, SaysWhatItMade) {
  const CommandResult one = run({"d.vmdk", "1000"});
  EXPECT_EQ(one.exit_status, 0) << one.err;
  for (const std::string word :
       {"Formatting 'd.vmdk', fmt=vmdk size=1024 ", "subformat=monolithicSparse",
        "adapter_type=ide", "grain_size=65536", "1000 bytes were rounded up"})
    EXPECT_NE(one.out.find(word), std::string::npos) << word << " is not in: " << one.out;
  const CommandResult quiet = run({"-q", "q.vmdk", "1G"});
  EXPECT_EQ(quiet.exit_status, 0);
  EXPECT_EQ(quiet.out + quiet.err, "");
  const CommandResult help = run({"-o", "help"});
  EXPECT_EQ(help.exit_status, 0);
  for (const std::string word : {"subformat", "adapter_type", "zeroed_grain", "grain_size"})
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  EXPECT_NE(run({"--help"}).out.find("grainmill create -b disk.vmdk"), std::string::npos);
}

TEST_F(NewDisk, RefusalsLeaveNothing) {
  expect_refused({}, {"FILE is required"});
  expect_refused({"d.vmdk"}, {"needs a size"});
  expect_refused({"d.vmdk", "much"}, {"much"});
  expect_refused({"d.vmdk", "0"}, {"0 bytes"});
  expect_refused({"-f", "qcow2", "d.vmdk", "1G"}, {"qcow2", "vmdk can"});
  expect_refused({"nowhere/d.vmdk", "1G"}, {"nowhere"});
  expect_refused({".", "1G"}, {"."});
  expect_refused({"--force", "/dev/null", "1G"}, {"/dev/null"});
  for (const std::string option :
       {"frobnicate=1", "subformat=qcow2", "subformat=streamOptimized", "adapter_type=nvme",
        "zeroed_grain=maybe", "grain_size=3k", "hwversion=x", "toolsversion=-1",
        "subformat=vmfs,grain_size=64k", "size=1G", "compat6=on,hwversion=7", ","})
    expect_refused({"-o", option, "d.vmdk", "1G"}, {});
  expect_refused({"-o", "frobnicate=1", "d.vmdk", "1G"},
                 {"frobnicate", "subformat", "toolsversion"});
}

TEST_F(NewDisk, ReplacesOnlyWhenTold) {
  make({"-o", "subformat=twoGbMaxExtentSparse", "d.vmdk", "3G"});
  const std::vector<std::byte> before = file_bytes(dir_ / "d.vmdk");
  expect_refused({"d.vmdk", "1G"}, {"d.vmdk", "--force"});
  EXPECT_EQ(file_bytes(dir_ / "d.vmdk"), before);
  // The old second part would be taken for one of the new disk.
  expect_refused({"--force", "-o", "subformat=twoGbMaxExtentSparse", "d.vmdk", "1G"},
                 {"d-s002.vmdk", "move it away"});
  make({"--force", "-o", "subformat=twoGbMaxExtentSparse", "d.vmdk", "4G"});
  expect_holds("d.vmdk", zeros(4 * kGiB));
  fs::create_directory(dir_ / "sub");
  fs::create_symlink("sub/real.vmdk", dir_ / "link.vmdk");
  write_file(dir_ / "sub/real.vmdk", "");
  make({"--force", "-o", "subformat=monolithicFlat", "link.vmdk", "1M"});
  EXPECT_EQ(names_in(dir_ / "sub"), (std::vector<std::string>{"real-flat.vmdk", "real.vmdk"}));
  expect_holds("sub/real.vmdk", zeros(kMiB));
}

class Snapshot : public NewDisk {
 protected:
  void qemu_write(const std::string& image, char pattern, std::uint64_t offset,
                  std::uint64_t length) {
    const CommandResult put =
        run_command({"qemu-io", "-f", "vmdk", "-c",
                     "write -P " + std::to_string(pattern) + " " + std::to_string(offset) + " " +
                         std::to_string(length),
                     (dir_ / image).string()});
    ASSERT_TRUE(put.ok()) << put.out << put.err;
    ASSERT_EQ(put.out.find("failed"), std::string::npos) << put.out;
    patch_file(raw_, offset, std::vector<std::byte>(length, static_cast<std::byte>(pattern)));
  }
  void expect_all_agree(const std::string& image) {
    expect_holds(image, raw_);
    expect_qemu_holds(image, raw_);
    ReferenceDisk::open(dir_ / image).write_raw(dir_ / "reference.raw");
    expect_same_disks(dir_ / "reference.raw", raw_);
  }

  fs::path raw_;
};

TEST_F(Snapshot, ReadsAsItsParentUntilItIsWrittenTo) {
  if (!has_qemu()) GTEST_SKIP() << "no qemu-img and qemu-io";
  for (const Form& form : kForms) {
    SCOPED_TRACE(form.options());
    const std::string tag = form.subformat + form.grain;
    raw_ = zeros(10 * kMiB + 512);
    make({"-o", form.options(), tag + ".vmdk", std::to_string(fs::file_size(raw_))});
    qemu_write(tag + ".vmdk", 'a', 64 * kKiB, 3 * kMiB);
    make({"-b", tag + ".vmdk", "-F", "vmdk", tag + "-000001.vmdk"});
    expect_all_agree(tag + "-000001.vmdk");
    qemu_write(tag + "-000001.vmdk", 'b', kMiB, 70'144);
    qemu_write(tag + "-000001.vmdk", 'c', 10 * kMiB, 512);
    expect_all_agree(tag + "-000001.vmdk");
    make({"-b", tag + "-000001.vmdk", "-o", "zeroed_grain=on", tag + "-000002.vmdk"});
    qemu_write(tag + "-000002.vmdk", '\0', 0, kMiB + 4096);
    expect_all_agree(tag + "-000002.vmdk");
  }
}

TEST_F(Snapshot, IsNotMadeOfADiskThatIsBeingWritten) {
  make({"base.vmdk", "1M"});
  DiskOptions writing;
  writing.open.mode = OpenMode::read_write;
  const Result<Disk> disk = Disk::open(posix_file_system(), (dir_ / "base.vmdk").string(), writing);
  ASSERT_TRUE(disk) << disk.error();
  expect_refused({"-b", "base.vmdk", "child.vmdk"}, {"base.vmdk", "in use"});
  expect_refused({"--force", "base.vmdk", "2M"}, {"base.vmdk", "in use"});
  EXPECT_EQ(disk->size_bytes(), kMiB);
}

TEST_F(Snapshot, FindsItsParentFromItsOwnFolder) {
  fs::create_directories(dir_ / "vm/sub");
  make({"vm/base.vmdk", "1M"});
  make({"-b", "base.vmdk", "vm/one.vmdk"});
  make({"-b", "vm/base.vmdk", "vm/two.vmdk"});
  make({"-b", (dir_ / "vm/base.vmdk").string(), "vm/three.vmdk"});
  make({"-b", "./base.vmdk", "vm/four.vmdk"});
  for (const std::string name : {"one", "two", "three", "four"}) {
    const Result<Disk> disk =
        Disk::open(posix_file_system(), (dir_ / "vm" / (name + ".vmdk")).string(), {});
    ASSERT_TRUE(disk) << disk.error();
    EXPECT_EQ(disk->link(0).description().parent->hint, "base.vmdk");
  }
  const CommandResult elsewhere = run({"-b", "../base.vmdk", "vm/sub/five.vmdk"});
  EXPECT_EQ(elsewhere.exit_status, 0) << elsewhere.err;
  EXPECT_NE(elsewhere.out.find("--allow-dir"), std::string::npos) << elsewhere.out;
  expect_refused({"-b", "vm/base.vmdk", "vm/sub/six.vmdk"}, {"absolute path", "vm/base.vmdk"});
  expect_refused({"-b", "none.vmdk", "vm/six.vmdk"}, {"vm/none.vmdk"});
  make({"base.vmdk", "1M"});
  expect_refused({"-b", "base.vmdk", "vm/six.vmdk"}, {"vm/base.vmdk", "absolute path"});
}

TEST_F(Snapshot, NeedsAParentThatReads) {
  make({"base.vmdk", "1M"});
  make({"-b", "base.vmdk", "one.vmdk"});
  write_file(dir_ / "disk.raw", std::string(4096, 'x'));
  expect_refused({"-b", "disk.raw", "two.vmdk"}, {"disk.raw"});
  expect_refused({"-b", "base.vmdk", "-F", "raw", "two.vmdk"}, {"raw"});
  expect_refused({"-b", "base.vmdk", "two.vmdk", "2M"}, {"leave the size out"});
  expect_refused({"-b", "base.vmdk", "-o", "subformat=monolithicFlat", "two.vmdk"},
                 {"monolithicSparse or twoGbMaxExtentSparse"});
  expect_refused({"--force", "-b", "one.vmdk", "base.vmdk"}, {"base.vmdk", "builds on"});
  fs::rename(dir_ / "base.vmdk", dir_ / "gone.vmdk");
  expect_refused({"-b", "one.vmdk", "two.vmdk"}, {"base.vmdk"});
  make({"base.vmdk", "1M"});
  expect_refused({"-b", "one.vmdk", "two.vmdk"}, {"parentCID"});
}

TEST_F(Snapshot, StopsAtTheDepthThatCanBeRead) {
  vmdk::CreateOptions options;
  options.size_bytes = 64 * kKiB;
  options.durability = Durability::unsynced;
  const auto path = [this](std::size_t i) {
    return (dir_ / (std::to_string(i) + ".vmdk")).string();
  };
  FileSystem& files = posix_file_system();
  ASSERT_TRUE(vmdk::create(files, path(0), options));
  options.size_bytes.reset();
  for (std::size_t i = 1; i < Disk::kMaxDepth; ++i) {
    DiskOptions top_only;
    top_only.open_parents = false;
    const Result<Disk> parent = Disk::open(files, path(i - 1), top_only);
    ASSERT_TRUE(parent) << parent.error();
    options.parent = vmdk::SnapshotParent{std::to_string(i - 1) + ".vmdk", {&parent->link(0)}};
    ASSERT_TRUE(vmdk::create(files, path(i), options));
  }
  EXPECT_EQ(Disk::open(files, path(Disk::kMaxDepth - 1), {})->depth(), Disk::kMaxDepth);
  expect_refused({"-b", "254.vmdk", "255.vmdk"}, {"255 links"});
}

// Devices that fail: nothing is left, and an older disk is kept or wholly replaced.
class CreateFault : public ::testing::TestWithParam<std::string> {
 protected:
  Result<vmdk::CreatedDisk> make() {
    vmdk::CreateOptions options;
    options.size_bytes = 5 * kGiB;
    options.subformat = GetParam();
    options.replace = replace_;
    return vmdk::create(files_, (dir_ / "disk.vmdk").string(), options);
  }
  std::uint64_t count_clean(FileCall call) {
    files_.clear();
    const Result<vmdk::CreatedDisk> made = make();
    EXPECT_TRUE(made) << made.error();
    const std::uint64_t calls = files_.count(call);
    remove_all();
    return calls;
  }
  void remove_all() {
    for (const auto& entry : fs::directory_iterator(dir_.path())) fs::remove(entry.path());
  }
  void expect_every_call_matters(FileCall call) {
    const std::uint64_t calls = count_clean(call);
    for (std::uint64_t n = 1; n <= calls; ++n) {
      SCOPED_TRACE(n);
      files_.clear();
      files_.add({.call = call, .nth = n, .error_number = ENOSPC});
      const Result<vmdk::CreatedDisk> made = make();
      ASSERT_FALSE(made);
      EXPECT_EQ(made.error().kind, ErrorKind::no_space) << made.error();
      EXPECT_EQ(names_in(dir_.path()), std::vector<std::string>());
      remove_all();
    }
  }

  TempDir dir_;
  FaultFileSystem files_{posix_file_system()};
  bool replace_ = false;
};

TEST_P(CreateFault, EveryCallMatters) {
  for (const FileCall call :
       {FileCall::create, FileCall::write, FileCall::resize, FileCall::sync, FileCall::publish}) {
    SCOPED_TRACE(static_cast<int>(call));
    expect_every_call_matters(call);
  }
}

TEST_P(CreateFault, AFullDeviceLeavesNothing) {
  for (const std::uint64_t room : {0U, 100U, 511U, 512U, 700U}) {
    SCOPED_TRACE(room);
    files_.clear();
    files_.add({.call = FileCall::write, .room_bytes = room, .error_number = ENOSPC});
    if (const Result<vmdk::CreatedDisk> made = make(); made) {
      EXPECT_GE(room, fs::file_size(dir_ / "disk.vmdk"));
      remove_all();
    }
    EXPECT_EQ(names_in(dir_.path()), std::vector<std::string>());
  }
}

TEST_P(CreateFault, AnOlderDescriptorNeverSpeaksForNewExtents) {
  ASSERT_TRUE(make());
  const std::vector<std::byte> older = file_bytes(dir_ / "disk.vmdk");
  const std::vector<std::string> names = names_in(dir_.path());
  replace_ = true;
  // Before anything has its name, all is as it was.
  files_.add({.call = FileCall::publish, .nth = 1});
  files_.add({.call = FileCall::remove});
  EXPECT_FALSE(make());
  EXPECT_EQ(names_in(dir_.path()), names);
  EXPECT_EQ(file_bytes(dir_ / "disk.vmdk"), older);
  files_.clear();
  files_.add({.call = FileCall::publish, .path_end = "disk.vmdk"});
  EXPECT_FALSE(make());
  const bool one_file = names.size() == 1;
  EXPECT_EQ(names_in(dir_.path()), one_file ? names : std::vector<std::string>());
  files_.clear();
  EXPECT_TRUE(make());
}

INSTANTIATE_TEST_SUITE_P(Subformats, CreateFault,
                         ::testing::Values("monolithicSparse", "monolithicFlat",
                                           "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "vmfs"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace grainmill::testing
