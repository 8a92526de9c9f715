// SPDX-License-Identifier: Apache-2.0
#include "engine/map/cluster_map.h"

#include "engine/base/units.h"
#include "tests/fakes/fake_link.h"
#include "tests/fakes/memory_file.h"
#include "tests/fakes/outcome.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

namespace grainmill {
namespace {

using testing::FakeLink;
using testing::HasError;
using testing::IsOk;
using testing::MemoryFile;

using Random = std::mt19937_64;

std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

bool same(const Place& a, const Place& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == ExtentKind::hole) return true;
  if (a.link != b.link || (a.kind != ExtentKind::zero && a.file != b.file)) return false;
  return a.kind != ExtentKind::data || a.file_offset == b.file_offset;
}

std::string to_text(const Place& place) {
  return fmt::format("kind {} link {} file {} at {:#x}", static_cast<int>(place.kind), place.link,
                     static_cast<const void*>(place.file), place.file_offset);
}

Place place_in(const Extent& extent, std::uint64_t at) {
  return {extent.kind, extent.link, extent.file,
          extent.file_offset + (extent.kind == ExtentKind::data ? at - extent.guest_offset : 0)};
}

// How the extents of a random link look.
struct Style {
  std::uint64_t unit = 4096;       // guest ranges are multiples of it
  std::uint64_t place_unit = 512;  // and places in files of this, beside the phase of the file
  std::uint64_t files = 1;
  std::uint64_t file_bytes = 16 * kMiB;
  std::uint64_t holes = 30;       // in 100
  std::uint64_t contiguous = 50;  // in 100
  std::uint64_t long_runs = 12;   // in 100
};

// Files and links that live as long as the test.
class World {
 public:
  const File& add_file() { return files_.emplace_back(fmt::format("file{}", files_.size())); }

  FakeLink& add_link(Random& random, std::uint64_t size, std::uint64_t grain, const Style& style) {
    std::vector<const File*> files;
    files.reserve(style.files);
    for (std::uint64_t i = 0; i < style.files; ++i) files.push_back(&add_file());
    ExtentList list;
    std::uint64_t place = 0;
    for (std::uint64_t at = 0; at < size;) {
      const std::uint64_t units = below(random, 100) < style.long_runs ? 1 + below(random, 900) : 1;
      Extent extent{.guest_offset = at, .length = std::min(units * style.unit, size - at)};
      at += extent.length;
      if (below(random, 100) >= style.holes) {
        if (below(random, 100) >= style.contiguous)
          place = below(random, style.file_bytes / style.place_unit) * style.place_unit;
        fill(random, extent, *files[below(random, files.size())], place);
        place += extent.length;
      }
      list.push_back(extent);
    }
    return *links_.emplace_back(std::make_unique<FakeLink>(std::move(list), grain));
  }
  FakeLink& add_link(ExtentList list, std::uint64_t grain) {
    return *links_.emplace_back(std::make_unique<FakeLink>(std::move(list), grain));
  }

  [[nodiscard]] ChainMap chain() const {
    std::vector<const LinkMap*> maps;
    maps.reserve(links_.size());
    for (const auto& link : links_) maps.push_back(link.get());
    return ChainMap(std::move(maps));
  }

 private:
  static void fill(Random& random, Extent& extent, const File& file, std::uint64_t place) {
    constexpr ExtentKind kKinds[] = {ExtentKind::data, ExtentKind::data, ExtentKind::data,
                                     ExtentKind::deflated, ExtentKind::zero};
    extent.kind = kKinds[below(random, std::size(kKinds))];
    if (extent.kind == ExtentKind::zero) return;
    extent.file = &file;
    extent.file_offset = place;
    if (extent.kind == ExtentKind::deflated) extent.grain_bytes = 65536;
  }

  std::deque<MemoryFile> files_;
  std::vector<std::unique_ptr<FakeLink>> links_;
};

// What every sector of the disk should be.
class Shadow {
 public:
  explicit Shadow(const ChainMap& chain) {
    ExtentList list;
    EXPECT_TRUE(IsOk(chain.compose(0, chain.size_bytes(), list)));
    for (std::uint64_t at = 0; at < chain.size_bytes(); at += kSectorBytes)
      sectors_.push_back(place_in(find_extent(list, at), at));
  }

  void set(const Extent& extent) {
    for (std::uint64_t at = extent.guest_offset; at < extent.guest_end(); at += kSectorBytes)
      sectors_[at / kSectorBytes] = place_in(extent, at);
  }

