// SPDX-License-Identifier: Apache-2.0
#include "pipeline/stages.h"

#include "engine/format/cluster_encoder.h"
#include "engine/format/flat_sink.h"
#include "tests/fakes/fake_link.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace grainmill {
namespace {

using testing::Call;
using testing::FakeLink;
using testing::HasError;
using testing::IsOk;
using Calls = std::vector<Call>;

constexpr UnitShape kShape{.guest_bytes = 4 * kDigestGrain,
                           .stored_bytes = 6 * kDigestGrain,
                           .grain_bytes = 2 * kDigestGrain,
                           .leaf_bytes = 64};

// Stores whole units of kUnit bytes one after the other in a file, without their zeros.
class AppendingSink final : public Sink {
 public:
  static constexpr std::uint64_t kUnit = 128 * kKiB;

  explicit AppendingSink(File& file) : file_(file) {}
  [[nodiscard]] SinkShape shape() const override {
    return {.order = SinkOrder::placed, .unit_bytes = kUnit};
  }
  [[nodiscard]] std::unique_ptr<Encoder> make_encoder() const override {
    return make_cluster_encoder(kUnit);
  }
  [[nodiscard]] Status place(Piece& piece) override {
    for (OutputBlock& block : piece.blocks) {
      block.file = &file_;
      block.file_offset = next_;
      next_ += block.bytes.size();
    }
    return {};
  }
  [[nodiscard]] std::vector<std::byte> save() const override { return {}; }
  [[nodiscard]] Status restore(std::uint64_t /*guest_end*/,
                               std::span<const std::byte> /*state*/) override {
    return bad_sink_state(file_);
  }
  [[nodiscard]] Status finish() override { return {}; }
  [[nodiscard]] OutputFiles& outputs() override { return outputs_; }

 private:
  File& file_;
  testing::MemoryFileSystem files_;
  OutputFiles outputs_{files_};
  std::uint64_t next_ = 0;
};

class StagesTest : public ::testing::Test {
 protected:
  void plain(std::uint64_t length, std::uint64_t file_offset, char value) {
    const std::vector<std::byte> bytes(length, std::byte(value));
    file_.content().put(file_offset, bytes);
    add({.length = length, .kind = ExtentKind::data, .file = &file_, .file_offset = file_offset});
  }
  void nothing(std::uint64_t length, ExtentKind kind = ExtentKind::hole) {
    add({.length = length, .kind = kind});
  }
  // `length` bytes of the grain that is stored at `file_offset`, from `skip` on.
  void deflated(std::uint64_t length, std::uint64_t file_offset, char value,
                std::uint32_t stored = 1024, std::uint32_t skip = 0,
                std::uint32_t grain = kDigestGrain) {
    file_.content().put(file_offset, std::vector<std::byte>(stored, std::byte(value)));
    Extent extent{.length = length, .kind = ExtentKind::deflated, .file = &file_};
    extent.file_offset = file_offset;
    extent.stored_bytes = stored;
    extent.grain_bytes = grain;
    extent.grain_skip = skip;
    add(extent);
  }
  void add(Extent extent) {
    extent.guest_offset = unit_.guest_offset + unit_.length;
    unit_.length += extent.length;
    unit_.extents.push_back(extent);
  }

  // All stages up to the digests.
  void run(CryptoAlgorithm crypto = CryptoAlgorithm::none) {
    file_.content().forget_calls();
    fetch(unit_);
    decode(unit_, map_);
    digest(unit_, crypto);
  }
  void run_and_salvage() {
    run();
    salvage(unit_, map_, CryptoAlgorithm::none);
  }
  Calls reads() { return file_.content().reads(); }

  // The first letter of each sector of the unit; '.' for zeros.
  std::string sectors() {
    std::string text;
    for (std::size_t at = 0; at < unit_.length; at += 512) {
      const std::byte value = unit_.guest_bytes()[at];
      const char letter = value == std::byte{0} ? '.' : static_cast<char>(value);
      if (text.empty() || text.back() != letter) text += letter;
    }
    return text;
  }
  // 'd', '0' or '!' a digest grain.
  std::string kinds() {
    std::string text;
    for (const GrainRecord& record : unit_.records) text += "0d!"[static_cast<int>(record.kind)];
    return text;
  }
  // Through a sink, as far as it goes.
  void store(Sink& sink) {
    unit_.encoder = sink.make_encoder();
    encode(unit_, sink.shape());
    place(unit_, sink);
    write(unit_);
  }
  // What storing it in a raw disk writes to that.
  Calls stored(FlatTarget target = FlatTarget::empty) {
    const auto sink =
        make_flat_sink(OutputFiles(files_), {.parts = {{0, 8 * kTiB, &out_, 0}}, .target = target});
    store(*sink);
    return out_.content().writes();
  }

