// SPDX-License-Identifier: Apache-2.0
//
// How two disks are cut into pairs of units, what of them is read, and what is found there.
#include "pipeline/compare_pair.h"
#include "pipeline/compare_plan.h"
#include "tests/fakes/fake_link.h"
#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {
namespace {

using testing::Call;
using testing::FakeLink;
using testing::HasError;
using testing::IsOk;
using testing::MemoryContent;
using testing::MemoryFile;
using Strings = std::vector<std::string>;
using enum ExtentKind;

constexpr std::uint64_t kGrain = kDigestGrain;
constexpr std::uint64_t kUnitBytes = 4 * kGrain;
constexpr UnitShape kShape{
    .guest_bytes = kUnitBytes, .stored_bytes = kUnitBytes + 6 * kGrain, .grain_bytes = 2 * kGrain};

// A disk whose extents are added one after the other.
class FakeDisk {
 public:
  // From now on its extents lie in the file of `disk`, opened once more.
  FakeDisk& share(const FakeDisk& disk) {
    content_ = disk.content_;
    file_ = std::make_unique<MemoryFile>("alias", content_);
    return *this;
  }

  FakeDisk& nothing(std::uint64_t length, ExtentKind kind = hole) {
    return add({.length = length, .kind = kind});
  }
  // `value` 0: what the file holds already.
  FakeDisk& plain(std::uint64_t length, std::uint64_t file_offset, char value = 0) {
    if (value != 0) put(file_offset, std::vector<std::byte>(length, std::byte(value)));
    return add({.length = length, .kind = data, .file = file_.get(), .file_offset = file_offset});
  }
  // `length` bytes of the grain at `file_offset`, from `skip` on. It inflates to its first byte.
  FakeDisk& packed(std::uint64_t length, std::uint64_t file_offset, char value = 0,
                   std::uint32_t skip = 0, std::uint32_t grain = kGrain,
                   std::uint32_t stored = 1024) {
    if (value != 0) put(file_offset, std::vector<std::byte>(stored, std::byte(value)));
    Extent extent{
        .length = length, .kind = deflated, .file = file_.get(), .file_offset = file_offset};
    extent.stored_bytes = stored;
    extent.grain_bytes = grain;
    extent.grain_skip = skip;
    return add(extent);
  }
  FakeDisk& put(std::uint64_t file_offset, const std::vector<std::byte>& bytes) {
    content_->put(file_offset, bytes);
    return *this;
  }
  FakeDisk& fail_map(std::uint64_t begin, std::uint64_t end) {
    fault_ = {begin, end};
    return *this;
  }

  // After the last extent.
  const ChainMap& map() {
    link_ = std::make_unique<FakeLink>(extents_);
    link_->fail_in(fault_.first, fault_.second);
    map_ = std::make_unique<ChainMap>(std::vector<const LinkMap*>{link_.get()});
    return *map_;
  }
  [[nodiscard]] const File& file() const { return *file_; }
  [[nodiscard]] MemoryContent& content() { return *content_; }

 private:
  FakeDisk& add(Extent extent) {
    extent.guest_offset = extents_.empty() ? 0 : extents_.back().guest_end();
    extents_.push_back(extent);
    return *this;
  }

  std::shared_ptr<MemoryContent> content_ = std::make_shared<MemoryContent>();
  std::unique_ptr<MemoryFile> file_ = std::make_unique<MemoryFile>("disk", content_);
  ExtentList extents_;
  std::pair<std::uint64_t, std::uint64_t> fault_{0, 0};
  std::unique_ptr<FakeLink> link_;
  std::unique_ptr<ChainMap> map_;
};

class CompareTest : public ::testing::Test {
 protected:
  // Plans and compares the two disks; `pairs_` and `found_` say what came of it.
  void run(bool all = true, bool strict = false) {
    const ChainMap& one = one_.map();
    const ChainMap& other = other_.map();
    FileIdentities files;
    ASSERT_TRUE(files.add(one_.file()));
    ASSERT_TRUE(files.add(other_.file()));
    ComparePlanner planner(one, other, files, kUnitBytes, strict);
    pairs_.clear();
    found_.clear();
    errors_.clear();
    one_.content().forget_calls();
    other_.content().forget_calls();
    UnitPair pair(kShape, kShape);
    std::uint64_t end = 0;
    ASSERT_TRUE(IsOk(planner.start(0, std::max(one.size_bytes(), other.size_bytes()))));
    while (planner.next(pair)) {
      EXPECT_EQ(pair.guest_offset, end);
      end += pair.length;
      pairs_.push_back(parts_of(pair));
      compare_pair(pair, one, other, all);
      EXPECT_TRUE(pair.status);
      for (const DiskDifference& difference : pair.found) note(difference);
    }
    EXPECT_EQ(end, std::max(one.size_bytes(), other.size_bytes()));
  }