  [[nodiscard]] std::uint64_t sectors() const { return sectors_.size(); }

  void expect_all(const ClusterMap& map) const {
    for (std::uint64_t i = 0; i < sectors_.size(); ++i) {
      const Result<Place> place = map.find(i * kSectorBytes);
      ASSERT_TRUE(IsOk(place));
      ASSERT_TRUE(same(*place, sectors_[i]))
          << "sector " << i << ": " << to_text(*place) << ", expected " << to_text(sectors_[i]);
    }
  }

  void expect_run(const ClusterMap& map, std::uint64_t sector, std::uint64_t limit) const {
    std::uint64_t length = 1;
    while (length < limit && sector + length < sectors_.size() && goes_on_at(sector + length))
      ++length;
    const Result<Extent> run = map.find_run(sector * kSectorBytes, limit * kSectorBytes);
    ASSERT_TRUE(IsOk(run));
    EXPECT_EQ(run->guest_offset, sector * kSectorBytes);
    EXPECT_EQ(run->length, length * kSectorBytes);
    EXPECT_TRUE(same(place_in(*run, run->guest_offset), sectors_[sector]));
  }

 private:
  [[nodiscard]] bool goes_on_at(std::uint64_t sector) const {
    Place before = sectors_[sector - 1];
    before.file_offset += kSectorBytes;
    return same(before, sectors_[sector]);
  }

  std::vector<Place> sectors_;
};

std::unique_ptr<ClusterMap> make(const ChainMap& chain) {
  Result<std::unique_ptr<ClusterMap>> map = ClusterMap::make(chain);
  EXPECT_TRUE(IsOk(map));
  return std::move(*map);
}

Style random_style(Random& random) {
  constexpr std::uint64_t kPlaceUnits[] = {1, 512, 4096, 65536, 1000 * kSectorBytes};
  constexpr std::uint64_t kFileBytes[] = {kMiB, kGiB, 100 * kTiB};
  Style style;
  style.unit = below(random, 4) == 0 ? kSectorBytes * (1 + below(random, 20))
                                     : std::uint64_t{4096} << below(random, 3);
  style.place_unit = kPlaceUnits[below(random, std::size(kPlaceUnits))];
  style.files = below(random, 4) == 0 ? 1 + below(random, 300) : 1 + below(random, 4);
  style.file_bytes = kFileBytes[below(random, std::size(kFileBytes))];
  style.holes = below(random, 100);
  style.contiguous = below(random, 101);
  style.long_runs = below(random, 3) * 8;
  return style;
}

// Changes a random range; mostly whole clusters.
void change(Random& random, ClusterMap& map, Shadow& shadow,
            const std::vector<const File*>& files) {
  const std::uint64_t unit = below(random, 10) == 0 ? 512 : 4096;
  const std::uint64_t units = below(random, 30) == 0 ? 1200 : 20;
  const std::uint64_t size = shadow.sectors() * kSectorBytes;
  Extent extent{.guest_offset = below(random, size / unit) * unit};
  extent.length = std::min((1 + below(random, units)) * unit, size - extent.guest_offset);
  if (below(random, 4) == 0) {
    extent.kind = ExtentKind::zero;
    ASSERT_TRUE(IsOk(map.set_zero(extent.guest_offset, extent.length)));
  } else {
    extent.kind = ExtentKind::data;
    extent.file = files[below(random, files.size())];
    extent.file_offset = below(random, 4096) * 4096 + (below(random, 5) == 0 ? 512 : 0);
    ASSERT_TRUE(
        IsOk(map.set_data(extent.guest_offset, extent.length, *extent.file, extent.file_offset)));
  }
  shadow.set(extent);
}

TEST(ClusterMap, AgreesWithTheChainBeforeAndAfterChanges) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    World world;
    const std::uint64_t depth = 1 + below(random, 5);
    for (std::uint64_t i = 0; i < depth; ++i) {
      const std::uint64_t size = (1 + below(random, 14000)) * kSectorBytes;
      const Style style = random_style(random);
      world.add_link(random, size, std::uint64_t{4096} << below(random, 3), style);
    }
    const ChainMap chain = world.chain();
    const auto map = make(chain);
    Shadow shadow(chain);
    if (below(random, 2) == 0) {
      ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
    }
    const std::vector<const File*> files{&world.add_file(), &world.add_file()};
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 40; ++i) {
        ASSERT_NO_FATAL_FAILURE(change(random, *map, shadow, files));
        shadow.expect_run(*map, below(random, shadow.sectors()), 1 + below(random, 5000));
      }
      ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
    }
  }
}

