// SPDX-License-Identifier: Apache-2.0
#include "tests/power_cut/power_cut_file_system.h"

#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kSector = Change::kSectorBytes;

std::vector<std::byte> sectors(std::size_t count, char value) {
  return std::vector<std::byte>(count * kSector, static_cast<std::byte>(value));
}

// The first byte of each sector; '.' where it is zero.
std::string shape(const MemoryContent& content) {
  const std::vector<std::byte> bytes = content.bytes();
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += kSector)
    text += bytes[at] == std::byte{0} ? '.' : static_cast<char>(bytes[at]);
  return text;
}

// The same of a file that may be absent.
std::string shape(MemoryFileSystem& files, const std::string& path) {
  return files.has(path) ? shape(files.content(path)) : "absent";
}

bool all(std::size_t /*step*/, std::size_t /*sector*/) { return true; }
bool none(std::size_t /*step*/, std::size_t /*sector*/) { return false; }

class PowerCutTest : public ::testing::Test {
 protected:
  // A file of 8 sectors, open to be written.
  PowerCutTest() {
    files_.add("/f", std::span<const std::byte>(sectors(8, '-')));
    file_ = files_.open_write("/f").value();
  }

  void write(std::uint64_t sector, std::size_t count, char value) {
    EXPECT_TRUE(IsOk(file_->write_at(sector * kSector, sectors(count, value))));
  }
  void sync() { EXPECT_TRUE(IsOk(file_->sync())); }

  std::unique_ptr<PendingFile> begin(const std::string& path, char value) {
    auto pending = files_.create_pending(path).value();
    EXPECT_TRUE(IsOk(pending->file().write_at(0, sectors(1, value))));
    return pending;
  }

  [[nodiscard]] std::string after(std::size_t steps, const PowerCutFileSystem::Arrived& arrived,
                                  const std::string& path = "/f") const {
    return shape(*files_.state_after(steps, arrived), path);
  }

  // How often each shape of a file is shown.
  [[nodiscard]] std::map<std::string, int> shapes(const std::string& path = "/f",
                                                  const StateOptions& options = {}) const {
    std::map<std::string, int> shapes;
    files_.for_each_state(
        [&](PowerCut& cut) {
          ++shapes[shape(cut.files(), path)];
          return true;
        },
        options);
    return shapes;
  }

  PowerCutFileSystem files_;
  std::unique_ptr<File> file_;
};

TEST_F(PowerCutTest, IsAFileSystemLikeAnyOther) {
  write(1, 1, 'a');
  ASSERT_TRUE(IsOk(file_->zero_range(2 * kSector, kSector)));
  ASSERT_TRUE(IsOk(file_->resize(5 * kSector)));
  EXPECT_EQ(shape(files_.live(), "/f"), "-a.--");
  EXPECT_EQ(file_->info()->size_bytes, 5 * kSector);
  EXPECT_EQ(file_->stores_any(0, kSector), true);
  std::array<std::byte, 1> byte{};
  ASSERT_TRUE(IsOk(files_.open_read("/f").value()->read_exact_at(kSector, byte)));
  EXPECT_EQ(byte[0], std::byte{'a'});
  EXPECT_TRUE(HasError(files_.open_write("/f"), ErrorKind::busy));
  EXPECT_TRUE(HasError(files_.open_read("/absent"), ErrorKind::not_found));
  EXPECT_TRUE(HasError(files_.open_beneath("/", "f", OpenMode::read_write), ErrorKind::busy));
  EXPECT_EQ(files_.list("/").value(), std::vector<std::string>{"f"});
  EXPECT_EQ(files_.canonical("/f").value(), "/f");
}

TEST_F(PowerCutTest, KeepsWhatWasThereFromTheStart) {
  EXPECT_EQ(files_.steps(), 0U);
  EXPECT_EQ(after(0, none), "--------");
  EXPECT_EQ(shapes(), (std::map<std::string, int>{{"--------", 1}}));
}

TEST_F(PowerCutTest, KeepsWhatWasSynced) {
  write(0, 1, 'a');
  sync();
  write(1, 1, 'b');
  EXPECT_EQ(files_.steps(), 3U);
  EXPECT_EQ(after(1, none), "--------");
  EXPECT_EQ(after(1, all), "a-------");
  EXPECT_EQ(after(2, none), "a-------");
  EXPECT_EQ(after(3, none), "a-------");
  EXPECT_EQ(after(3, all), "ab------");
  EXPECT_EQ(files_.undecided_after(1), 1U);
  EXPECT_EQ(files_.undecided_after(2), 0U);
  EXPECT_EQ(files_.undecided_after(3), 1U);
}

