// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "engine/io/file_system.h"
#include "engine/io/open_policy.h"
#include "tests/fakes/outcome.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;
namespace fs = std::filesystem;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// A qemu-io that has an image open as long as this lives. What it prints goes to the file `said`.
class OpenInQemu {
 public:
  // REQUIRES: there is no file `said` yet.
  OpenInQemu(const std::string& options, const std::string& image, const std::string& said)
      : said_(said),
        input_(::popen(
            ("exec qemu-io -f vmdk " + options + "'" + image + "' >'" + said + "' 2>&1").c_str(),
            "w")) {
    for (int attempt = 0; attempt < 2000 && !is_open(); ++attempt)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  // It ends with its input.
  ~OpenInQemu() { ::pclose(input_); }
  OpenInQemu(const OpenInQemu&) = delete;
  OpenInQemu& operator=(const OpenInQemu&) = delete;

  // It asks for a command when it has opened the image.
  [[nodiscard]] bool is_open() const {
    std::ifstream in(said_);
    return std::string(std::istreambuf_iterator<char>(in), {}).starts_with("qemu-io>");
  }

 private:
  std::string said_;
  std::FILE* input_;
};

class IoTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string at(const std::string& name) const { return (dir_ / name).string(); }

  std::string put(const std::string& name, std::string_view text) {
    fs::create_directories(fs::path(at(name)).parent_path());
    std::ofstream(at(name), std::ios::binary) << text;
    return at(name);
  }

