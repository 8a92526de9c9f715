// SPDX-License-Identifier: Apache-2.0
//
// Files that an image names, and files that are no images: what is opened, what is refused, and
// what a person is told.
#include "tests/conversion.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include <sys/stat.h>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// An image in vm/, with its data in a file of any name; there is also other/.
class OpenPolicyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "below");
    fs::create_directory(other_);
  }

  // A flat disk whose one extent is `name`, as seen from vm/.
  fs::path build_naming(const std::string& name) {
    const LinkOptions options{.kind = Kind::custom,
                              .extents = {{.type = ExtentType::flat, .file_name = name}}};
    return build_disk(folder_, "disk", layout_, options).path();
  }
  // The same, where the file has been replaced by something else.
  fs::path build_with(const std::function<void(const fs::path&)>& make) {
    const fs::path image = build_naming("data.vmdk");
    fs::remove(folder_ / "data.vmdk");
    make(folder_ / "data.vmdk");
    return image;
  }

  Result<ConvertReport> convert_disk(const fs::path& source, const OpenPolicy& policy) {
    ConvertOptions options = convert_options(source, output_);
    options.disk.open.policy = policy;
    return convert(posix_file_system(), options);
  }
  void expect_opens(const fs::path& source, const OpenPolicy& policy = {}) {
    const Result<ConvertReport> report = convert_disk(source, policy);
    ASSERT_TRUE(report) << report.error();
    expect_same_bytes(file_bytes(output_), expected_bytes(layout_, 0, layout_.size_bytes()));
    fs::remove(output_);
  }
  void expect_refused(const fs::path& source, ErrorKind kind, const std::vector<std::string>& words,
                      const OpenPolicy& policy = {}) {
    const Result<ConvertReport> report = convert_disk(source, policy);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, kind) << report.error();
    for (const std::string& word : words)
      EXPECT_NE(report.error().to_string().find(word), std::string::npos)
          << word << " is not in: " << report.error();
    EXPECT_FALSE(fs::exists(output_));
  }

  OpenPolicy allow(const fs::path& folder) { return {.allowed_folders = {folder.string()}}; }
  const OpenPolicy any_{.allowed_folders = {}, .allow_any_path = true};

  Layout layout_ = parse_layout("64k:A 64k:- 3s:B");
  TempDir dir_;
  fs::path folder_ = dir_ / "vm";
  fs::path other_ = dir_ / "other";
  fs::path output_ = dir_ / "out.img";
};

TEST_F(OpenPolicyTest, FilesInAndBelowTheFolderOpen) {
  for (const std::string& name : std::vector<std::string>{
           "data.vmdk", "./data.vmdk", "below/data.vmdk", "below/../data.vmdk"}) {
    SCOPED_TRACE(name);
    expect_opens(build_naming(name));
  }
}

TEST_F(OpenPolicyTest, FilesElsewhereNeedAnOption) {
  const fs::path image = build_naming("../other/data.vmdk");
  expect_refused(image, ErrorKind::denied, {"../other/data.vmdk", "--allow-dir", other_.string()});
  expect_refused(image, ErrorKind::denied, {"--allow-dir"}, allow(dir_ / "oth"));
  expect_refused(image, ErrorKind::denied, {"--allow-dir"}, allow(folder_ / "below"));
  expect_opens(image, allow(other_));
  expect_opens(image, allow(dir_.path()));
  expect_opens(image, any_);
}

TEST_F(OpenPolicyTest, AbsoluteNamesAreJudgedByWhereTheyLead) {
  const fs::path image = build_naming("data.vmdk");
  fs::rename(folder_ / "data.vmdk", other_ / "data.vmdk");
  const auto name_in_text = [&](const fs::path& name) {
    const std::string old = "data.vmdk";
    const LinkOptions options{.kind = Kind::custom,
                              .extents = {{.type = ExtentType::flat, .file_name = old}},
                              .descriptor = {.edit = [&](std::string text) {
                                return text.replace(text.find(old), old.size(), name.string());
                              }}};
    build_disk(folder_, "disk", layout_, options);
  };
  name_in_text(folder_ / "data.vmdk");
  expect_opens(image);
  name_in_text(other_ / "data.vmdk");
  expect_refused(image, ErrorKind::denied, {(other_ / "data.vmdk").string(), "--allow-dir"});
  expect_opens(image, allow(other_));
  expect_opens(image, any_);
  name_in_text("/etc/passwd");
  expect_refused(image, ErrorKind::denied, {"/etc/passwd"}, allow(other_));
}

TEST_F(OpenPolicyTest, SymbolicLinksDoNotLeadOut) {
  const auto link_to = [&](const fs::path& target) {
    return build_with([&](const fs::path& path) { fs::create_symlink(target, path); });
  };
  build_naming("../other/data.vmdk");
  for (const fs::path& target : {fs::path("../other/data.vmdk"), other_ / "data.vmdk"}) {
    SCOPED_TRACE(target);
    const fs::path image = link_to(target);
    expect_refused(image, ErrorKind::denied, {"data.vmdk", "--allow-dir"});
    expect_opens(image, any_);
    fs::remove(folder_ / "data.vmdk");
  }
  build_naming("below/data.vmdk");
  expect_opens(link_to("below/data.vmdk"));
}

