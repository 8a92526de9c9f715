// SPDX-License-Identifier: Apache-2.0
#include "engine/map/chain_map.h"

#include "engine/base/units.h"
#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <random>

namespace grainmill {
namespace {

using testing::HasError;
using testing::IsOk;

using Random = std::mt19937_64;

std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

// A link made of grains of random kinds.
class FakeLink final : public LinkMap {
 public:
  struct Grain {
    ExtentKind kind = ExtentKind::hole;
    std::uint64_t place = 0;  // in the file
  };

  FakeLink(std::uint64_t size_bytes, std::uint64_t grain_bytes)
      : size_bytes_(size_bytes),
        grain_bytes_(grain_bytes),
        grains_(ceil(size_bytes, grain_bytes)) {}

  // Fills all grains; `holes` in 100 are holes.
  void randomise(Random& random, std::uint64_t holes) {
    std::uint64_t place = 0;
    for (Grain& grain : grains_) {
      if (below(random, 100) < holes) continue;
      constexpr ExtentKind kKinds[] = {ExtentKind::data, ExtentKind::data, ExtentKind::deflated,
                                       ExtentKind::zero};
      grain.kind = kKinds[below(random, 4)];
      if (below(random, 4) == 0) place += kMiB;  // most follow each other in the file
      if (grain.kind != ExtentKind::zero) grain.place = place;
      place += grain_bytes_;
    }
  }
  void set(std::size_t index, Grain grain) { grains_[index] = grain; }
  void fail() { fails_ = true; }

  [[nodiscard]] const Grain& grain_at(std::uint64_t offset) const {
    return grains_[offset / grain_bytes_];
  }
  [[nodiscard]] const File& file() const { return file_; }
  [[nodiscard]] std::uint64_t bytes_asked() const { return bytes_asked_; }

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] std::uint64_t grain_bytes() const override { return grain_bytes_; }
  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override {
    EXPECT_LE(offset + length, size_bytes_) << "asked for more than the link has";
    bytes_asked_ += length;
    if (fails_) return grainmill::fail(ErrorKind::corrupt, "link", "made to fail");
    for (std::uint64_t at = offset / grain_bytes_ * grain_bytes_; at < offset + length;
         at += grain_bytes_)
      append_merged(out, clip(extent_of(at), offset, offset + length));
    return {};
  }
  [[nodiscard]] Status inflate(const Extent& /*extent*/, std::span<const std::byte> /*stored*/,
                               Inflater& /*inflater*/,
                               std::span<std::byte> /*out*/) const override {
    return {};
  }

 private:
  static std::size_t ceil(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

  [[nodiscard]] Extent extent_of(std::uint64_t at) const {
    const Grain& grain = grain_at(at);
    Extent extent{.guest_offset = at, .length = grain_bytes_, .kind = grain.kind};
    if (extent.reads_as_zero()) return extent;
    extent.file = &file_;
    extent.file_offset = grain.place;
    if (grain.kind == ExtentKind::deflated) {
      extent.grain_address = at;
      extent.grain_bytes = static_cast<std::uint32_t>(grain_bytes_);
    }
    return extent;
  }

  std::uint64_t size_bytes_;
  std::uint64_t grain_bytes_;
  std::vector<Grain> grains_;
  testing::MemoryFile file_{"link"};
  bool fails_ = false;
  mutable std::uint64_t bytes_asked_ = 0;
};

// A chain, and the naive answer for every sector of it.
struct Chain {
  std::vector<std::unique_ptr<FakeLink>> links;

  FakeLink& add(std::uint64_t size_bytes, std::uint64_t grain_bytes) {
    return *links.emplace_back(std::make_unique<FakeLink>(size_bytes, grain_bytes));
  }
  [[nodiscard]] ChainMap map() const {
    std::vector<const LinkMap*> maps;
    maps.reserve(links.size());
    for (const auto& link : links) maps.push_back(link.get());
    return ChainMap(std::move(maps));
  }
  [[nodiscard]] ExtentList compose(std::uint64_t offset, std::uint64_t length) const {
    ExtentList list;
    EXPECT_TRUE(IsOk(map().compose(offset, length, list)));
    return list;
  }