  testing::MemoryFile file_{"f"};
  testing::MemoryFile out_{"out"};
  testing::MemoryFileSystem files_;
  FakeLink link_{{}};
  ChainMap map_{{&link_}};
  Unit unit_{kShape};
};

constexpr std::uint64_t kGrain = kDigestGrain;

TEST_F(StagesTest, PlainDataGoesToItsPlace) {
  unit_.guest_offset = 10 * kGrain;
  plain(kGrain, 7 * kGrain, 'A');
  nothing(kGrain);
  plain(kGrain, 0, 'B');
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "A.B");
  EXPECT_EQ(kinds(), "d0d");
  EXPECT_EQ(reads(), (Calls{{7 * kGrain, kGrain}, {0, kGrain}}));
}

TEST_F(StagesTest, ZerosInsideADigestGrainAreFilled) {
  plain(512, 4096, 'A');
  nothing(512, ExtentKind::zero);
  plain(512, 8192, 'B');
  nothing(kGrain - 1536);
  run();
  EXPECT_EQ(sectors(), "A.B.");
  EXPECT_EQ(kinds(), "d");
}

TEST_F(StagesTest, BuffersKeepNothingOfTheUnitBefore) {
  plain(2 * kGrain, 0, 'A');
  run();
  unit_.reset();
  unit_.length = 0;
  nothing(kGrain);
  plain(kGrain, 0, 'B');
  run();
  EXPECT_EQ(sectors(), ".B");
  EXPECT_EQ(kinds(), "0d");
}

TEST_F(StagesTest, BlocksThatFollowEachOtherAreOneRead) {
  deflated(kGrain, 512, 'A');
  deflated(kGrain, 1536, 'B');
  deflated(kGrain, 8192, 'C');
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "ABC");
  EXPECT_EQ(reads(), (Calls{{512, 2048}, {8192, 1024}}));
}

// The last sector of a compressed cluster of qcow2 may hold the beginning of the next one.
TEST_F(StagesTest, BlocksThatOverlapAreOneRead) {
  deflated(kGrain, 1000, 'A', 1048);
  deflated(kGrain, 1600, 'B', 448);
  deflated(kGrain, 1900, 'C', 660);
  deflated(kGrain, 2561, 'D', 511);
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "ABCD");
  EXPECT_EQ(reads(), (Calls{{1000, 1560}, {2561, 511}}));
}

TEST_F(StagesTest, ABlockInsideAnotherIsNotReadAgain) {
  deflated(kGrain, 1000, 'A', 1048);
  deflated(kGrain, 1400, 'B', 100);
  deflated(kGrain, 2048, 'C', 512);
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "ABC");
  EXPECT_EQ(reads(), (Calls{{1000, 1560}}));
}

TEST_F(StagesTest, ABlockBeforeTheFirstIsAReadOfItsOwn) {
  deflated(kGrain, 2000, 'A', 1024);
  deflated(kGrain, 1024, 'B', 976);
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "AB");
  EXPECT_EQ(reads(), (Calls{{2000, 1024}, {1024, 976}}));
}

// Crafted: two entries for one place that differ in the length.
TEST_F(StagesTest, MoreOfABlockIsAnotherBlock) {
  deflated(4096, kMiB, 'A', 512, 0);
  deflated(4096, kMiB, 'A', static_cast<std::uint32_t>(2 * kGrain), 8192);
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "A");
}

TEST_F(StagesTest, PartsOfAGrainAreCutFromTheWhole) {
  deflated(4096, 512, 'A', 1024, 0);
  nothing(4096);
  deflated(kGrain - 8192, 512, 'A', 1024, 8192);
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "A.A");
}

// The first block of most streams lies at the same offset.
TEST_F(StagesTest, BlocksOfDifferentFilesAreToldApart) {
  testing::MemoryFile other("other");
  other.content().put(kGrain, std::vector<std::byte>(1024, std::byte{'B'}));
  deflated(4096, kGrain, 'A', 1024, 4096);
  deflated(4096, kGrain, 'A', 1024, 8192);
  unit_.extents.back().file = &other;
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "AB");
}

// A snapshot of small grains over a stream: the block below shows through in many places. It must
// be read once, for there is room for it once.
TEST_F(StagesTest, ABlockThatIsInterruptedIsReadOnce) {
  const auto stored = static_cast<std::uint32_t>(2 * kGrain);
  for (std::uint32_t at = 0; at < kGrain; at += 8192) {
    deflated(4096, kMiB, 'A', stored, at);
    plain(4096, 4096, 'B');
  }
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "ABABABABABABABAB");
  EXPECT_EQ(std::ranges::count(reads(), Call{kMiB, stored}), 1);
}