TEST_F(OpenPolicyTest, SymbolicLinksIntoAnAllowedFolderOpen) {
  build_naming("../other/data.vmdk");
  const fs::path image =
      build_with([&](const fs::path& path) { fs::create_symlink(other_ / "data.vmdk", path); });
  expect_refused(image, ErrorKind::denied, {"--allow-dir " + other_.string()});
  expect_opens(image, allow(other_));
}

TEST_F(OpenPolicyTest, AFolderReachedByASymbolicLinkIsAFolder) {
  build_naming("data.vmdk");
  fs::create_directory_symlink("vm", dir_ / "alias");
  expect_opens(dir_ / "alias" / "disk.vmdk");
  build_disk(folder_, "one", layout_);
  fs::create_symlink("vm/one.vmdk", dir_ / "one.vmdk");
  expect_opens(dir_ / "one.vmdk");
}

TEST_F(OpenPolicyTest, ParentsAreSubjectToItToo) {
  const Layout chain = parse_layout("64k:A 64k:- 3s:B | 128k:^ 3s:^");
  const BuiltLink base = build_link(other_, "base", chain, 0, {}, nullptr);
  const BuiltLink delta = build_link(folder_, "disk", chain, 1,
                                     {.descriptor = {.parent_hint = "../other/base.vmdk"}}, &base);
  expect_refused(delta.path, ErrorKind::denied, {"../other/base.vmdk", "--allow-dir"});
  expect_opens(delta.path, allow(other_));
  expect_opens(delta.path, any_);
}

TEST_F(OpenPolicyTest, OnlyRegularFilesAreEverOpened) {
  const auto fifo = [](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); };
  // Opening a FIFO that nobody writes to would block for ever.
  expect_refused(build_with(fifo), ErrorKind::unsupported, {"data.vmdk", "a FIFO"}, any_);
  fs::remove(folder_ / "data.vmdk");
  const auto folder = [](const fs::path& path) { fs::create_directory(path); };
  expect_refused(build_with(folder), ErrorKind::unsupported, {"data.vmdk", "a directory"}, any_);
  fs::remove(folder_ / "data.vmdk");
  for (const auto& [target, words] : std::vector<std::pair<fs::path, std::string>>{
           {"/dev/zero", "a character device"},
           {"/proc/self/environ", "kernel file system"},
           {"/sys/kernel/uevent_seqnum", "kernel file system"}}) {
    const fs::path image =
        build_with([&](const fs::path& path) { fs::create_symlink(target, path); });
    if (fs::exists(target)) expect_refused(image, ErrorKind::unsupported, {words}, any_);
    expect_refused(image, ErrorKind::denied, {"data.vmdk"});
    fs::remove(folder_ / "data.vmdk");
  }
}

TEST_F(OpenPolicyTest, TheSourceMustBeARegularFileToo) {
  const fs::path fifo = dir_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_refused(fifo, ErrorKind::unsupported, {"fifo", "a FIFO"});
  expect_refused(dir_.path(), ErrorKind::unsupported, {"a directory"});
  expect_refused("/dev/zero", ErrorKind::unsupported, {"/dev/zero", "a character device"});
  expect_refused("/proc/self/status", ErrorKind::unsupported, {"kernel file system"});
  expect_refused(dir_ / "none.vmdk", ErrorKind::not_found, {"none.vmdk"});
}

TEST_F(OpenPolicyTest, ARenamedMonolithicImageOpens) {
  const BuiltDisk disk = build_disk(folder_, "one", layout_);
  fs::rename(disk.path(), folder_ / "renamed.img");
  expect_opens(folder_ / "renamed.img");
}

TEST_F(OpenPolicyTest, APartOfADiskNamesItsDescriptor) {
  for (const Kind kind :
       {Kind::two_gb_sparse, Kind::two_gb_flat, Kind::monolithic_flat, Kind::vmfs_sparse}) {
    const BuiltDisk disk = build_disk(folder_, "disk", layout_, {.kind = kind});
    expect_refused(disk.links[0].extents[0].path, ErrorKind::unsupported,
                   {"open its descriptor", disk.path().string()});
    for (const fs::path& path : disk.files()) fs::remove(path);
  }
}

TEST_F(OpenPolicyTest, AMissingExtentIsNamed) {
  const BuiltDisk disk = build_disk(folder_, "disk", layout_,
                                    {.kind = Kind::two_gb_sparse, .split_size_bytes = 64 << 10});
  fs::remove(disk.links[0].extents[1].path);
  expect_refused(disk.path(), ErrorKind::not_found, {"disk-s002.vmdk", disk.path().string()});
}

TEST_F(OpenPolicyTest, OtherFilesAreCalledWhatTheyAre) {
  const std::vector<std::pair<std::string, std::string>> strangers = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"},
      {"\n <!DOCTYPE html>\n<html><body>Log in</body></html>", "HTML page"},
      {"<html>", "HTML page"},
      {std::string("QFI\xfb\0\0\0\1", 8), "version 1"},
      {"BZh91AY", "bzip2"},
      {std::string(100, '\0'), "nothing but zeros"},
      {"hello", "-f raw"}};
  for (const auto& [content, words] : strangers) {
    write_file(dir_ / "image.vmdk", content);
    expect_refused(dir_ / "image.vmdk", ErrorKind::unsupported, {"image.vmdk", words});
  }
}

}  // namespace
}  // namespace grainmill::testing
