// SPDX-License-Identifier: Apache-2.0
#include "pipeline/resume_journal.h"

#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {
namespace {

using testing::MemoryFileSystem;
using Bytes = std::vector<std::byte>;

constexpr const char* kPath = "/out/.disk.journal";
const std::vector<std::string> kIdentity = {"source a: 5 bytes", "", "written as raw"};

class ResumeJournalTest : public ::testing::Test {
 protected:
  static Checkpoint checkpoint(std::uint64_t number) {
    return {number << 20U, Bytes(number * 24, std::byte(number)), Bytes(7, std::byte{0xee})};
  }
  static ResumeJournal open(MemoryFileSystem& files) {
    Result<ResumeJournal> journal = ResumeJournal::open(files, kPath, Durability::unsynced);
    EXPECT_TRUE(journal.has_value());
    return *std::move(journal);
  }
  void SetUp() override {
    ResumeJournal journal = open(files_);
    EXPECT_FALSE(journal.has_identity());
    ASSERT_TRUE(journal.begin(kIdentity, Durability::synced).has_value());
    for (std::uint64_t number = 1; number <= 4; ++number) {
      ASSERT_TRUE(journal.append(checkpoint(number), Durability::synced).has_value());
      ends_.push_back(files_.content(kPath).size_bytes());
    }
    bytes_ = files_.content(kPath).bytes();
  }

  // What is read of any bytes is a beginning of what was written, or nothing.
  void expect_prefix(const Bytes& bytes, std::size_t most) {
    MemoryFileSystem files;
    files.add(kPath, bytes);
    Result<ResumeJournal> journal = ResumeJournal::open(files, kPath, Durability::unsynced);
    if (!journal) {
      EXPECT_EQ(journal.error().kind, ErrorKind::invalid_argument);
      return;
    }
    ASSERT_LE(journal->checkpoints(), most);
    if (!journal->has_identity()) return;
    EXPECT_TRUE(std::ranges::equal(journal->identity(), kIdentity));
    for (std::size_t i = 0; i < journal->checkpoints(); ++i) {
      const Result<Checkpoint> found = journal->read(i);
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(found->guest_end, journal->guest_end(i));
      EXPECT_EQ(found->digests, checkpoint(i + 1).digests);
      EXPECT_EQ(found->state, checkpoint(i + 1).state);
    }
  }

  MemoryFileSystem files_;
  std::vector<std::uint64_t> ends_;
  Bytes bytes_;
};

TEST_F(ResumeJournalTest, ReadsWhatWasWritten) {
  expect_prefix(bytes_, 4);
  EXPECT_EQ(open(files_).checkpoints(), 4U);
}

TEST_F(ResumeJournalTest, CutOffAnywhereItsBeginningCounts) {
  for (std::size_t size = 0; size < bytes_.size(); ++size) {
    SCOPED_TRACE(size);
    const auto whole =
        static_cast<std::size_t>(std::ranges::upper_bound(ends_, size) - ends_.begin());
    expect_prefix(Bytes(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(size)), whole);
  }
}

TEST_F(ResumeJournalTest, ADamagedRecordEndsIt) {
  for (std::size_t at = 16; at < bytes_.size(); ++at) {
    SCOPED_TRACE(at);
    Bytes bytes = bytes_;
    bytes[at] ^= std::byte{0x10};
    const auto whole =
        static_cast<std::size_t>(std::ranges::upper_bound(ends_, at) - ends_.begin());
    expect_prefix(bytes, whole);
  }
}

// Records of an older one that are left behind a newer one do not go on with it.
TEST_F(ResumeJournalTest, RecordsOfAnOlderOneDoNotCount) {
  MemoryFileSystem files;
  ResumeJournal journal = open(files);
  ASSERT_TRUE(journal.begin({"source b: 5 bytes", "", "written as raw"}, Durability::synced));
  ASSERT_TRUE(journal.append(checkpoint(1), Durability::synced));
  Bytes mixed = files.content(kPath).bytes();
  ASSERT_EQ(mixed.size(), ends_[0]);
  mixed.insert(mixed.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(ends_[0]), bytes_.end());
  MemoryFileSystem left;
  left.add(kPath, mixed);
  EXPECT_EQ(open(left).checkpoints(), 1U);
}

TEST_F(ResumeJournalTest, GoesOnBehindTheLastWholeRecord) {
  files_.content(kPath).set_size(ends_[2] + 5);
  {
    ResumeJournal journal = open(files_);
    ASSERT_EQ(journal.checkpoints(), 3U);
    ASSERT_TRUE(journal.append(checkpoint(4), Durability::synced));
  }
  EXPECT_EQ(files_.content(kPath).bytes(), bytes_);
}

TEST_F(ResumeJournalTest, RefusesWhatIsNone) {
  MemoryFileSystem files;
  files.add(kPath, std::string_view("dear diary, today I"));
  const Result<ResumeJournal> journal = ResumeJournal::open(files, kPath, Durability::unsynced);
  ASSERT_FALSE(journal.has_value());
  EXPECT_EQ(journal.error().kind, ErrorKind::invalid_argument);
}

// A power cut may leave the length of a file without its bytes.
TEST_F(ResumeJournalTest, ZerosAreAnEmptyOne) {
  MemoryFileSystem files;
  files.add(kPath, Bytes(5000));
  EXPECT_FALSE(open(files).has_identity());
}

TEST_F(ResumeJournalTest, AnyBytesAreSafe) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 3000; ++round) {
    Bytes bytes(bytes_.begin(), bytes_.begin() + 16);
    const std::size_t size = random() % 300;
    while (bytes.size() < 16 + size) bytes.push_back(std::byte(random() % 4 == 0 ? random() : 0));
    MemoryFileSystem files;
    files.add(kPath, bytes);
    EXPECT_EQ(open(files).checkpoints(), 0U);
  }
}

}  // namespace
}  // namespace grainmill