  // The first link, from the top, that says something of a sector; null for a hole.
  [[nodiscard]] const FakeLink* answering(std::uint64_t sector_offset, std::uint32_t& depth) const {
    for (depth = 0; depth < links.size(); ++depth) {
      const FakeLink& link = *links[depth];
      if (sector_offset < link.size_bytes() &&
          link.grain_at(sector_offset).kind != ExtentKind::hole)
        return &link;
    }
    return nullptr;
  }

  void expect_sector(const Extent& extent, std::uint64_t at) const {
    std::uint32_t depth = 0;
    const FakeLink* link = answering(at, depth);
    if (link == nullptr) {
      ASSERT_EQ(extent.kind, ExtentKind::hole) << "at " << at;
      return;
    }
    const FakeLink::Grain& grain = link->grain_at(at);
    ASSERT_EQ(extent.kind, grain.kind) << "at " << at;
    ASSERT_EQ(extent.link, depth) << "at " << at;
    if (extent.reads_as_zero()) return;
    const std::uint64_t in_grain = at % link->grain_bytes();
    const std::uint64_t in_extent = at - extent.guest_offset;
    ASSERT_EQ(extent.file, &link->file());
    if (extent.kind == ExtentKind::data) {
      ASSERT_EQ(extent.file_offset + in_extent, grain.place + in_grain) << "at " << at;
    } else {
      ASSERT_EQ(extent.file_offset, grain.place) << "at " << at;
      ASSERT_EQ(extent.grain_skip + in_extent, in_grain) << "at " << at;
    }
  }

  // Gapless, exact, and right for every sector.
  void expect_window(std::uint64_t offset, std::uint64_t length) const {
    std::uint64_t at = offset;
    for (const Extent& extent : compose(offset, length)) {
      ASSERT_EQ(extent.guest_offset, at);
      ASSERT_GT(extent.length, 0U);
      for (; at < extent.guest_end(); at += kSectorBytes)
        ASSERT_NO_FATAL_FAILURE(expect_sector(extent, at));
    }
    ASSERT_EQ(at, offset + length);
  }
};

constexpr std::uint64_t kGrain = 65536;
constexpr std::uint64_t kGrains[] = {512, 4096, 8192, 65536, 1048576};

TEST(ChainMap, AgreesWithANaiveModel) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Chain chain;
    const std::uint64_t depth = 1 + below(random, 6);
    for (std::uint64_t i = 0; i < depth; ++i) {
      const std::uint64_t size = (1 + below(random, 4096)) * kSectorBytes;
      chain.add(size, kGrains[below(random, std::size(kGrains))])
          .randomise(random, i + 1 == depth ? 30 : 75);
    }
    const std::uint64_t sectors = chain.links.front()->size_bytes() / kSectorBytes;
    ASSERT_NO_FATAL_FAILURE(chain.expect_window(0, sectors * kSectorBytes));
    for (int i = 0; i < 10; ++i) {
      const std::uint64_t first = below(random, sectors);
      const std::uint64_t count = 1 + below(random, sectors - first);
      ASSERT_NO_FATAL_FAILURE(chain.expect_window(first * kSectorBytes, count * kSectorBytes));
    }
  }
}

// Appends what a window gave. Which link a hole is of means nothing.
void append_all(ExtentList& list, const ExtentList& window) {
  for (Extent extent : window) {
    if (extent.kind == ExtentKind::hole) extent.link = 0;
    append_merged(list, extent);
  }
}

TEST(ChainMap, IsTheSameInAnyWindows) {
  Random random(7);
  Chain chain;
  chain.add(kMiB, 4096).randomise(random, 60);
  chain.add(kMiB, kGrain).randomise(random, 30);
  constexpr std::uint64_t kWindow = 12288;
  ExtentList whole;
  ExtentList pieces;
  append_all(whole, chain.compose(0, kMiB));
  for (std::uint64_t at = 0; at < kMiB; at += kWindow)
    append_all(pieces, chain.compose(at, std::min(kWindow, kMiB - at)));
  // Deflated grains that a window cuts stay cut; everything else joins again.
  for (const Extent& extent : whole) {
    if (extent.kind == ExtentKind::deflated) continue;
    const Extent& joined = find_extent(pieces, extent.guest_offset);
    EXPECT_EQ(joined.guest_offset, extent.guest_offset);
    EXPECT_EQ(joined.length, extent.length);
  }
}