TEST_F(StagesTest, BlocksThatAlternateAreReadOnceEach) {
  const auto stored = static_cast<std::uint32_t>(2 * kGrain);
  for (std::uint32_t at = 0; at < kGrain; at += 8192) {
    deflated(4096, kMiB, 'A', stored, at);
    deflated(4096, 2 * kMiB, 'B', stored, at);
  }
  run();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(sectors(), "ABABABABABABABAB");
  EXPECT_EQ(reads().size(), 2U);
}

// Crafted: more blocks behind a few sectors than any shape has room for.
TEST_F(StagesTest, BlocksThatDoNotFitAreAnError) {
  for (std::uint32_t i = 0; i < 8; ++i)
    deflated(512, (i + 1) * kMiB, 'A', static_cast<std::uint32_t>(kGrain), 512);
  run();
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::unsupported, "compressed"));
}

TEST_F(StagesTest, ADamagedGrainIsAnError) {
  deflated(kGrain, 512, 'A');
  deflated(kGrain, 4096, static_cast<char>(FakeLink::kDamaged));
  run();
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::corrupt, "grain is damaged"));
  EXPECT_EQ(kinds(), "");
  EXPECT_EQ(stored(), Calls{});
}

TEST_F(StagesTest, FailedAndShortReadsAreErrors) {
  plain(kGrain, 0, 'A');
  file_.content().fail_reads(100, 1);
  fetch(unit_);
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::io));
  unit_.status = {};
  file_.content().fail_reads(0, 0);
  file_.content().set_size(kGrain - 1);
  fetch(unit_);
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::corrupt, "file ends"));
}

TEST_F(StagesTest, DigestsAreOfTheBytesAlone) {
  plain(kGrain, 0, 'A');
  plain(512, 512, 'A');
  run(CryptoAlgorithm::sha256);
  const std::vector<std::byte> grain(kGrain, std::byte{'A'});
  EXPECT_EQ(unit_.records[0].digest, xxh3_128(grain));
  EXPECT_EQ(unit_.records[1].digest, xxh3_128(std::span(grain).first(512)));
  std::vector<std::byte> leaf(32);
  CryptoDigest sha(CryptoAlgorithm::sha256);
  sha.update(grain);
  sha.finish(leaf.data());
  ASSERT_EQ(unit_.leaves.size(), 64U);
  EXPECT_TRUE(std::ranges::equal(leaf, std::span(unit_.leaves).first(32)));
}

TEST_F(StagesTest, StoredZerosAreZeros) {
  plain(kGrain, 0, '\0');
  deflated(kGrain, kMiB, '\0');
  plain(kGrain, 2 * kGrain, 'A');
  run();
  EXPECT_EQ(kinds(), "00d");
  EXPECT_EQ(stored(), (Calls{{2 * kGrain, kGrain}}));
}

TEST_F(StagesTest, NeighboursAreOneWrite) {
  unit_.guest_offset = kGrain;
  plain(2 * kGrain, 0, 'A');
  plain(kGrain + 512, 8 * kGrain, 'B');
  run();
  EXPECT_EQ(stored(), (Calls{{kGrain, 3 * kGrain + 512}}));
}

TEST_F(StagesTest, AZeroUnitIsOneBlockWhateverItsLength) {
  unit_.zero = true;
  unit_.guest_offset = kGrain;
  unit_.length = 5 * kTiB;
  run();
  EXPECT_TRUE(unit_.records.empty());
  EXPECT_EQ(stored(), Calls{});
  out_.content().set_size(8 * kTiB);
  unit_.piece.reset();
  EXPECT_EQ(stored(FlatTarget::filled), Calls{});
  ASSERT_EQ(unit_.piece.blocks.size(), 1U);
  EXPECT_EQ(unit_.piece.blocks[0].file_offset, kGrain);
  EXPECT_EQ(unit_.piece.blocks[0].zero_bytes, 5 * kTiB);
}

TEST_F(StagesTest, AUnitOfStoredZerosIsZero) {
  plain(2 * kGrain, 0, '\0');
  run();
  EXPECT_EQ(stored(), Calls{});
  EXPECT_TRUE(unit_.piece.zero);
}

// What is left of an earlier piece of work must not get into the last cluster of a disk.
TEST_F(StagesTest, TheLastClusterIsFilledUpWithZeros) {
  std::ranges::fill(unit_.guest.bytes(), std::byte{'X'});
  plain(2 * kGrain, 0, 'A');
  plain(512, kMiB, 'B');
  run();
  AppendingSink sink(out_);
  store(sink);
  std::vector<std::byte> want(2 * AppendingSink::kUnit);
  std::ranges::fill(std::span(want).first(2 * kGrain), std::byte{'A'});
  std::ranges::fill(std::span(want).subspan(2 * kGrain, 512), std::byte{'B'});
  EXPECT_EQ(out_.content().bytes(), want);
}