  [[nodiscard]] std::string get(const std::string& name) const {
    std::ifstream in(at(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void link(const std::string& name, const std::string& target) {
    fs::create_directories(fs::path(at(name)).parent_path());
    fs::create_symlink(target, at(name));
  }

  [[nodiscard]] std::size_t files_in_folder() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }

  // A file of its own, ready to be written, that has no name yet.
  std::unique_ptr<PendingFile> begin(const std::string& name, std::string_view text) {
    auto pending = files_.create_pending(at(name)).value();
    EXPECT_TRUE(IsOk(pending->file().write_at(0, as_bytes(text))));
    return pending;
  }

  Result<std::string> read_beneath(const std::string& folder, const std::string& relative) {
    return text_of(files_.open_beneath(at(folder), relative, OpenMode::read));
  }

  // What the image at `image` gets when it names `name`.
  Result<std::string> read_named(const std::string& image, const std::string& name,
                                 const OpenPolicy& policy = {}) {
    return text_of(open_named_file(files_, policy, at(image), name));
  }

  static Result<std::string> text_of(Result<std::unique_ptr<File>> opened) {
    GM_TRY(const std::unique_ptr<File> file, std::move(opened));
    std::string text(100, '\0');
    GM_TRY(const std::size_t got, file->read_at(0, std::as_writable_bytes(std::span(text))));
    text.resize(got);
    return text;
  }

  // An image, not a raw file: of those qemu lets others write what it only reads.
  [[nodiscard]] bool make_vmdk(const std::string& name) const {
    return testing::has_command("qemu-img") &&
           testing::run_command({"qemu-img", "create", "-f", "vmdk", at(name), "1M"}).ok();
  }

  // Asked without the code under test.
  [[nodiscard]] bool can_punch_holes() {
    const std::string path = put("probe", std::string(64 * kKiB, 'x'));
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    const bool can = ::fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                 64 * static_cast<off_t>(kKiB)) == 0;
    ::close(descriptor);
    return can;
  }

  testing::TempDir dir_;
  FileSystem& files_ = posix_file_system();
};

using PosixFile = IoTest;

TEST_F(PosixFile, ReadsLessOnlyAtTheEnd) {
  const auto file = files_.open_read(put("f", "0123456789")).value();
  std::array<std::byte, 8> buffer{};
  EXPECT_EQ(file->read_at(0, buffer), 8U);
  EXPECT_EQ(file->read_at(6, buffer), 4U);
  EXPECT_EQ(file->read_at(10, buffer), 0U);
  EXPECT_EQ(file->read_at(1 * kTiB, buffer), 0U);
  EXPECT_TRUE(IsOk(file->read_exact_at(2, buffer)));
  const Status cut = file->read_exact_at(3, buffer);
  EXPECT_TRUE(HasError(cut, ErrorKind::corrupt, "7 of the 8 bytes"));
  EXPECT_EQ(cut.error().path, at("f"));
  EXPECT_EQ(cut.error().offset, 3U);
}

TEST_F(PosixFile, ResizesWithoutTakingSpace) {
  const auto pending = begin("f", "abc");
  File& file = pending->file();
  ASSERT_TRUE(IsOk(file.resize(5 * kGiB)));
  EXPECT_EQ(file.info()->size_bytes, 5 * kGiB);
  EXPECT_LT(file.info()->allocated_bytes, kMiB);
  std::array<std::byte, 4> buffer{};
  ASSERT_TRUE(IsOk(file.read_exact_at(5 * kGiB - 4, buffer)));
  EXPECT_EQ(buffer[3], std::byte{0});
  ASSERT_TRUE(IsOk(file.resize(1)));
  EXPECT_EQ(file.info()->size_bytes, 1U);
}

TEST_F(PosixFile, TellsDataFromHoles) {
  const auto pending = begin("f", "abc");
  File& file = pending->file();
  ASSERT_TRUE(IsOk(file.write_at(4 * kGiB, as_bytes("xyz"))));
  ASSERT_TRUE(IsOk(file.resize(5 * kGiB)));
  const DataRange second = file.next_data(kMiB).value();
  if (second.begin == kMiB) GTEST_SKIP() << "this file system does not know holes";
  EXPECT_EQ(second.begin, 4 * kGiB);
  EXPECT_GE(second.end, 4 * kGiB + 3);
  const DataRange none = file.next_data(4 * kGiB + kMiB).value();
  EXPECT_EQ(none.begin, none.end);
  EXPECT_EQ(file.stores_any(kMiB, kGiB), false);
  EXPECT_EQ(file.stores_any(kMiB, 4 * kGiB), true);
  EXPECT_EQ(file.stores_any(4 * kGiB + kMiB, kGiB - kMiB), false);
}

TEST_F(PosixFile, IsNoHolePastItsEnd) {
  const auto file = files_.open_read(put("f", "abc")).value();
  EXPECT_EQ(file->stores_any(0, 3), true);
  EXPECT_TRUE(HasError(file->stores_any(3, 1), ErrorKind::corrupt, "file ends at 0x3"));
  EXPECT_TRUE(HasError(file->stores_any(kMiB, 1), ErrorKind::corrupt));
  const DataRange none = file->next_data(kMiB).value();
  EXPECT_EQ(none.begin, none.end);
}

TEST_F(PosixFile, IsTheSameFileByAnyName) {
  const auto file = files_.open_read(put("f", "abc")).value();
  fs::create_hard_link(at("f"), at("g"));
  const auto other = files_.open_read(at("g")).value();
  EXPECT_EQ(file->info()->inode, other->info()->inode);
  EXPECT_EQ(file->info()->device, other->info()->device);
  EXPECT_EQ(file->path(), at("f"));
}

TEST_F(PosixFile, RefusesToWriteWhatIsOpenForReading) {
  const auto file = files_.open_read(put("f", "abc")).value();
  EXPECT_TRUE(HasError(file->write_at(0, as_bytes("x")), ErrorKind::io, "cannot write"));
  EXPECT_TRUE(HasError(file->resize(0), ErrorKind::io));
}

TEST_F(PosixFile, ZeroesARangeAndNothingBesideIt) {
  put("f", std::string(kMiB, 'x'));
  const auto file = files_.open_write(at("f")).value();
  ASSERT_TRUE(IsOk(file->zero_range(1000, kMiB - 3000)));
  EXPECT_EQ(file->info()->size_bytes, kMiB);
  EXPECT_EQ(get("f"),
            std::string(1000, 'x') + std::string(kMiB - 3000, '\0') + std::string(2000, 'x'));
  ASSERT_TRUE(IsOk(file->zero_range(10, 1)));
  EXPECT_EQ(get("f").substr(9, 3), std::string("x\0x", 3));
  ASSERT_TRUE(IsOk(file->zero_range(kMiB - 5, 5)));
  EXPECT_EQ(get("f").substr(kMiB - 6), std::string("x\0\0\0\0\0", 6));
  EXPECT_TRUE(IsOk(file->zero_range(5, 0)));
  EXPECT_EQ(get("f").at(5), 'x');
  EXPECT_EQ(file->info()->size_bytes, kMiB);
}

TEST_F(PosixFile, GivesTheSpaceOfZeroesBack) {
  if (!can_punch_holes()) GTEST_SKIP() << "this file system cannot punch holes";
  put("f", std::string(kMiB, 'x'));
  const auto file = files_.open_write(at("f")).value();
  ASSERT_TRUE(IsOk(file->sync()));
  const std::uint64_t before = file->info()->allocated_bytes;
  ASSERT_TRUE(IsOk(file->zero_range(64 * kKiB, 512 * kKiB)));
  EXPECT_LE(file->info()->allocated_bytes + 512 * kKiB, before);
  EXPECT_EQ(file->stores_any(64 * kKiB, 512 * kKiB), false);
  EXPECT_EQ(file->stores_any(64 * kKiB - 1, 1), true);
  EXPECT_EQ(file->stores_any(576 * kKiB, 1), true);
}

TEST_F(PosixFile, RefusesToZeroWhatIsOpenForReading) {
  const auto file = files_.open_read(put("f", "abc")).value();
  EXPECT_TRUE(HasError(file->zero_range(0, 1), ErrorKind::io));
  EXPECT_EQ(get("f"), "abc");
}

using PendingFileTest = IoTest;

TEST_F(PendingFileTest, HasNoNameBeforeItIsPublished) {
  const auto pending = begin("out", "new");
  EXPECT_EQ(files_in_folder(), 0U);
  ASSERT_TRUE(IsOk(pending->publish(Durability::synced)));
  EXPECT_EQ(get("out"), "new");
  EXPECT_EQ(files_in_folder(), 1U);
}

TEST_F(PendingFileTest, ReplacesInOneStep) {
  put("out", "old");
  const auto reader = files_.open_read(at("out")).value();
  const auto pending = begin("out", "new and longer");
  EXPECT_EQ(get("out"), "old");
  ASSERT_TRUE(IsOk(pending->publish(Durability::unsynced)));
  EXPECT_EQ(get("out"), "new and longer");
  EXPECT_EQ(files_in_folder(), 1U);
  std::array<std::byte, 8> buffer{};
  EXPECT_EQ(reader->read_at(0, buffer), 3U);  // the old file, still whole
}

TEST_F(PendingFileTest, AbandonedLeavesNothing) {
  put("kept", "old");
  begin("kept", "half of some");
  begin("fresh", "half of some");
  EXPECT_EQ(get("kept"), "old");
  EXPECT_EQ(files_in_folder(), 1U);
}

TEST_F(PendingFileTest, StaleTemporaryNamesAreNoObstacle) {
  put("out", "old");
  for (int i = 0; i < 3; ++i)
    put(".out." + std::to_string(::getpid()) + "." + std::to_string(i) + ".tmp", "left behind");
  ASSERT_TRUE(IsOk(begin("out", "new")->publish(Durability::unsynced)));
  EXPECT_EQ(get("out"), "new");
  EXPECT_EQ(files_in_folder(), 4U);
}

TEST_F(PendingFileTest, ReplacesWhatALinkNames) {
  put("sub/target", "old");
  link("out", at("sub/target"));
  ASSERT_TRUE(IsOk(begin("out", "new")->publish(Durability::unsynced)));
  EXPECT_TRUE(fs::is_symlink(at("out")));
  EXPECT_EQ(get("sub/target"), "new");
  link("to_device", "/dev/null");
  EXPECT_TRUE(HasError(files_.create_pending(at("to_device")), ErrorKind::denied));
}

// Such as /dev/stdout, which leads to a pipe that has no name.
TEST_F(PendingFileTest, RefusesALinkThatNamesNoFile) {
  link("dangling", at("absent"));
  link("loop", at("loop"));
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  link("stream", "/proc/self/fd/" + std::to_string(pipe[1]));
  for (const std::string name : {"dangling", "loop", "stream"}) {
    EXPECT_TRUE(HasError(files_.create_pending(at(name)), ErrorKind::denied, "symbolic link"));
    EXPECT_TRUE(fs::is_symlink(at(name)));
  }
  for (const int end : pipe) ::close(end);
}

TEST_F(PendingFileTest, RefusesToReplaceWhatIsNoFile) {
  fs::create_directory(at("folder"));
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(HasError(files_.create_pending(at("folder")), ErrorKind::denied, "a directory"));
  EXPECT_TRUE(HasError(files_.create_pending(at("fifo")), ErrorKind::denied, "a FIFO"));
  EXPECT_TRUE(
      HasError(files_.create_pending("/dev/null"), ErrorKind::denied, "a character device"));
  EXPECT_TRUE(HasError(files_.create_pending(at("absent/out")), ErrorKind::not_found));
}

TEST_F(PendingFileTest, FailsToPublishWhenItsFolderIsGone) {
  fs::create_directory(at("folder"));
  const auto pending = begin("folder/out", "new");
  fs::remove_all(at("folder"));
  EXPECT_FALSE(pending->publish(Durability::synced).has_value());
  EXPECT_EQ(files_in_folder(), 0U);
}

using OpenRead = IoTest;

TEST_F(OpenRead, OpensRegularFilesOnly) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(HasError(files_.open_read(at("fifo")), ErrorKind::unsupported, "a FIFO"));
  EXPECT_TRUE(HasError(files_.open_read(at("")), ErrorKind::unsupported, "a directory"));
  EXPECT_TRUE(
      HasError(files_.open_read("/dev/zero"), ErrorKind::unsupported, "a character device"));
  EXPECT_TRUE(HasError(files_.open_read("/proc/self/environ"), ErrorKind::unsupported, "/proc"));
  EXPECT_TRUE(HasError(files_.open_read(at("absent")), ErrorKind::not_found));
  link("to_device", "/dev/zero");
  EXPECT_TRUE(HasError(files_.open_read(at("to_device")), ErrorKind::unsupported));
}