TEST(ClusterMap, PagesMayHaveAnyNumberOfSources) {
  Random random(9);
  World world;
  const Style style{.unit = 4096,
                    .files = 700,
                    .file_bytes = 100 * kTiB,
                    .holes = 5,
                    .contiguous = 0,
                    .long_runs = 0};
  world.add_link(random, 5 * kMiB + 512, 4096, style);
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  Shadow shadow(chain);
  ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
  std::vector<const File*> files(1500);
  for (const File*& file : files) file = &world.add_file();
  for (int i = 0; i < 3000; ++i) ASSERT_NO_FATAL_FAILURE(change(random, *map, shadow, files));
  ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
}

TEST(ClusterMap, APageWithoutRoomForASourceFindsOtherRoom) {
  World world;
  world.add_link({{.guest_offset = 0, .length = 4 * kMiB}}, 4096);
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  Shadow shadow(chain);
  // More files than any dictionary can have, cluster by cluster in one page; in the end, more than
  // all can have together.
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const Extent extent{.guest_offset = i % 400 * 4096,
                        .length = 4096,
                        .kind = ExtentKind::data,
                        .file = &world.add_file(),
                        .file_offset = i * kTiB};
    ASSERT_TRUE(IsOk(map->set_data(extent.guest_offset, 4096, *extent.file, extent.file_offset)));
    shadow.set(extent);
  }
  ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
}

TEST(ClusterMap, FindsManyAtOnce) {
  Random random(3);
  World world;
  world.add_link(random, 20 * kMiB, 4096, {.files = 3});
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  std::vector<std::uint64_t> offsets(1001);
  for (std::uint64_t& offset : offsets) offset = below(random, 20 * kMiB);
  std::vector<Place> places(offsets.size());
  ASSERT_TRUE(IsOk(map->find_many(offsets, places)));
  for (std::size_t i = 0; i < offsets.size(); ++i)
    EXPECT_TRUE(same(places[i], map->find(offsets[i]).value()));
}

TEST(ClusterMap, ReportsALinkThatFailsAndTriesAgain) {
  Random random(4);
  World world;
  FakeLink& link = world.add_link(random, 20 * kMiB, 4096, {});
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  link.fail_in(5 * kMiB, 5 * kMiB + 1);
  EXPECT_TRUE(IsOk(map->find(0)));
  EXPECT_TRUE(IsOk(map->find(2 * kMiB)));  // reading ahead fails, which is nobody's business
  EXPECT_TRUE(HasError(map->find(4 * kMiB), ErrorKind::corrupt, "made to fail"));
  EXPECT_TRUE(HasError(map->find_run(4 * kMiB, 1), ErrorKind::corrupt));
  EXPECT_TRUE(HasError(map->load(0, 20 * kMiB), ErrorKind::corrupt));
  EXPECT_TRUE(HasError(map->set_zero(3 * kMiB, 2 * kMiB), ErrorKind::corrupt));
  std::vector<Place> places(2);
  EXPECT_TRUE(
      HasError(map->find_many(std::vector{0 * kMiB, 4 * kMiB}, places), ErrorKind::corrupt));
  link.fail_in(0, 0);
  EXPECT_TRUE(IsOk(map->find(4 * kMiB)));
  EXPECT_TRUE(IsOk(map->load(0, 20 * kMiB)));
  EXPECT_EQ(map->find(3 * kMiB)->kind, ExtentKind::zero);
}

TEST(ClusterMap, ARunEndsWhereTheRestCannotBeRead) {
  World world;
  FakeLink& link = world.add_link({{.guest_offset = 0, .length = 20 * kMiB}}, 4096);
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  link.fail_in(5 * kMiB, 6 * kMiB);
  EXPECT_EQ(map->find_run(kMiB, 20 * kMiB)->length, 3 * kMiB);
}

TEST(ClusterMap, LoadingLeavesChangesAlone) {
  Random random(5);
  World world;
  world.add_link(random, 80 * kMiB, 4096, {});
  const ChainMap chain = world.chain();
  const File& file = world.add_file();
  Shadow shadow(chain);
  shadow.set(
      {.guest_offset = 30 * kMiB, .length = 4 * kMiB, .kind = ExtentKind::data, .file = &file});
  for (const bool at_once : {false, true}) {
    const auto map = make(chain);
    ASSERT_TRUE(IsOk(map->set_data(30 * kMiB, 4 * kMiB, file, 0)));
    if (at_once) {
      ASSERT_TRUE(IsOk(map->load(0, 80 * kMiB)));
    }
    ASSERT_NO_FATAL_FAILURE(shadow.expect_all(*map));
  }
}

