// SPDX-License-Identifier: Apache-2.0
//
// Is a lookup in a chain of 32 as cheap as in a single disk? The same guest grains are stored at
// every depth, only dealt out to more links, so that the composed maps have the same extents.
//
// BM_Compose does once a window what grows with the depth; BM_FindExtent is a lookup in the result.
// Both are verified: each grain's bytes are read where the map says, and compared with the layout.
#include "engine/base/error.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "engine/map/chain_map.h"
#include "engine/map/extent.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

// Small grains, so that a full window of 16384 is a disk of 64 MiB.
constexpr std::uint64_t kGrainSectors = 8;
constexpr std::uint64_t kGrainBytes = kGrainSectors * 512;
constexpr std::uint64_t kGrains = 16384;
constexpr std::uint64_t kDiskBytes = kGrains * kGrainBytes;

void require(bool right, std::string_view what) {
  if (!right) throw std::runtime_error(fmt::format("wrong result: {}", what));
}

void require(const Status& status) {
  if (!status) throw std::runtime_error(status.error().to_string());
}

// Every second grain is stored nowhere, so that no two extents merge; the others lie in a link that
// chance decides.
bool is_stored(std::uint64_t grain, std::size_t link, std::size_t links) {
  return grain % 2 == 0 && testing::mix(grain) % links == link;
}

testing::Layout make_layout(std::size_t links) {
  testing::Layout layout;
  for (std::size_t link = 0; link < links; ++link) {
    std::vector<testing::Segment>& segments = layout.links.emplace_back().segments;
    for (std::uint64_t grain = 0; grain < kGrains; ++grain) {
      const char kind = is_stored(grain, link, links) ? 'r' : '-';
      segments.push_back({grain * kGrainBytes, kGrainBytes, kind});
    }
  }
  return layout;
}

// A chain on disk, opened.
class Chain {
 public:
  explicit Chain(std::size_t links)
      : layout_(make_layout(links)),
        built_(testing::build_disk(folder_.path(), "disk", layout_,
                                   testing::LinkOptions{.kind = testing::Kind::monolithic_sparse,
                                                        .grain_sectors = kGrainSectors})),
        disk_(open()) {
    require(disk_.depth() == links, "depth");
  }

  [[nodiscard]] const ChainMap& map() const { return disk_.map(); }

  [[nodiscard]] ExtentList compose() const {
    ExtentList list;
    require(map().compose(0, kDiskBytes, list));
    return list;
  }

  // Throws unless `list` tells of every grain where its bytes are.
  void verify(const ExtentList& list) const {
    std::vector<std::byte> found(kGrainBytes);
    for (std::uint64_t offset = 0; offset < kDiskBytes; offset += kGrainBytes) {
      const Extent& extent = find_extent(list, offset);
      require(extent.guest_offset <= offset && offset < extent.guest_end(), "extent found");
      if (extent.reads_as_zero())
        std::ranges::fill(found, std::byte{0});
      else
        require(extent.file->read_exact_at(place_of(extent, offset), found));
      require(found == testing::expected_bytes(layout_, offset, kGrainBytes), "bytes of a grain");
    }
  }

  static std::uint64_t place_of(const Extent& extent, std::uint64_t offset) {
    return extent.file_offset + (offset - extent.guest_offset);
  }

 private:
  [[nodiscard]] Disk open() const {
    Result<Disk> disk = Disk::open(posix_file_system(), built_.path().string(), {});
    if (!disk) throw std::runtime_error(disk.error().to_string());
    return *std::move(disk);
  }

  testing::TempDir folder_;
  testing::Layout layout_;
  testing::BuiltDisk built_;
  Disk disk_;
};

// Made once for each depth, and removed at the end.
const Chain& chain_of(const benchmark::State& state) {
  static std::map<std::int64_t, std::unique_ptr<Chain>> chains;
  std::unique_ptr<Chain>& chain = chains[state.range(0)];
  if (!chain) chain = std::make_unique<Chain>(static_cast<std::size_t>(state.range(0)));
  return *chain;
}

void BM_Compose(benchmark::State& state) {
  const Chain& chain = chain_of(state);
  ExtentList list;
  for (auto _ : state) {
    require(chain.map().compose(0, kDiskBytes, list));
    benchmark::DoNotOptimize(list.data());
  }
  chain.verify(list);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kGrains));
  state.counters["extents"] = static_cast<double>(list.size());
}
BENCHMARK(BM_Compose)->ArgName("depth")->Arg(1)->Arg(4)->Arg(32)->Unit(benchmark::kMicrosecond);

// Looks up all grains in an order that no cache or branch predictor can guess.
std::vector<std::uint64_t> shuffled_offsets() {
  std::vector<std::uint64_t> offsets(kGrains);
  for (std::uint64_t grain = 0; grain < kGrains; ++grain) offsets[grain] = grain * kGrainBytes;
  std::ranges::sort(offsets, {}, [](std::uint64_t offset) { return testing::mix(offset); });
  return offsets;
}

void BM_FindExtent(benchmark::State& state) {
  const Chain& chain = chain_of(state);
  const ExtentList list = chain.compose();
  chain.verify(list);
  const std::vector<std::uint64_t> offsets = shuffled_offsets();
  bool all_right = true;
  for (auto _ : state) {
    for (const std::uint64_t offset : offsets) {
      const Extent& extent = find_extent(list, offset);
      all_right &= offset - extent.guest_offset < extent.length;
    }
  }
  require(all_right, "extent found");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kGrains));
  state.counters["extents"] = static_cast<double>(list.size());
}
BENCHMARK(BM_FindExtent)->ArgName("depth")->Arg(1)->Arg(4)->Arg(32)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace grainmill