TEST_F(OpenRead, FollowsLinksThatTheUserNames) {
  put("sub/f", "text");
  link("l", at("sub/f"));
  EXPECT_EQ(text_of(files_.open_read(at("l"))), "text");
}

using OpenWrite = IoTest;

TEST_F(OpenWrite, ReadsAndWrites) {
  const auto file = files_.open_write(put("f", "0123456789")).value();
  ASSERT_TRUE(IsOk(file->write_at(3, as_bytes("abc"))));
  ASSERT_TRUE(IsOk(file->write_at(9, as_bytes("xyz"))));
  std::string text(12, '\0');
  EXPECT_TRUE(IsOk(file->read_exact_at(0, std::as_writable_bytes(std::span(text)))));
  EXPECT_EQ(text, "012abc678xyz");
  EXPECT_TRUE(IsOk(file->sync()));
  ASSERT_TRUE(IsOk(file->resize(4)));
  EXPECT_EQ(get("f"), "012a");
  EXPECT_EQ(file->path(), at("f"));
}

TEST_F(OpenWrite, OpensRegularFilesOnly) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(HasError(files_.open_write(at("fifo")), ErrorKind::unsupported, "a FIFO"));
  EXPECT_TRUE(HasError(files_.open_write(at("")), ErrorKind::unsupported, "a directory"));
  EXPECT_TRUE(
      HasError(files_.open_write("/dev/null"), ErrorKind::unsupported, "a character device"));
  EXPECT_TRUE(HasError(files_.open_write("/proc/self/comm"), ErrorKind::unsupported, "/proc"));
  link("to_device", "/dev/null");
  EXPECT_TRUE(HasError(files_.open_write(at("to_device")), ErrorKind::unsupported));
}

