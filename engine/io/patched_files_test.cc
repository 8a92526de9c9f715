// SPDX-License-Identifier: Apache-2.0
#include "engine/io/patched_files.h"

#include "tests/fakes/outcome.h"
#include "tests/fault/fault_file_system.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace grainmill::testing {
namespace {

FilePatch patch(std::uint64_t offset, const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {offset, {bytes.begin(), bytes.end()}};
}

class PatchedFilesTest : public ::testing::Test {
 protected:
  PatchedFilesTest() { std::ofstream(path_) << "0123456789"; }

  // All of the file, by pieces of `step` bytes.
  std::string text(std::size_t step = 64) {
    const Result<std::unique_ptr<File>> file = files_.open_read(path_);
    EXPECT_TRUE(IsOk(file));
    std::string all;
    for (;;) {
      std::string piece(step, '?');
      const auto got = (*file)->read_at(all.size(), std::as_writable_bytes(std::span(piece)));
      EXPECT_TRUE(IsOk(got));
      if (!got || *got == 0) return all;
      all += piece.substr(0, *got);
    }
  }

  TempDir dir_;
  std::string path_ = dir_ / "file";
  PatchedFiles files_{posix_file_system()};
};

TEST_F(PatchedFilesTest, LaterPatchesWinWhereverTheyOverlap) {
  ASSERT_TRUE(IsOk(files_.add(path_, patch(2, "abcd"))));
  EXPECT_EQ(text(), "01abcd6789");
  ASSERT_TRUE(IsOk(files_.add(path_, patch(3, "XY"))));
  EXPECT_EQ(text(), "01aXYd6789");
  ASSERT_TRUE(IsOk(files_.add(path_, patch(5, "++++"))));
  EXPECT_EQ(text(), "01aXY++++9");
  ASSERT_TRUE(IsOk(files_.add(path_, patch(0, "-------"))));
  for (std::size_t step = 1; step <= 11; ++step) EXPECT_EQ(text(step), "-------++9") << step;
}

TEST_F(PatchedFilesTest, GoOnBehindTheEndWithZerosBetween) {
  ASSERT_TRUE(IsOk(files_.add(path_, patch(12, "end"))));
  const std::string want = std::string("0123456789\0\0end", 15);
  for (std::size_t step = 1; step <= 16; ++step) EXPECT_EQ(text(step), want) << step;
  const Result<std::unique_ptr<File>> file = files_.open_read(path_);
  EXPECT_EQ((*file)->info()->size_bytes, 15U);
  const Result<DataRange> data = (*file)->next_data(11);
  ASSERT_TRUE(IsOk(data));
  EXPECT_EQ(data->begin, 12U);
  EXPECT_EQ(data->end, 15U);
}

TEST_F(PatchedFilesTest, ReadAroundWhatTheFileCannotGive) {
  FaultFileSystem faulty(posix_file_system());
  faulty.add({.path_end = "file", .range_begin = 4, .range_end = 6});
  PatchedFiles files(faulty);
  const auto read = [&]() -> Result<std::string> {
    std::string text(10, '?');
    GM_TRY(const std::unique_ptr<File> file, files.open_read(path_));
    GM_CHECK(file->read_exact_at(0, std::as_writable_bytes(std::span(text))));
    return text;
  };
  ASSERT_TRUE(IsOk(files.add(path_, patch(4, "x"))));
  EXPECT_TRUE(HasError(read(), ErrorKind::io));
  ASSERT_TRUE(IsOk(files.add(path_, patch(5, "yz"))));
  EXPECT_EQ(read().value_or(""), "0123xyz789");
}

TEST_F(PatchedFilesTest, AreTheSameByAnyNameAndNeverWritten) {
  ASSERT_TRUE(IsOk(files_.add(path_, patch(0, "!"))));
  std::filesystem::create_symlink(path_, dir_ / "link");
  std::byte first{};
  const auto by_link = files_.open_read(dir_ / "link");
  ASSERT_TRUE(IsOk((*by_link)->read_exact_at(0, std::span(&first, 1))));
  EXPECT_EQ(first, std::byte{'!'});
  const auto beneath = files_.open_beneath(dir_.path(), "file", OpenMode::read);
  ASSERT_TRUE(IsOk((*beneath)->read_exact_at(0, std::span(&first, 1))));
  EXPECT_EQ(first, std::byte{'!'});
  EXPECT_TRUE(HasError((*by_link)->write_at(0, {}), ErrorKind::unsupported));
  EXPECT_TRUE(HasError(files_.open_write(path_), ErrorKind::unsupported));
  EXPECT_TRUE(HasError(files_.remove(path_), ErrorKind::unsupported));
  std::ifstream now(path_);
  EXPECT_EQ(now.get(), '0');
}

}  // namespace
}  // namespace grainmill::testing
