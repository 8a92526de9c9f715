// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "engine/io/file_system.h"
#include "engine/io/open_policy.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

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

TEST_F(PendingFileTest, ReplacesALinkThatNamesNothing) {
  link("out", at("absent"));
  ASSERT_TRUE(IsOk(begin("out", "new")->publish(Durability::unsynced)));
  EXPECT_FALSE(fs::is_symlink(at("out")));
  EXPECT_EQ(get("out"), "new");
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

using FileSystemTest = IoTest;

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