TEST_F(OpenWrite, NeverMakesAFile) {
  EXPECT_TRUE(HasError(files_.open_write(at("absent")), ErrorKind::not_found));
  EXPECT_EQ(files_in_folder(), 0U);
}

TEST_F(OpenWrite, SaysWhenItMayNotWrite) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everything";
  fs::permissions(put("f", "abc"), fs::perms::owner_read);
  EXPECT_TRUE(HasError(files_.open_write(at("f")), ErrorKind::io, "open to write"));
}

TEST_F(OpenWrite, LetsOneWriterInAtATime) {
  auto writer = files_.open_write(put("f", "abc")).value();
  fs::create_hard_link(at("f"), at("g"));
  EXPECT_TRUE(HasError(files_.open_write(at("f")), ErrorKind::busy, at("f")));
  EXPECT_TRUE(HasError(files_.open_write(at("g")), ErrorKind::busy));
  EXPECT_TRUE(HasError(files_.open_beneath(at(""), "f", OpenMode::read_write), ErrorKind::busy));
  writer.reset();
  EXPECT_TRUE(IsOk(files_.open_write(at("g"))));
  EXPECT_TRUE(IsOk(files_.open_write(at("f"))));
}

TEST_F(OpenWrite, StaysAloneAfterRefusingAnother) {
  const auto writer = files_.open_write(put("f", "abc")).value();
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(HasError(files_.open_write(at("f")), ErrorKind::busy)) << i;
}