TEST(ChainMap, MergesAcrossGrains) {
  Chain chain;
  FakeLink& link = chain.add(4 * kGrain, kGrain);
  for (std::size_t i = 0; i < 4; ++i) link.set(i, {ExtentKind::data, 1000 + i * kGrain});
  const ExtentList list = chain.compose(0, 4 * kGrain);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].file_offset, 1000U);
}

TEST(ChainMap, ASmallerParentIsAHolePastItsEnd) {
  Chain chain;
  chain.add(4 * kGrain, kGrain);
  FakeLink& parent = chain.add(kGrain + 512, kGrain);
  parent.set(0, {ExtentKind::data, 0});
  parent.set(1, {ExtentKind::zero});
  const ExtentList list = chain.compose(0, 4 * kGrain);
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].kind, ExtentKind::data);
  EXPECT_EQ(list[1].kind, ExtentKind::zero);
  EXPECT_EQ(list[1].length, 512U);
  EXPECT_EQ(list[2].kind, ExtentKind::hole);
  // A window that lies wholly behind it.
  EXPECT_EQ(chain.compose(2 * kGrain, kGrain).front().kind, ExtentKind::hole);
}

TEST(ChainMap, ExplicitZerosHideTheParent) {
  Chain chain;
  chain.add(kGrain, kGrain).set(0, {ExtentKind::zero});
  chain.add(kGrain, kGrain).set(0, {ExtentKind::data, 0});
  const ExtentList list = chain.compose(0, kGrain);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].kind, ExtentKind::zero);
  EXPECT_EQ(list[0].link, 0U);
}

TEST(ChainMap, AsksParentsOnlyForWhatIsMissing) {
  Chain chain;
  FakeLink& top = chain.add(16 * kGrain, kGrain);
  for (std::size_t i = 0; i < 16; ++i)
    if (i != 5) top.set(i, {ExtentKind::data, i * kGrain});
  FakeLink& parent = chain.add(16 * kGrain, kGrain);
  parent.set(5, {ExtentKind::data, 0});
  FakeLink& base = chain.add(16 * kGrain, kGrain);
  EXPECT_EQ(chain.compose(0, 16 * kGrain).back().kind, ExtentKind::data);
  EXPECT_EQ(parent.bytes_asked(), 65536U);
  EXPECT_EQ(base.bytes_asked(), 0U);
}

TEST(ChainMap, ReadsAsZerosBehindItsTopLink) {
  FakeLink top(512, kGrain);
  top.set(0, {ExtentKind::data, 0});
  FakeLink parent(kGrain, kGrain);
  parent.set(0, {ExtentKind::data, 0});
  const ChainMap map({&top, &parent}, 1024);
  EXPECT_EQ(map.size_bytes(), 1024U);
  ExtentList list;
  ASSERT_TRUE(IsOk(map.compose(0, 1024, list)));
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].kind, ExtentKind::data);
  EXPECT_EQ(list[0].guest_end(), 512U);
  EXPECT_EQ(list[1].kind, ExtentKind::zero) << "the parent is hidden there";
  EXPECT_EQ(list[1].guest_end(), 1024U);
  ASSERT_TRUE(IsOk(map.compose(700, 100, list)));
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].guest_offset, 700U);
  EXPECT_EQ(list[0].kind, ExtentKind::zero);
}

TEST(ChainMap, ReportsALinkThatFails) {
  Chain chain;
  chain.add(kGrain, kGrain);
  chain.add(kGrain, kGrain).fail();
  ExtentList list;
  EXPECT_TRUE(HasError(chain.map().compose(0, kGrain, list), ErrorKind::corrupt, "made to fail"));
}

TEST(ChainMap, WindowsHoldABoundedNumberOfGrains) {
  Chain chain;
  chain.add(kMiB, kGrain);
  EXPECT_EQ(chain.map().window_bytes(), kGiB);
  chain.add(kMiB, 512);
  EXPECT_EQ(chain.map().window_bytes(), 8 * kMiB);
  Chain coarse;
  coarse.add(kMiB, kGiB);
  EXPECT_EQ(coarse.map().window_bytes(), 4 * kGiB);
}

}  // namespace
}  // namespace grainmill