TEST_F(StagesTest, BlocksSideBySideAreOneWriteAndOthersAreNot) {
  plain(2 * kGrain, 0, 'A');
  plain(2 * kGrain, 8 * kGrain, 'B');
  run();
  AppendingSink sink(out_);
  store(sink);
  EXPECT_EQ(out_.content().writes(), (Calls{{0, 4 * kGrain}}));
  out_.content().forget_calls();
  unit_.piece.blocks[1].file_offset += 512;
  write(unit_);
  EXPECT_EQ(out_.content().writes(), (Calls{{0, 2 * kGrain}, {2 * kGrain + 512, 2 * kGrain}}));
}

TEST_F(StagesTest, WritingStopsAtTheFirstError) {
  plain(kGrain, 0, 'A');
  nothing(kGrain);
  plain(kGrain, 0, 'A');
  run();
  out_.content().fail_writes(0, 1);
  const Calls writes = stored();
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::io, "made to fail"));
  EXPECT_EQ(writes.size(), 1U);
}

TEST_F(StagesTest, WhatIsWrittenBesideIsNotWrittenAgain) {
  plain(2 * kGrain, 0, 'A');
  nothing(kGrain);
  plain(512, 8 * kGrain, 'B');
  run();
  out_.content().set_size(kMiB);
  const auto sink = make_flat_sink(OutputFiles(files_), {.parts = {{0, kMiB, &out_, 0}}});
  unit_.encoder = sink->make_encoder();
  encode(unit_, sink->shape());
  write_beside(unit_);
  EXPECT_EQ(out_.content().writes(), (Calls{{0, 2 * kGrain}}));
  out_.content().forget_calls();
  write(unit_);
  EXPECT_EQ(out_.content().writes(), (Calls{{3 * kGrain, 512}}));
  EXPECT_TRUE(IsOk(unit_.status));
}

TEST_F(StagesTest, WhatFailsBesideFailsWhereItIsWritten) {
  plain(2 * kGrain, 0, 'A');
  run();
  out_.content().set_size(kMiB);
  out_.content().fail_writes(0, 1);
  const auto sink = make_flat_sink(OutputFiles(files_), {.parts = {{0, kMiB, &out_, 0}}});
  unit_.encoder = sink->make_encoder();
  encode(unit_, sink->shape());
  write_beside(unit_);
  EXPECT_TRUE(IsOk(unit_.status));
  write(unit_);
  EXPECT_TRUE(HasError(unit_.status, ErrorKind::io, "made to fail"));
}

TEST_F(StagesTest, SalvageTellsABadGrainFromItsNeighbours) {
  unit_.guest_offset = kGrain;
  plain(kGrain, 0, 'A');
  deflated(kGrain, kMiB, static_cast<char>(FakeLink::kDamaged));
  nothing(kGrain);
  plain(512, 2 * kGrain, 'B');
  run_and_salvage();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(kinds(), "d!0d");
  ASSERT_EQ(unit_.grain_errors.size(), 4U);
  EXPECT_FALSE(unit_.grain_errors[0].has_value());
  EXPECT_EQ(unit_.grain_errors[1]->message, "grain is damaged");
  EXPECT_EQ(unit_.guest_offset, kGrain);
  EXPECT_EQ(unit_.length, 3 * kGrain + 512);
  EXPECT_EQ(unit_.records[3].digest, xxh3_128(std::vector<std::byte>(512, std::byte{'B'})));
}

TEST_F(StagesTest, SalvageReadsAroundABadSector) {
  plain(4 * kGrain, 0, 'A');
  file_.content().fail_reads(kGrain + 5, 1);
  run_and_salvage();
  EXPECT_EQ(kinds(), "d!dd");
  EXPECT_EQ(unit_.grain_errors[1]->kind, ErrorKind::io);
}

TEST_F(StagesTest, SalvageOfALargeGrainLosesAllOfIt) {
  deflated(2 * kGrain, kMiB, static_cast<char>(FakeLink::kDamaged), 1024, 0, 2 * kGrain);
  plain(kGrain, 0, 'A');
  run_and_salvage();
  EXPECT_EQ(kinds(), "!!d");
}

TEST_F(StagesTest, AUnitWithoutExtentsIsLostAsAWhole) {
  unit_.status = fail(ErrorKind::corrupt, "link", "tables are damaged");
  unit_.length = 3 * kGrain + 1;
  run_and_salvage();
  ASSERT_TRUE(IsOk(unit_.status));
  EXPECT_EQ(kinds(), "!!!!");
  EXPECT_EQ(unit_.grain_errors[3]->message, "tables are damaged");
}

}  // namespace
}  // namespace grainmill