TEST_F(OpenWrite, LetsReadersIn) {
  const auto before = files_.open_read(put("f", "abc")).value();
  const auto writer = files_.open_write(at("f")).value();
  ASSERT_TRUE(IsOk(writer->write_at(0, as_bytes("x"))));
  EXPECT_EQ(text_of(files_.open_read(at("f"))), "xbc");
  EXPECT_EQ(read_beneath("", "f"), "xbc");
  std::array<std::byte, 1> first{};
  EXPECT_TRUE(IsOk(before->read_exact_at(0, first)));
  EXPECT_EQ(first[0], std::byte{'x'});
}

TEST_F(OpenWrite, KeepsQemuOut) {
  if (!make_vmdk("f")) GTEST_SKIP() << "qemu-img is not installed";
  auto writer = files_.open_write(at("f")).value();
  const std::vector<std::string> ask = {"qemu-img", "info", "-f", "vmdk", at("f")};
  const testing::CommandResult refused = testing::run_command(ask);
  EXPECT_FALSE(refused.ok());
  EXPECT_NE(refused.err.find("lock"), std::string::npos) << refused.err;
  EXPECT_TRUE(testing::run_command({"qemu-img", "info", "-U", "-f", "vmdk", at("f")}).ok());
  writer.reset();
  const testing::CommandResult told = testing::run_command(ask);
  EXPECT_TRUE(told.ok()) << told.err;
}

TEST_F(OpenWrite, IsKeptOutByQemu) {
  if (!testing::has_command("qemu-io") || !make_vmdk("f"))
    GTEST_SKIP() << "qemu-io is not installed";
  for (const std::string& access : {std::string(), std::string("-r ")}) {
    {
      const OpenInQemu qemu(access, at("f"), at("said"));
      ASSERT_TRUE(qemu.is_open()) << get("said");
      EXPECT_TRUE(HasError(files_.open_write(at("f")), ErrorKind::busy, "in use")) << access;
      EXPECT_TRUE(IsOk(files_.open_read(at("f")))) << access;
    }
    fs::remove(at("said"));
    EXPECT_TRUE(IsOk(files_.open_write(at("f")))) << access;
  }
}

using OpenBeneath = IoTest;

TEST_F(OpenBeneath, OpensWhatLiesBelow) {
  put("a/f", "one");
  put("a/b/g", "two");
  EXPECT_EQ(read_beneath("a", "f"), "one");
  EXPECT_EQ(read_beneath("a", "b/g"), "two");
  EXPECT_EQ(read_beneath("a", "b/../f"), "one");
  EXPECT_EQ(read_beneath("a", "./b/./g"), "two");
  EXPECT_TRUE(HasError(read_beneath("a", "absent"), ErrorKind::not_found));
  EXPECT_TRUE(HasError(read_beneath("absent", "f"), ErrorKind::not_found));
}