TEST_F(PowerCutTest, SyncsOneFileOnly) {
  files_.add("/g", std::span<const std::byte>(sectors(1, '-')));
  const auto other = files_.open_write("/g").value();
  write(0, 1, 'a');
  ASSERT_TRUE(IsOk(other->write_at(0, sectors(1, 'b'))));
  sync();
  EXPECT_EQ(after(3, none, "/f"), "a-------");
  EXPECT_EQ(after(3, none, "/g"), "-");
  EXPECT_EQ(after(3, all, "/g"), "b");
}

TEST_F(PowerCutTest, ShowsEverySubsetOnce) {
  write(0, 1, 'a');
  write(1, 1, 'b');
  write(2, 1, 'c');
  const std::map<std::string, int> once = {{"--------", 1}, {"a-------", 1}, {"-b------", 1},
                                           {"ab------", 1}, {"--c-----", 1}, {"a-c-----", 1},
                                           {"-bc-----", 1}, {"abc-----", 1}};
  EXPECT_EQ(shapes(), once);
  sync();
  EXPECT_EQ(shapes(), once);
  write(3, 1, 'd');
  std::map<std::string, int> and_one_more = once;
  and_one_more["abcd----"] = 1;
  EXPECT_EQ(shapes(), and_one_more);
}

TEST_F(PowerCutTest, AppliesInTheOrderOfTheWrites) {
  write(0, 1, 'a');
  write(0, 1, 'b');
  EXPECT_EQ(after(2, all), "b-------");
  EXPECT_EQ(after(2, [](std::size_t step, std::size_t) { return step == 0; }), "a-------");
}

TEST_F(PowerCutTest, TearsBetweenSectorsOnly) {
  ASSERT_TRUE(IsOk(file_->write_at(kSector - 10, sectors(2, 'x'))));  // touches three sectors
  std::set<std::string> seen;
  const std::size_t shown = files_.for_each_state([&](PowerCut& cut) {
    const std::vector<std::byte> bytes = cut.files().content("/f").bytes();
    std::string text;
    for (const std::size_t at : {kSector - 10, kSector - 1, kSector, 2 * kSector - 1, 2 * kSector,
                                 3 * kSector - 11, 3 * kSector - 10})
      text += static_cast<char>(bytes[at]);
    seen.insert(text);
    return true;
  });
  EXPECT_EQ(seen, (std::set<std::string>{"-------", "xx-----", "--xx---", "xxxx---", "----xx-",
                                         "xx--xx-", "--xxxx-", "xxxxxx-"}));
  EXPECT_EQ(shown, 8U);
}

TEST_F(PowerCutTest, TearsZeroedRangesToo) {
  ASSERT_TRUE(IsOk(file_->zero_range(kSector, 2 * kSector)));
  EXPECT_EQ(shapes(), (std::map<std::string, int>{
                          {"--------", 1}, {"-.------", 1}, {"--.-----", 1}, {"-..-----", 1}}));
}

TEST_F(PowerCutTest, KeepsALengthApartFromWhatIsWrittenBehindIt) {
  ASSERT_TRUE(IsOk(file_->resize(12 * kSector)));
  write(10, 1, 'a');
  EXPECT_EQ(shapes(),
            (std::map<std::string, int>{
                {"--------", 1}, {"--------....", 1}, {"--------..a", 1}, {"--------..a.", 1}}));
}

TEST_F(PowerCutTest, ShrinksAndGrowsWithZeros) {
  ASSERT_TRUE(IsOk(file_->resize(2 * kSector)));
  ASSERT_TRUE(IsOk(file_->resize(4 * kSector)));
  EXPECT_EQ(shapes(),
            (std::map<std::string, int>{{"--------", 1}, {"--", 1}, {"----", 1}, {"--..", 1}}));
}

TEST_F(PowerCutTest, ShowsPendingFilesOnlyOncePublished) {
  const auto pending = begin("/new", 'n');
  EXPECT_EQ(shapes("/new"), (std::map<std::string, int>{{"absent", 1}}));
  ASSERT_TRUE(IsOk(pending->publish(Durability::unsynced)));
  EXPECT_EQ(files_.steps(), 2U);
  EXPECT_EQ(shapes("/new"), (std::map<std::string, int>{{"absent", 1}, {"", 1}, {"n", 1}}));
}

