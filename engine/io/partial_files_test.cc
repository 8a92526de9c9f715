// SPDX-License-Identifier: Apache-2.0
#include "engine/io/partial_files.h"

#include "engine/io/scratch_files.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {
namespace {

namespace fs = std::filesystem;
using testing::MemoryFileSystem;
using Bytes = std::vector<std::byte>;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Bytes all_of(const File& file) {
  const Result<FileInfo> info = file.info();
  EXPECT_TRUE(info.has_value());
  Bytes bytes(info->size_bytes);
  EXPECT_TRUE(file.read_exact_at(0, bytes).has_value());
  return bytes;
}

class PartialFilesTest : public ::testing::Test {
 protected:
  testing::TempDir dir_;
  std::string path_ = (dir_.path() / "out.img").string();
  std::string partial_ = (dir_.path() / ".out.img.partial").string();
};

TEST_F(PartialFilesTest, KeepsWhatWasWritten) {
  EXPECT_EQ(partial_path(path_), partial_);
  EXPECT_EQ(partial_path("out.img"), ".out.img.partial");
  {
    PartialFiles files(posix_file_system());
    Result<std::unique_ptr<PendingFile>> made = files.create_pending(path_);
    ASSERT_TRUE(made.has_value());
    ASSERT_TRUE((*made)->file().write_at(0, bytes_of("half")).has_value());
  }
  EXPECT_TRUE(fs::exists(partial_));
  EXPECT_FALSE(fs::exists(path_));
  PartialFiles files(posix_file_system());
  {
    Result<std::unique_ptr<PendingFile>> made = files.create_pending(path_);
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(all_of((*made)->file()), Bytes(bytes_of("half").begin(), bytes_of("half").end()));
  }
  files.begin_anew();
  Result<std::unique_ptr<PendingFile>> made = files.create_pending(path_);
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(all_of((*made)->file()).empty());
  ASSERT_TRUE((*made)->publish(Durability::synced).has_value());
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(PartialFilesTest, OneAtATime) {
  PartialFiles files(posix_file_system());
  ASSERT_TRUE(files.create_pending(path_).has_value());
  PartialFiles others(posix_file_system());
  const auto made = others.create_pending(path_);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().kind, ErrorKind::busy);
  others.remove_partials();
  EXPECT_TRUE(fs::exists(partial_));
  files.remove_partials();
  EXPECT_FALSE(fs::exists(partial_));
}

TEST_F(PartialFilesTest, ReplacesOnlyFiles) {
  fs::create_directory(path_);
  EXPECT_FALSE(PartialFiles(posix_file_system()).create_pending(path_).has_value());
  fs::remove(path_);
  fs::create_symlink("nowhere", path_);
  EXPECT_FALSE(PartialFiles(posix_file_system()).create_pending(path_).has_value());
  fs::remove(path_);
  // Where a link of this name leads is nobody's to write to.
  std::ofstream(dir_.path() / "victim") << "precious";
  fs::create_symlink("victim", partial_);
  EXPECT_FALSE(PartialFiles(posix_file_system()).create_pending(path_).has_value());
  EXPECT_EQ(fs::file_size(dir_.path() / "victim"), 8U);
}

TEST_F(PartialFilesTest, LiesBesideWhatALinkLeadsTo) {
  fs::create_directory(dir_.path() / "deep");
  std::ofstream(dir_.path() / "deep/real.img") << "older";
  fs::create_symlink("deep/real.img", path_);
  PartialFiles files(posix_file_system());
  Result<std::unique_ptr<PendingFile>> made = files.create_pending(path_);
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(fs::exists(dir_.path() / "deep/.real.img.partial"));
  ASSERT_TRUE((*made)->publish(Durability::unsynced).has_value());
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(fs::file_size(dir_.path() / "deep/real.img"), 0U);
}

// Any changes, held against a vector that is changed alike; what lies below stays.
TEST(ScratchFilesTest, ReadsWhatWasChanged) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    MemoryFileSystem memory;
    Bytes want(random() % 200);
    for (std::byte& byte : want) byte = std::byte(random());
    memory.add("/f/.out.partial", want);
    const Bytes below = want;
    PartialFiles partials(memory);
    ScratchFiles files(partials);
    Result<std::unique_ptr<PendingFile>> made = files.create_pending("/f/out");
    ASSERT_TRUE(made.has_value());
    File& file = (*made)->file();
    for (int change = 0; change < 12; ++change) {
      const std::size_t offset = random() % 220;
      const std::size_t length = random() % 60;
      if (const auto what = random() % 3; what == 0) {
        const Bytes bytes(length, std::byte(random() | 1U));
        ASSERT_TRUE(file.write_at(offset, bytes).has_value());
        if (length != 0) want.resize(std::max(want.size(), offset + length));
        std::ranges::copy(bytes,
                          want.begin() + static_cast<std::ptrdiff_t>(length != 0 ? offset : 0));
      } else if (what == 1) {
        ASSERT_TRUE(file.resize(offset).has_value());
        want.resize(offset);
      } else if (offset + length <= want.size()) {
        ASSERT_TRUE(file.zero_range(offset, length).has_value());
        std::ranges::fill(std::span(want).subspan(offset, length), std::byte{0});
      }
      const Result<std::unique_ptr<File>> read = files.open_beneath("/f", "out", OpenMode::read);
      ASSERT_TRUE(read.has_value());
      ASSERT_EQ(all_of(**read), want);
    }
    // What is no data reads as zeros.
    for (std::uint64_t at = 0; at < want.size();) {
      const Result<DataRange> data = file.next_data(at);
      ASSERT_TRUE(data.has_value());
      const std::uint64_t stop = data->begin == data->end ? want.size() : data->begin;
      for (; at < stop; ++at) ASSERT_EQ(want[at], std::byte{0});
      at = std::max(at, data->end);
    }
    EXPECT_FALSE((*made)->publish(Durability::unsynced).has_value());
    EXPECT_EQ(memory.content("/f/.out.partial").bytes(), below);
  }
}

}  // namespace
}  // namespace grainmill