// A link that computes its extents, so that it may have any number of them.
class Synthetic final : public LinkMap {
 public:
  // What is at `at` and goes on for a while.
  using Answer = Extent (*)(std::uint64_t at, const File& file);
  Synthetic(std::uint64_t size, std::uint64_t grain, const File& file, Answer answer)
      : size_(size), grain_(grain), file_(file), answer_(answer) {}

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_; }
  [[nodiscard]] std::uint64_t grain_bytes() const override { return grain_; }
  [[nodiscard]] Status map(std::uint64_t offset, std::uint64_t length,
                           ExtentList& out) const override {
    for (std::uint64_t at = offset; at < offset + length;) {
      out.push_back(clip(answer_(at, file_), at, offset + length));
      at = out.back().guest_end();
    }
    return {};
  }
  [[nodiscard]] Status inflate(const Extent& /*extent*/, std::span<const std::byte> /*stored*/,
                               Inflater& /*inflater*/,
                               std::span<std::byte> /*out*/) const override {
    return {};
  }

 private:
  std::uint64_t size_;
  std::uint64_t grain_;
  const File& file_;
  Answer answer_;
};

Extent hole(std::uint64_t at, const File& /*file*/) { return {.guest_offset = at, .length = kTiB}; }
Extent contiguous(std::uint64_t at, const File& file) {
  return {.guest_offset = at,
          .length = kTiB,
          .kind = ExtentKind::data,
          .file = &file,
          .file_offset = kMiB + at};
}
template <std::uint64_t Unit>
Extent scattered(std::uint64_t at, const File& file) {
  const std::uint64_t place = (at / 65536 * 0x9e3779b97f4a7c15) % (16 * kGiB / Unit) * Unit;
  return {.guest_offset = at,
          .length = 65536,
          .kind = ExtentKind::data,
          .file = &file,
          .file_offset = kMiB + place};
}

TEST(ClusterMap, TakesLittleMemory) {
  struct Case {
    Synthetic::Answer answer;
    std::uint64_t size;
    std::uint64_t limit;
  };
  for (const Case& c : {Case{contiguous, kTiB, kMiB}, Case{hole, kTiB, kMiB},
                        Case{scattered<65536>, 16 * kGiB, 80 * kMiB / 64},
                        Case{scattered<512>, 16 * kGiB, 80 * kMiB / 64}}) {
    const MemoryFile file("f");
    const Synthetic link(c.size, 65536, file, c.answer);
    const ChainMap chain({&link});
    const auto map = make(chain);
    ASSERT_TRUE(IsOk(map->load(0, c.size)));
    EXPECT_LE(map->memory_bytes(), c.limit);
    for (std::uint64_t at = 0; at < c.size; at += 997 * kMiB) {
      const Extent expected = c.answer(at, file);
      const Place place = map->find(at + 700).value();
      EXPECT_EQ(place.kind, expected.kind);
      if (expected.kind == ExtentKind::data) {
        EXPECT_EQ(place.file_offset, expected.file_offset + 700);
      }
    }
  }
}

TEST(ClusterMap, RefusesDisksBeyondReason) {
  const MemoryFile file("f");
  const Synthetic link(64 * kTiB, 512, file, hole);
  EXPECT_TRUE(HasError(ClusterMap::make(ChainMap({&link})), ErrorKind::unsupported));
}

TEST(ClusterMap, HugeDisksCostNothingUpFront) {
  const MemoryFile file("f");
  const Synthetic link(kTiB * 2048, 65536, file, contiguous);
  const ChainMap chain({&link});
  const auto map = make(chain);
  EXPECT_EQ(map->find(kTiB * 2047 + 5)->file_offset, kMiB + kTiB * 2047 + 5);
  ASSERT_TRUE(IsOk(map->set_zero(kTiB, 65536)));
  EXPECT_EQ(map->find_run(kTiB, kTiB)->length, 65536U);
}

TEST(ClusterMap, AnEmptyDiskIsNoTrouble) {
  const FakeLink link({});
  const ChainMap chain({&link});
  const auto map = make(chain);
  EXPECT_EQ(map->size_bytes(), 0U);
  EXPECT_TRUE(IsOk(map->load(0, 0)));
}