TEST_F(PowerCutTest, PublishesSyncedFilesWhole) {
  const auto pending = begin("/f", 'n');
  ASSERT_TRUE(IsOk(pending->publish(Durability::synced)));
  EXPECT_EQ(files_.steps(), 4U);
  EXPECT_EQ(after(3, none), "--------");
  EXPECT_EQ(after(3, all), "n");
  EXPECT_EQ(after(4, none), "n");
  EXPECT_EQ(shapes(), (std::map<std::string, int>{{"--------", 1}, {"n", 1}}));
}

TEST_F(PowerCutTest, RemovesUnsurely) {
  ASSERT_TRUE(IsOk(files_.remove("/f")));
  ASSERT_TRUE(IsOk(files_.remove("/absent")));
  EXPECT_EQ(files_.steps(), 1U);
  EXPECT_EQ(shapes(), (std::map<std::string, int>{{"--------", 1}, {"absent", 1}}));
  // The sync of a folder is for all its names.
  ASSERT_TRUE(IsOk(begin("/other", 'o')->publish(Durability::synced)));
  EXPECT_EQ(after(files_.steps(), none), "absent");
}

TEST_F(PowerCutTest, GoesOnFromWhatThereIs) {
  ASSERT_TRUE(IsOk(begin("/new", 'n')->publish(Durability::unsynced)));
  write(0, 1, 'a');
  files_.note(1);
  files_.record();
  EXPECT_EQ(files_.steps(), 0U);
  EXPECT_EQ(after(0, none, "/new"), "n");
  EXPECT_EQ(after(0, none, "/f"), "a-------");
  write(1, 1, 'b');
  EXPECT_EQ(shapes(), (std::map<std::string, int>{{"a-------", 1}, {"ab------", 1}}));
  files_.for_each_state([&](PowerCut& cut) {
    EXPECT_TRUE(cut.notes().empty());
    return true;
  });
}

TEST_F(PowerCutTest, KnowsTheNotesBeforeACut) {
  files_.note(1);
  write(0, 1, 'a');
  sync();
  files_.note(2);
  write(1, 1, 'b');
  // With a note, states are shown again: more is known of them.
  std::map<std::pair<std::string, std::size_t>, int> seen;
  files_.for_each_state([&](PowerCut& cut) {
    EXPECT_TRUE(cut.has_note(1));
    EXPECT_EQ(cut.has_note(2), cut.notes().size() == 2);
    EXPECT_EQ(cut.has_note(2), cut.steps() >= 2);
    ++seen[{shape(cut.files(), "/f"), cut.notes().size()}];
    return true;
  });
  EXPECT_EQ(
      seen,
      (std::map<std::pair<std::string, std::size_t>, int>{
          {{"--------", 1}, 1}, {{"a-------", 1}, 1}, {{"a-------", 2}, 1}, {{"ab------", 2}, 1}}));
}

TEST_F(PowerCutTest, ShowsALostWriteWithTheNoteThatClaimsIt) {
  write(0, 1, 'a');
  files_.note(1);  // and nobody synced
  bool caught = false;
  files_.for_each_state([&](PowerCut& cut) {
    caught = caught || (cut.has_note(1) && shape(cut.files(), "/f") == "--------");
    return true;
  });
  EXPECT_TRUE(caught);
}

