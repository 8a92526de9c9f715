// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest_comparer.h"

#include "pipeline/manifest_writer.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;

// One letter a digest grain: '0' zeros, '!' unreadable, anything else data.
GrainRecord record_of(char letter) {
  if (letter == '0') return {};
  if (letter == '!') return {GrainRecord::Kind::unreadable, {}};
  return {GrainRecord::Kind::data, {1, static_cast<unsigned char>(letter)}};
}

class ComparerTest : public ::testing::Test {
 protected:
  void give(GrainLog& log, std::string_view grains) {
    std::vector<GrainRecord> records;
    std::vector<std::optional<Error>> errors(grains.size());
    for (std::size_t i = 0; i < grains.size(); ++i) {
      records.push_back(record_of(grains[i]));
      if (grains[i] == '!') errors[i] = Error{ErrorKind::io, "f", i, fmt::format("grain {}", i)};
    }
    given_ = log.add(records, {}, errors);
  }

  std::string compare(std::string_view expected, std::string_view found, std::size_t piece = 1000) {
    return compare_bytes(expected, found, piece, found.size() * kDigestGrain);
  }
  // The differences, in digest grains: "differs 0+2, unreadable 5+1".
  std::string compare_bytes(std::string_view expected, std::string_view found, std::size_t piece,
                            std::uint64_t disk_bytes) {
    const auto pending = files_.create_pending("/m").value();
    ManifestWriter writer(&pending->file(), {.disk_bytes = disk_bytes, .sources = {}});
    give(writer, expected);
    EXPECT_TRUE(IsOk(writer.finish()));
    EXPECT_TRUE(IsOk(pending->publish(Durability::unsynced)));
    auto reader = ManifestReader::open(files_, "/m").value();
    std::string text;
    ManifestComparer comparer(reader, disk_bytes, [&](const Difference& difference) {
      text += describe(difference, text.empty() ? "" : ", ");
      errors_.push_back(difference.error);
    });
    for (std::size_t at = 0; at < found.size(); at += piece)
      give(comparer, found.substr(at, piece));
    comparer.finish();
    differing_ = comparer.differing_bytes();
    unreadable_ = comparer.unreadable_bytes();
    return text;
  }
  static std::string describe(const Difference& difference, std::string_view before) {
    const bool differs = difference.kind == Difference::Kind::differs;
    return fmt::format("{}{} {}+{}", before, differs ? "differs" : "unreadable",
                       difference.guest_offset / kDigestGrain,
                       (difference.length + kDigestGrain - 1) / kDigestGrain);
  }

  testing::MemoryFileSystem files_;
  Status given_;
  std::vector<std::optional<Error>> errors_;
  std::uint64_t differing_ = 0;
  std::uint64_t unreadable_ = 0;
};

TEST_F(ComparerTest, FindsNothingWhereNothingDiffers) {
  for (const char* grains : {"", "0", "A", "A0B", "000AB0C000"})
    EXPECT_EQ(compare(grains, grains), "");
  EXPECT_EQ(differing_ + unreadable_, 0U);
}

TEST_F(ComparerTest, FindsEveryKindOfChange) {
  EXPECT_EQ(compare("ABC", "AXC"), "differs 1+1");
  EXPECT_EQ(compare("A0C", "AXC"), "differs 1+1");
  EXPECT_EQ(compare("ABC", "A0C"), "differs 1+1");
  EXPECT_EQ(compare("ABC", "ACB"), "differs 1+2");
}

TEST_F(ComparerTest, NeighboursAreOneRange) {
  EXPECT_EQ(compare("ABCDEF", "XX0DYF"), "differs 0+3, differs 4+1");
  EXPECT_EQ(differing_, 4 * kDigestGrain);
}

TEST_F(ComparerTest, RangesGoOnAcrossCalls) {
  for (const std::size_t piece : {1U, 2U, 3U})
    EXPECT_EQ(compare("A0B0C", "XYZWC", piece), "differs 0+4") << piece;
}

TEST_F(ComparerTest, KeepsTheUnreadableApart) {
  EXPECT_EQ(compare("ABCDE", "X!!YE"), "differs 0+1, unreadable 1+2, differs 3+1");
  EXPECT_EQ(unreadable_, 2 * kDigestGrain);
  EXPECT_EQ(differing_, 2 * kDigestGrain);
  ASSERT_EQ(errors_.size(), 3U);
  EXPECT_EQ(errors_[1]->message, "grain 1");
  EXPECT_FALSE(errors_[0].has_value());
}

TEST_F(ComparerTest, AnUnreadableGrainIsReportedEvenWhereZerosAreExpected) {
  EXPECT_EQ(compare("000", "0!0"), "unreadable 1+1");
}

TEST_F(ComparerTest, TheLastGrainIsCutAtTheEndOfTheDisk) {
  EXPECT_EQ(compare_bytes("AB", "AX", 1, kDigestGrain + 512), "differs 1+1");
  EXPECT_EQ(differing_, 512U);
}

TEST_F(ComparerTest, ZeroRunsAreComparedWhole) {
  compare("00AB000000", "0000000000");
  auto reader = ManifestReader::open(files_, "/m").value();
  std::string text;
  ManifestComparer comparer(reader, 10 * kDigestGrain, [&](const Difference& difference) {
    text += describe(difference, "");
  });
  EXPECT_TRUE(IsOk(comparer.add_zeros(10)));
  comparer.finish();
  EXPECT_EQ(text, "differs 2+2");
}

TEST_F(ComparerTest, AManifestThatIsTooShortIsDamaged) {
  compare("AB", "ABC");
  EXPECT_TRUE(HasError(given_, ErrorKind::corrupt, "fewer digests"));
}

}  // namespace
}  // namespace grainmill