TEST_F(OpenBeneath, DeniesWhatLiesOutside) {
  put("a/f", "one");
  put("secret", "text");
  for (const std::string& name : {std::string("../secret"), std::string("b/../../secret"),
                                  std::string("../a/f"), at("secret"), at("a/f")})
    EXPECT_FALSE(read_beneath("a", name).has_value()) << name;
  EXPECT_TRUE(HasError(read_beneath("a", "../secret"), ErrorKind::denied, "outside the folder"));
  EXPECT_TRUE(HasError(read_beneath("a", at("secret")), ErrorKind::denied));
}

TEST_F(OpenBeneath, FollowsOnlyLinksThatStayInside) {
  put("secret", "text");
  put("a/b/f", "one");
  link("a/in", "b/f");
  link("a/folder_in", "b");
  link("a/out", "../secret");
  link("a/out_absolute", at("a/b/f"));
  link("a/folder_out", "..");
  EXPECT_EQ(read_beneath("a", "in"), "one");
  EXPECT_EQ(read_beneath("a", "folder_in/f"), "one");
  EXPECT_TRUE(HasError(read_beneath("a", "out"), ErrorKind::denied));
  EXPECT_TRUE(HasError(read_beneath("a", "out_absolute"), ErrorKind::denied));
  EXPECT_TRUE(HasError(read_beneath("a", "folder_out/secret"), ErrorKind::denied));
}