TEST(ClusterMap, WritingGrainByGrainKeepsThePage) {
  World world;
  world.add_link({{.guest_offset = 0, .length = 64 * kMiB}}, 65536);
  const ChainMap chain = world.chain();
  const auto map = make(chain);
  const File& file = world.add_file();
  for (std::uint64_t at = 0; at < 64 * kMiB; at += 65536)
    ASSERT_TRUE(IsOk(map->set_data(at, 65536, file, (at * 17) % kGiB)));
  const std::uint64_t before = map->memory_bytes();
  for (std::uint64_t at = 0; at < 64 * kMiB; at += 65536)
    ASSERT_TRUE(IsOk(map->set_data(at, 65536, file, (at * 31) % kGiB)));
  EXPECT_EQ(map->memory_bytes(), before);
  EXPECT_LT(before, 64 * kKiB);
}

// Changes go from version to version, and any answer must be of a version that was there between
// its asking and its coming.
TEST(ClusterMap, ReadersSeeOldOrNewWhileOneWrites) {
  constexpr std::uint64_t kSize = 24 * kMiB;
  constexpr std::uint64_t kCluster = 4096;
  constexpr int kVersions = 60;
  Random random(6);
  World world;
  world.add_link(random, kSize, kCluster, {.files = 3, .holes = 60});
  const ChainMap chain = world.chain();
  ExtentList old;
  ASSERT_TRUE(IsOk(chain.compose(0, kSize, old)));
  const auto map = make(chain);
  std::deque<MemoryFile> versions;
  for (int i = 0; i < kVersions; ++i) versions.emplace_back(fmt::format("v{}", i));
  const auto version_of = [&](const Place& place) -> int {
    for (int i = 0; i < kVersions; ++i)
      if (place.file == &versions[static_cast<std::size_t>(i)]) return i;
    return -1;
  };
  std::atomic<int> begun = -1;
  std::atomic<int> finished = -1;
  const auto read = [&](std::uint64_t seed) {
    Random mine(seed);
    while (finished.load() < kVersions - 1) {
      const int least = finished.load();
      const std::uint64_t at = below(mine, kSize / 512) * 512;
      const Result<Place> place = map->find(at);
      const int most = begun.load();
      ASSERT_TRUE(IsOk(place));
      const int version = version_of(*place);
      // The middle is written by every version, the rest by none.
      const bool written = at >= 3 * kMiB && at < 15 * kMiB;
      ASSERT_TRUE(written ? least <= version && version <= most : version == -1) << at;
      if (version == -1)
        ASSERT_TRUE(same(*place, place_in(find_extent(old, at), at)));
      else
        ASSERT_EQ(place->file_offset, at + kSectorBytes * static_cast<unsigned>(version % 3));
      ASSERT_TRUE(IsOk(map->find_run(at, 64 * kKiB)));
    }
  };
  std::vector<std::thread> readers;
  readers.reserve(3);
  for (std::uint64_t i = 0; i < 3; ++i) readers.emplace_back(read, i);
  for (int i = 0; i < kVersions; ++i) {
    begun = i;
    const std::uint64_t shift = kSectorBytes * static_cast<unsigned>(i % 3);
    // In pieces, some of which are not aligned: pages become lists.
    const std::uint64_t cut = (3 + below(random, 12)) * kMiB + (i > kVersions / 2 ? 512 : kCluster);
    const File& file = versions[static_cast<std::size_t>(i)];
    EXPECT_TRUE(IsOk(map->set_data(3 * kMiB, cut - 3 * kMiB, file, 3 * kMiB + shift)));
    EXPECT_TRUE(IsOk(map->set_data(cut, 15 * kMiB - cut, file, cut + shift)));
    finished = i;
  }
  for (std::thread& reader : readers) reader.join();
}

TEST(ClusterMap, ManyThreadsLoadAtOnce) {
  Random random(8);
  World world;
  for (int i = 0; i < 3; ++i) world.add_link(random, 30 * kMiB, 4096, {.files = 2, .holes = 50});
  const ChainMap chain = world.chain();
  const Shadow shadow(chain);
  const auto map = make(chain);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    threads.emplace_back([&map, seed] {
      Random mine(seed);
      for (int i = 0; i < 500; ++i) EXPECT_TRUE(IsOk(map->find(below(mine, 30 * kMiB))));
    });
  for (std::thread& thread : threads) thread.join();
  shadow.expect_all(*map);
}

}  // namespace
}  // namespace grainmill
