// SPDX-License-Identifier: Apache-2.0
//
// Writing beside others, which files in memory alone can do. (All else of a file of the operating
// system: io_test.cc.)
#include "engine/io/posix_file.h"

#include "engine/base/units.h"
#include "tests/fakes/outcome.h"
#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace grainmill {
namespace {

using testing::IsOk;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kPage = 64 * kKiB;  // or what any machine's page divides

PosixFile in_memory(std::uint64_t size_bytes, FileOwner owner = FileOwner::ours) {
  const int descriptor = ::memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(::ftruncate(descriptor, static_cast<off_t>(size_bytes)), 0);
  return PosixFile("memory", descriptor, owner);
}

Bytes filled(std::uint64_t size, int value) { return Bytes(size, std::byte(value)); }

Bytes read(const File& file, std::uint64_t offset, std::uint64_t length) {
  Bytes bytes(length);
  EXPECT_TRUE(IsOk(file.read_exact_at(offset, bytes)));
  return bytes;
}

TEST(WriteBeside, PutsWholePagesWhereTheyBelong) {
  PosixFile file = in_memory(4 * kPage);
  ASSERT_TRUE(IsOk(file.write_at(kPage, filled(kPage, 1))));
  ASSERT_TRUE(file.write_beside(kPage, filled(2 * kPage, 2)));
  EXPECT_EQ(read(file, kPage, 2 * kPage), filled(2 * kPage, 2));
  EXPECT_EQ(read(file, 0, kPage), filled(kPage, 0));
  EXPECT_EQ(read(file, 3 * kPage, kPage), filled(kPage, 0));
  EXPECT_EQ(file.info()->size_bytes, 4 * kPage);
}

TEST(WriteBeside, LeavesPartsOfPages) {
  PosixFile file = in_memory(2 * kPage);
  EXPECT_FALSE(file.write_beside(512, filled(kPage, 1)));
  EXPECT_FALSE(file.write_beside(0, filled(512, 1)));
  EXPECT_FALSE(file.write_beside(0, {}));
  EXPECT_EQ(read(file, 0, 2 * kPage), filled(2 * kPage, 0));
}

// To touch such a page would end the program.
TEST(WriteBeside, LeavesWhatLiesBehindTheEnd) {
  PosixFile file = in_memory(kPage);
  EXPECT_FALSE(file.write_beside(kPage, filled(kPage, 1)));
  EXPECT_FALSE(file.write_beside(0, filled(2 * kPage, 1)));
  EXPECT_EQ(file.info()->size_bytes, kPage);
}

// They may become shorter between two instructions.
TEST(WriteBeside, LeavesFilesThatOthersKnow) {
  PosixFile file = in_memory(kPage, FileOwner::anyone);
  EXPECT_FALSE(file.write_beside(0, filled(kPage, 1)));
  EXPECT_EQ(read(file, 0, kPage), filled(kPage, 0));
}

TEST(WriteBeside, LeavesFilesThatMayNotBeWrittenTo) {
  PosixFile file = in_memory(kPage);
  ASSERT_EQ(::fcntl(file.descriptor(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_FALSE(file.write_beside(0, filled(kPage, 1)));
}

TEST(WriteBeside, LeavesFilesOnDevices) {
  const testing::TempDir folder;
  const std::string path = (folder.path() / "f").string();
  PosixFile file(path, ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600), FileOwner::ours);
  ASSERT_TRUE(IsOk(file.resize(kPage)));
  if (file.write_beside(0, filled(kPage, 1))) GTEST_SKIP() << folder.path() << " is in memory";
  EXPECT_EQ(read(file, 0, kPage), filled(kPage, 0));
}

TEST(WriteBeside, ManyThreadsAtOnce) {
  constexpr std::size_t kThreads = 4;
  constexpr std::uint64_t kPages = 64;
  PosixFile file = in_memory(kThreads * kPages * kPage);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::size_t i = 0; i < kThreads; ++i)
    threads.emplace_back([&file, i] {
      const Bytes bytes = filled(kPage, static_cast<int>(i) + 1);
      for (std::uint64_t page = i; page < kThreads * kPages; page += kThreads) {
        if (i % 2 == 0)
          EXPECT_TRUE(IsOk(file.write_at(page * kPage, bytes)));
        else
          EXPECT_TRUE(file.write_beside(page * kPage, bytes));
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t page = 0; page < kThreads * kPages; ++page)
    ASSERT_EQ(read(file, page * kPage, kPage),
              filled(kPage, static_cast<int>(page % kThreads) + 1));
}

}  // namespace
}  // namespace grainmill