  void note(const DiskDifference& difference) {
    const char kind = "adu"[static_cast<int>(difference.kind)];
    found_.push_back(fmt::format("{}{}+{}", kind, difference.guest_offset, difference.length) +
                     (kind == 'd' ? fmt::format("@{}", difference.first_byte) : std::string()));
    if (difference.error) errors_.push_back(*difference.error);
  }

  // "0+65536=" a part of both, '<' of the one, '>' of the other; "" where nothing is read.
  static std::string parts_of(const UnitPair& pair) {
    std::string text;
    for (const ComparedPart& part : pair.parts)
      text += fmt::format("{}{}+{}{}", text.empty() ? "" : " ", part.guest_offset, part.length,
                          "<>="[static_cast<int>(part.needs)]);
    return text;
  }
  std::vector<Call> one_reads() { return one_.content().reads(); }
  std::vector<Call> other_reads() { return other_.content().reads(); }

  FakeDisk one_;
  FakeDisk other_;
  Strings pairs_;
  Strings found_;
  std::vector<Error> errors_;
};

TEST_F(CompareTest, ZerosOfAnyKindAndLengthAreOnePair) {
  one_.nothing(10 * kTiB).nothing(3 * kTiB, zero).nothing(512);
  other_.nothing(kTiB, zero).nothing(12 * kTiB);
  run();
  EXPECT_EQ(pairs_, Strings{""});
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, NothingIsThere) {
  run();
  EXPECT_EQ(pairs_, Strings());
  other_.nothing(512);
  run();
  EXPECT_EQ(pairs_, Strings{""});
}

TEST_F(CompareTest, OfZerosAndDataOnlyTheDataIsRead) {
  one_.plain(kGrain, 0, 'a').nothing(kGrain);
  other_.nothing(kGrain, zero).plain(kGrain, 4096, 'b');
  run();
  EXPECT_EQ(pairs_, Strings{"0+65536< 65536+65536>"});
  EXPECT_EQ(one_reads(), (std::vector<Call>{{0, kGrain}}));
  EXPECT_EQ(other_reads(), (std::vector<Call>{{4096, kGrain}}));
  EXPECT_EQ(found_, (Strings{"d0+65536@0", "d65536+65536@65536"}));
}

TEST_F(CompareTest, StoredZerosAreZeros) {
  one_.plain(3 * kGrain, 0);
  one_.content().set_size(3 * kGrain);
  other_.nothing(3 * kGrain);
  run();
  EXPECT_EQ(found_, Strings());
  one_.put(kGrain + 700, {std::byte{1}});
  run();
  EXPECT_EQ(found_, Strings{"d66048+512@66236"});
}

TEST_F(CompareTest, EachByteIsFoundAtItsPlace) {
  one_.plain(3 * kGrain + 512, 0, 'a');
  other_.plain(3 * kGrain + 512, 512, 'a');
  for (const std::uint64_t place :
       {0UL, 1UL, 511UL, 512UL, 65535UL, 65536UL, 70000UL, 3 * kGrain, 3 * kGrain + 511}) {
    other_.put(512 + place, {std::byte{'A'}});
    for (const bool all : {false, true}) {
      run(all);
      EXPECT_EQ(found_, Strings{fmt::format("d{}+512@{}", place / 512 * 512, place)});
    }
    other_.put(512 + place, {std::byte{'a'}});
  }
  run();
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, AllSectorsThatDifferAreListed) {
  one_.plain(2 * kGrain, 0, 'a');
  other_.plain(2 * kGrain, 0, 'a');
  for (const std::uint64_t place : {5UL, 700UL, 1536UL, 65535UL, 65536UL, 100000UL})
    other_.put(place, {std::byte{'b'}});
  run(true);
  EXPECT_EQ(found_,
            (Strings{"d0+1024@5", "d1536+512@1536", "d65024+1024@65535", "d99840+512@100000"}));
  run(false);
  EXPECT_EQ(found_, Strings{"d0+512@5"});
}

TEST_F(CompareTest, TheSameBytesOfTheSameFileAreNotRead) {
  one_.plain(2 * kGrain, 8192, 'a').packed(kGrain, 1 << 20, 'p').plain(kGrain, 0, 'b');
  other_.share(one_).plain(2 * kGrain, 8192).packed(kGrain, 1 << 20).plain(kGrain, 0);
  run(true, true);
  EXPECT_EQ(pairs_, Strings{""});
  EXPECT_EQ(one_reads(), std::vector<Call>());
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, OtherPlacesOrGrainsOfTheSameFileAreRead) {
  one_.plain(kGrain, 0, 'a').packed(kGrain / 2, 1 << 20, 'p').packed(kGrain / 2, 1 << 20, 'p');
  other_.share(one_)
      .plain(kGrain, 512)
      .packed(kGrain / 2, 1 << 20, 'p', 512)
      .packed(kGrain / 2, 1 << 20, 'p', 0, 2 * kGrain);
  run();
  EXPECT_EQ(pairs_, Strings{"0+131072="});
}

TEST_F(CompareTest, SharedBytesInsideAUnitAreNotRead) {
  one_.plain(kUnitBytes, 0, 'a');
  other_.share(one_)
      .plain(kGrain, 0)
      .plain(512, kMiB, 'b')
      .plain(kUnitBytes - kGrain - 512, kGrain + 512);
  run();
  EXPECT_EQ(pairs_, (Strings{"", "65536+512="}));
  EXPECT_EQ(one_reads(), (std::vector<Call>{{kGrain, 512}, {kMiB, 512}}));
  EXPECT_EQ(found_, Strings{"d65536+512@65536"});
}

TEST_F(CompareTest, PairsEndAtUnitsWhateverTheExtents) {
  one_.plain(kGrain / 2, 0, 'a').nothing(kGrain).plain(9 * kGrain + 512, kMiB, 'a');
  other_.nothing(kGrain / 2).plain(2 * kGrain, 0, 'b').nothing(8 * kGrain + 512);
  run();
  EXPECT_EQ(pairs_, (Strings{"0+32768< 32768+65536> 98304+65536= 163840+98304<", "262144+262144<",
                             "524288+164352<"}));
}

TEST_F(CompareTest, AGrainThatTheOtherDiskCutsUpIsReadOnce) {
  one_.packed(kGrain, 4096, 'a').packed(kGrain, 8192, 'b');
  for (std::uint64_t place = 0; place < 2 * kGrain; place += kGrain / 4)
    other_.plain(kGrain / 4, (4 * kGrain) - place, place < kGrain ? 'a' : 'b');
  run();
  EXPECT_EQ(pairs_, Strings{"0+131072="});
  EXPECT_EQ(one_reads(), (std::vector<Call>{{4096, 1024}, {8192, 1024}}));
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, APartOfAGrainIsComparedAtItsPlace) {
  one_.nothing(512).packed(1024, 4096, 'a', 512).nothing(kGrain - 1536);
  other_.nothing(1024).plain(512, 0, 'a').nothing(kGrain - 1536);
  run();
  EXPECT_EQ(pairs_, Strings{"512+512< 1024+512="});
  EXPECT_EQ(found_, Strings{"d512+512@512"});
}

TEST_F(CompareTest, AUnitTakesNoMoreDeflatedGrainsThanFit) {
  const std::uint32_t stored = 2 * kGrain;
  for (std::uint64_t i = 0; i < 8; ++i) {
    one_.packed(kGrain, i * stored, 'a', 0, kGrain, stored);
    other_.plain(kGrain, i * kGrain, 'a');
  }
  run();
  EXPECT_EQ(pairs_, (Strings{"0+196608=", "196608+65536=", "262144+196608=", "458752+65536="}));
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, TheShorterDiskReadsAsZerosBehindItsEnd) {
  one_.plain(kGrain + 512, 0, 'a');
  other_.plain(kGrain + 512, 0, 'a').nothing(7 * kTiB).plain(kGrain, kMiB);
  other_.content().set_size(kMiB + kGrain);
  run();
  EXPECT_EQ(found_, Strings());
  other_.put(kMiB + 5, {std::byte{1}});
  for (int i = 0; i < 2; ++i) {
    run();
    const std::uint64_t place = kGrain + 512 + 7 * kTiB;
    EXPECT_EQ(found_, Strings{fmt::format("d{}+512@{}", place, place + 5)});
    std::swap(one_, other_);
  }
}

TEST_F(CompareTest, StrictAsksHowThingsAreStored) {
  one_.nothing(2 * kGrain).nothing(kGrain, zero).plain(kGrain, 0, 'a').packed(kGrain, kMiB, 'p');
  other_.nothing(kGrain, zero)
      .nothing(kGrain)
      .nothing(kGrain)
      .plain(kGrain, 0, 'a')
      .plain(kGrain, kMiB, 'p');
  run(true, true);
  EXPECT_EQ(found_, (Strings{"a0+65536", "a131072+65536", "a262144+65536"}));
  run(true, false);
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, StrictAndContentsComeInOrder) {
  one_.plain(kGrain, 0, 'a').plain(kGrain, kGrain, 'a');
  other_.plain(kGrain, 0, 'a').nothing(kGrain);
  other_.put(512, {std::byte{0}});
  run(true, true);
  EXPECT_EQ(found_, (Strings{"d512+512@512", "a65536+65536", "d65536+65536@65536"}));
}

TEST_F(CompareTest, StrictIsSilentWhereOnlyOneDiskIs) {
  one_.nothing(kGrain);
  other_.nothing(kGrain).nothing(kGrain, zero);
  run(true, true);
  EXPECT_EQ(found_, Strings());
}

TEST_F(CompareTest, AMapThatFailsCannotBePlanned) {
  one_.nothing(kMiB).fail_map(5, 6);
  other_.nothing(kMiB);
  const ChainMap& one = one_.map();
  const ChainMap& other = other_.map();
  const FileIdentities files;
  for (const bool swap : {false, true}) {
    ComparePlanner planner(swap ? other : one, swap ? one : other, files, kUnitBytes, false);
    EXPECT_TRUE(HasError(planner.start(0, kMiB), ErrorKind::corrupt, "map made to fail"));
    EXPECT_TRUE(IsOk(planner.start(kGrain, kMiB)));
  }
}

TEST_F(CompareTest, AWindowIsComparedLikeTheWholeDisk) {
  one_.plain(3 * kGrain, 0, 'a').nothing(kGrain).plain(4 * kGrain, kMiB, 'b');
  other_.plain(3 * kGrain, 0, 'a').nothing(2 * kGrain).plain(kGrain, kMiB, 'b');
  const ChainMap& one = one_.map();
  const ChainMap& other = other_.map();
  const FileIdentities files;
  ComparePlanner planner(one, other, files, kUnitBytes, false);
  UnitPair pair(kShape, kShape);
  const auto window = [&](std::uint64_t begin, std::uint64_t end) {
    EXPECT_TRUE(IsOk(planner.start(begin, end)));
    Strings parts;
    while (planner.next(pair)) parts.push_back(parts_of(pair));
    return parts;
  };
  EXPECT_EQ(window(7 * kGrain, 8 * kGrain), (Strings{"458752+65536<"}));
  EXPECT_EQ(window(2 * kGrain, 5 * kGrain), (Strings{"131072+65536=", "262144+65536<"}));
  EXPECT_EQ(window(3 * kGrain, 4 * kGrain), (Strings{""}));
}

TEST_F(CompareTest, OnlyThePagesThatCannotBeReadAreUnreadable) {
  one_.plain(kUnitBytes + 512, 0, 'a');
  other_.plain(kUnitBytes + 512, 0, 'a');
  other_.put(kGrain, {std::byte{'b'}}).put(3 * kGrain, {std::byte{'b'}});
  for (FakeDisk* disk : {&one_, &other_}) {
    disk->content().fail_reads(kGrain + 5000, 1);
    run();
    EXPECT_EQ(found_, (Strings{"d65536+512@65536", "u69632+4096", "d196608+512@196608"}));
    ASSERT_EQ(errors_.size(), 1U);
    EXPECT_EQ(errors_[0].kind, ErrorKind::io);
    EXPECT_EQ(errors_[0].offset, kGrain + 4096);
    disk->content().fail_reads(kUnitBytes, 512);
    run();
    EXPECT_EQ(found_, (Strings{"d65536+512@65536", "d196608+512@196608", "u262144+512"}));
    disk->content().fail_reads(0, 0);
  }
}

TEST_F(CompareTest, TheLowestDecides) {
  one_.plain(kUnitBytes, 0, 'a');
  other_.plain(kUnitBytes, 0, 'a').put(2 * kGrain + 5, {std::byte{'b'}});
  one_.content().fail_reads(2 * kGrain + 4096, 1);
  run(false);
  EXPECT_EQ(found_, Strings{"d131072+512@131077"});
  one_.content().fail_reads(2 * kGrain - 1, 1);
  run(false);
  EXPECT_EQ(found_, Strings{"u126976+4096"});
}

TEST_F(CompareTest, ADamagedGrainIsUnreadableAsAWhole) {
  one_.packed(kGrain, 0, 'a').packed(kGrain, 4096, '\xff').packed(kGrain, 8192, 'a');
  other_.plain(3 * kGrain, 0, 'a');
  run();
  EXPECT_EQ(found_.size(), kGrain / 4096);
  for (std::size_t i = 0; i < found_.size(); ++i)
    EXPECT_EQ(found_[i], fmt::format("u{}+4096", kGrain + i * 4096));
  run(false);
  EXPECT_EQ(found_, Strings{"u65536+4096"});
}

}  // namespace
}  // namespace grainmill