TEST_F(PowerCutTest, ShowsWholeAndTornStatesOfLargeWrites) {
  write(0, 4, 'a');
  write(4, 4, 'b');
  const auto seen = shapes("/f", {.max_exhaustive = 3, .random_states = 20'000});
  for (const char* whole : {"--------", "aaaa----", "----bbbb", "aaaabbbb"})
    EXPECT_TRUE(seen.contains(whole)) << whole;
  EXPECT_GT(seen.size(), 200U);  // of 256
}

TEST_F(PowerCutTest, ShowsOneLostAndOneAloneOfMany) {
  for (char i = 0; i < 8; ++i) write(static_cast<std::uint64_t>(i), 1, static_cast<char>('a' + i));
  const auto seen = shapes("/f", {.max_exhaustive = 2, .random_states = 1000, .seed = 7});
  for (const char* one : {"abcdefgh", "-------h", "-bcdefgh", "abcdefg-", "a-------", "---d----"})
    EXPECT_TRUE(seen.contains(one)) << one;
  EXPECT_EQ(seen, shapes("/f", {.max_exhaustive = 2, .random_states = 1000, .seed = 7}));
}

TEST_F(PowerCutTest, StopsWhenItIsTold) {
  write(0, 3, 'a');
  int left = 3;
  EXPECT_EQ(files_.for_each_state([&](PowerCut&) { return --left > 0; }), 3U);
}

TEST_F(PowerCutTest, TellsWhatBecameOfEachChange) {
  write(0, 4, 'a');
  ASSERT_TRUE(IsOk(file_->resize(kMiB)));
  std::set<std::string> stories;
  files_.for_each_state([&](PowerCut& cut) {
    stories.insert(cut.story());
    return true;
  });
  EXPECT_TRUE(
      stories.contains("power cut after 2 of 2 steps\n"
                       "  step 0: write /f 0x0+2048: sectors 0-1,3 of 4\n"
                       "  step 1: resize /f to 0x100000: whole"));
}

TEST_F(PowerCutTest, GivesEachStateItsOwnFiles) {
  write(0, 1, 'a');
  const std::size_t shown = files_.for_each_state([&](PowerCut& cut) {
    EXPECT_TRUE(IsOk(cut.files().open_write("/f").value()->write_at(0, sectors(8, 'x'))));
    return true;
  });
  EXPECT_EQ(shown, 2U);
  EXPECT_EQ(shape(files_.live(), "/f"), "a-------");
  EXPECT_EQ(shapes(), (std::map<std::string, int>{{"--------", 1}, {"a-------", 1}}));
}

// A store of numbered records: sector 0 says how many there are, record i is sector 1 + i. What it
// promises: those that are counted are whole, and those that were flushed are counted.
class RecordStore {
 public:
  enum class Order : std::uint8_t { data_first, count_first, without_sync };

  RecordStore(PowerCutFileSystem& files, Order order)
      : files_(files), file_(files.open_write("/store").value()), order_(order) {}

  void append() {
    ++count_;
    if (order_ == Order::count_first) put_count();
    EXPECT_TRUE(IsOk(file_->write_at(count_ * kSector, sectors(1, 'r'))));
    if (order_ == Order::data_first) sync();
    if (order_ != Order::count_first) put_count();
    sync();
    files_.note(static_cast<int>(count_));
  }

  static bool keeps_its_promise(PowerCut& cut) {
    const std::vector<std::byte> bytes = cut.files().content("/store").bytes();
    const auto count = load_le<std::uint32_t>(bytes.data());
    if (count < cut.notes().size() || bytes.size() < (count + 1) * kSector) return false;
    for (std::size_t i = 1; i <= count; ++i)
      if (bytes[i * kSector] != std::byte{'r'}) return false;
    return true;
  }

 private:
  void sync() { EXPECT_TRUE(IsOk(file_->sync())); }
  void put_count() {
    std::array<std::byte, 4> bytes{};
    store_le(bytes.data(), count_);
    EXPECT_TRUE(IsOk(file_->write_at(0, bytes)));
  }

  PowerCutFileSystem& files_;
  std::unique_ptr<File> file_;
  Order order_;
  std::uint32_t count_ = 0;
};

bool survives_all_power_cuts(RecordStore::Order order) {
  PowerCutFileSystem files;
  files.add("/store", std::span<const std::byte>(sectors(1, '\0')));
  RecordStore store(files, order);
  for (int i = 0; i < 4; ++i) store.append();
  bool survives = true;
  files.for_each_state([&](PowerCut& cut) {
    survives = RecordStore::keeps_its_promise(cut);
    return survives;
  });
  return survives;
}

TEST(PowerCuts, CatchAWriterThatPointsAtDataBeforeItIsThere) {
  EXPECT_TRUE(survives_all_power_cuts(RecordStore::Order::data_first));
  EXPECT_FALSE(survives_all_power_cuts(RecordStore::Order::count_first));
  EXPECT_FALSE(survives_all_power_cuts(RecordStore::Order::without_sync));
}

TEST(PowerCuts, AreQuickForLargeImages) {
  constexpr std::uint64_t kGrain = 64 * kKiB;
  PowerCutFileSystem files;
  files.add("/disk", std::span<const std::byte>(std::vector<std::byte>(16 * kMiB, std::byte{1})));
  const auto file = files.open_write("/disk").value();
  const std::vector<std::byte> grain(kGrain, std::byte{2});
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(IsOk(file->write_at((i * 37 % 300) * kGrain, grain)));
    ASSERT_TRUE(IsOk(file->write_at(i * 4, std::span(grain).first(4))));
    if (i % 10 == 9) {
      ASSERT_TRUE(IsOk(file->sync()));
    }
  }
  std::uint64_t bytes = 0;
  const std::size_t shown = files.for_each_state(
      [&](PowerCut& cut) {
        bytes += cut.files().content("/disk").size_bytes();
        return true;
      },
      {.random_states = 20'000});
  EXPECT_GT(shown, 20'000U);
  EXPECT_GE(bytes, shown * 16 * kMiB);
}

}  // namespace
}  // namespace grainmill::testing