TEST_F(OpenBeneath, NeverTouchesDevicesAndPipes) {
  fs::create_directory(at("a"));
  ASSERT_EQ(::mkfifo(at("a/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(HasError(read_beneath("a", "fifo"), ErrorKind::unsupported, "a FIFO"));
  EXPECT_TRUE(HasError(read_beneath("a", "."), ErrorKind::unsupported, "a directory"));
  EXPECT_TRUE(
      HasError(files_.open_beneath("/dev", "zero", OpenMode::read), ErrorKind::unsupported));
  EXPECT_TRUE(HasError(files_.open_beneath("/proc", "version", OpenMode::read),
                       ErrorKind::unsupported, "/proc"));
  // A magic link of /proc leads anywhere: it is not followed at all.
  EXPECT_FALSE(files_.open_beneath("/proc", "self/exe", OpenMode::read).has_value());
}

TEST_F(OpenBeneath, OpensToWriteOnlyWhatLiesBelow) {
  put("a/b/f", "one");
  put("secret", "text");
  link("a/out", "../secret");
  {
    const auto file = files_.open_beneath(at("a"), "b/f", OpenMode::read_write).value();
    EXPECT_TRUE(IsOk(file->write_at(0, as_bytes("two"))));
  }
  EXPECT_EQ(get("a/b/f"), "two");
  const auto open = [this](const std::string& name) {
    return files_.open_beneath(at("a"), name, OpenMode::read_write);
  };
  EXPECT_TRUE(HasError(open("../secret"), ErrorKind::denied, "outside the folder"));
  EXPECT_TRUE(HasError(open("out"), ErrorKind::denied));
  EXPECT_TRUE(HasError(open("b"), ErrorKind::unsupported, "a directory"));
  EXPECT_TRUE(HasError(open("absent"), ErrorKind::not_found));
  EXPECT_FALSE(fs::exists(at("a/absent")));
}

TEST_F(OpenBeneath, SurvivesLoopsOfLinks) {
  link("a/x", "y");
  link("a/y", "x");
  EXPECT_TRUE(HasError(read_beneath("a", "x"), ErrorKind::denied));
}

using OpenNamedFile = IoTest;

TEST_F(OpenNamedFile, LooksBesideTheImage) {
  put("images/disk-flat.vmdk", "flat");
  put("images/sub/other", "other");
  EXPECT_EQ(read_named("images/disk.vmdk", "disk-flat.vmdk"), "flat");
  EXPECT_EQ(read_named("images/disk.vmdk", "sub/other"), "other");
  EXPECT_EQ(read_named("images/disk.vmdk", "sub/../disk-flat.vmdk"), "flat");
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", "absent"), ErrorKind::not_found));
}

TEST_F(OpenNamedFile, DeniesOtherFoldersAndSaysWhatWouldHelp) {
  put("images/disk.vmdk", "");
  put("secret/f", "text");
  const auto relative = read_named("images/disk.vmdk", "../secret/f");
  EXPECT_TRUE(HasError(relative, ErrorKind::denied, "--allow-dir " + at("secret")));
  const auto absolute = read_named("images/disk.vmdk", at("secret/f"));
  EXPECT_TRUE(HasError(absolute, ErrorKind::denied, "--allow-dir " + at("secret")));
  EXPECT_EQ(absolute.error().path, at("images/disk.vmdk"));
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", "/etc/hostname"), ErrorKind::denied));
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", at("secret/absent")), ErrorKind::denied));
}

TEST_F(OpenNamedFile, TakesAbsoluteNamesIntoItsOwnFolder) {
  put("images/disk-flat.vmdk", "flat");
  EXPECT_EQ(read_named("images/disk.vmdk", at("images/disk-flat.vmdk")), "flat");
  EXPECT_EQ(read_named("images/disk.vmdk", at("images/../images/disk-flat.vmdk")), "flat");
}

TEST_F(OpenNamedFile, OpensWhatIsAllowed) {
  put("images/disk.vmdk", "");
  put("parents/deep/base.vmdk", "base");
  const OpenPolicy policy{.allowed_folders = {at("parents")}};
  EXPECT_EQ(read_named("images/disk.vmdk", at("parents/deep/base.vmdk"), policy), "base");
  EXPECT_EQ(read_named("images/disk.vmdk", "../parents/deep/base.vmdk", policy), "base");
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", "/etc/hostname", policy), ErrorKind::denied));
  const OpenPolicy slash{.allowed_folders = {at("parents") + "/"}};
  EXPECT_EQ(read_named("images/disk.vmdk", at("parents/deep/base.vmdk"), slash), "base");
}

TEST_F(OpenNamedFile, IsNotFooledByAFolderThatBeginsAlike) {
  put("images/disk.vmdk", "");
  put("parents-secret/f", "text");
  const OpenPolicy policy{.allowed_folders = {at("parents")}};
  EXPECT_TRUE(
      HasError(read_named("images/disk.vmdk", at("parents-secret/f"), policy), ErrorKind::denied));
}

TEST_F(OpenNamedFile, IsNotFooledByLinksBelowAnAllowedFolder) {
  put("images/disk.vmdk", "");
  put("secret/f", "text");
  link("parents/l", at("secret/f"));
  link("images/l", at("secret/f"));
  const OpenPolicy policy{.allowed_folders = {at("parents")}};
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", at("parents/l"), policy), ErrorKind::denied));
  EXPECT_TRUE(HasError(read_named("images/disk.vmdk", "l", policy), ErrorKind::denied));
}

TEST_F(OpenNamedFile, KnowsAFolderByItsOtherName) {
  put("real/disk-flat.vmdk", "flat");
  link("alias", at("real"));
  EXPECT_EQ(read_named("alias/disk.vmdk", "disk-flat.vmdk"), "flat");
  EXPECT_EQ(read_named("alias/disk.vmdk", at("real/disk-flat.vmdk")), "flat");
  const OpenPolicy policy{.allowed_folders = {at("alias")}};
  EXPECT_EQ(read_named("images/disk.vmdk", at("real/disk-flat.vmdk"), policy), "flat");
}

TEST_F(OpenNamedFile, TrustsAnythingOnRequestButDevices) {
  put("images/disk.vmdk", "");
  put("elsewhere/f", "text");
  const OpenPolicy policy{.allowed_folders = {}, .allow_any_path = true};
  EXPECT_EQ(read_named("images/disk.vmdk", at("elsewhere/f"), policy), "text");
  EXPECT_EQ(read_named("images/disk.vmdk", "../elsewhere/f", policy), "text");
  EXPECT_TRUE(
      HasError(read_named("images/disk.vmdk", "/dev/zero", policy), ErrorKind::unsupported));
}

TEST_F(OpenNamedFile, OpensToWriteOnRequest) {
  put("images/disk-flat.vmdk", "flat");
  const auto open = [this](OpenMode mode) {
    return open_named_file(files_, {}, at("images/disk.vmdk"), "disk-flat.vmdk", mode).value();
  };
  EXPECT_TRUE(HasError(open(OpenMode::read)->write_at(0, as_bytes("x")), ErrorKind::io));
  EXPECT_TRUE(IsOk(open(OpenMode::read_write)->write_at(0, as_bytes("x"))));
  EXPECT_EQ(get("images/disk-flat.vmdk"), "xlat");
}

using FileSystemTest = IoTest;

TEST_F(FileSystemTest, TellsFoldersFromFilesWithoutFollowingLinks) {
  const std::string folder = at("tree");
  fs::create_directories(folder + "/below");
  std::ofstream(folder + "/file") << "x";
  fs::create_directory_symlink("below", folder + "/link");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  const auto entries = files_.entries(folder);
  ASSERT_TRUE(IsOk(entries));
  std::vector<std::pair<std::string, EntryKind>> found;
  for (const FolderEntry& entry : *entries) found.emplace_back(entry.name, entry.kind);
  const std::vector<std::pair<std::string, EntryKind>> expected = {{"below", EntryKind::folder},
                                                                   {"file", EntryKind::file},
                                                                   {"link", EntryKind::other},
                                                                   {"pipe", EntryKind::other}};
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(HasError(files_.entries(folder + "/file"), ErrorKind::not_found));
}

TEST_F(FileSystemTest, RemovesListsAndResolves) {
  put("f", "text");
  link("l", at("f"));
  const auto names = files_.list(at("")).value();
  EXPECT_NE(std::ranges::find(names, "f"), names.end());
  EXPECT_EQ(files_.canonical(at("l")).value(), files_.canonical(at("f")).value());
  EXPECT_TRUE(IsOk(files_.remove(at("f"))));
  EXPECT_TRUE(IsOk(files_.remove(at("f"))));
  EXPECT_TRUE(HasError(files_.canonical(at("l")), ErrorKind::not_found));
  EXPECT_TRUE(HasError(files_.list(at("absent")), ErrorKind::not_found));
}

TEST_F(FileSystemTest, MakesFoldersWithThoseAboveThem) {
  EXPECT_TRUE(IsOk(files_.create_folders(at("a/b/c"))));
  EXPECT_TRUE(fs::is_directory(at("a/b/c")));
  EXPECT_TRUE(IsOk(files_.create_folders(at("a/b/c"))));
  put("f", "text");
  EXPECT_TRUE(HasError(files_.create_folders(at("f")), ErrorKind::not_found, "make the folder"));
  EXPECT_TRUE(HasError(files_.create_folders(at("f/g")), ErrorKind::not_found, "make the folder"));
}

TEST_F(FileSystemTest, KnowsWhatIsFree) {
  const Result<std::uint64_t> free = files_.free_bytes(at(""));
  ASSERT_TRUE(IsOk(free));
  EXPECT_GT(*free, 0U);
  EXPECT_LT(*free, std::uint64_t{1} << 60);
  EXPECT_TRUE(HasError(files_.free_bytes(at("absent")), ErrorKind::not_found));
}

TEST(Paths, AreCutAtTheLastSlash) {
  EXPECT_EQ(folder_of("a"), ".");
  EXPECT_EQ(folder_of("/a"), "/");
  EXPECT_EQ(folder_of("a/b"), "a");
  EXPECT_EQ(folder_of("/a/b/c"), "/a/b");
  EXPECT_EQ(name_of("a"), "a");
  EXPECT_EQ(name_of("/a/b"), "b");
  EXPECT_EQ(name_of("a/"), "");
}

}  // namespace
}  // namespace grainmill
