// SPDX-License-Identifier: Apache-2.0
//
// What does it cost to find a grain? The map of a whole chain beside the schemes that drivers use,
// and beside the bound that memory sets: one random load of 4 bytes from an array as large as the
// chain's tables, in the same order.
//
//   open/DISK                    Disk::open of the chain
//   load/DISK                    the whole map of it
//   lookup/DISK/ORDER/SCHEME     SCHEME: grainmill, grainmill-many (find_many), classic (16 cached
//                                tables a link), direct (direct-mapped cache), memory (the bound)
//
// The files lie in memory and are real; all times are CPU time. Every timed answer goes into a sum,
// which is compared with that of the function that the chain was written from; the first answers
// are also compared one by one. With GRAINMILL_BENCH_SCALE=full up to 2 GiB are in memory at once.
#include "bench/classic/chain.h"
#include "bench/classic/table_cache.h"
#include "bench/workloads/access.h"
#include "bench/workloads/chain_files.h"
#include "bench/workloads/chain_layout.h"
#include "bench/workloads/harness.h"
#include "bench/workloads/perf_counters.h"
#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "engine/map/cluster_map.h"
#include "engine/map/extent.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>

namespace grainmill::bench {
namespace {

using Sequence = std::vector<std::uint32_t>;

constexpr std::size_t kBatch = 256;      // lookups an iteration
constexpr std::uint64_t kInside = 4608;  // where in its grain each lookup asks
constexpr std::size_t kOneByOne = 4096;  // answers that are compared one by one
constexpr std::uint64_t kSpread = 0x9e3779b9;

const Sequence& sequence_of(Access access, std::uint64_t grains) {
  static std::map<std::pair<Access, std::uint64_t>, Sequence> sequences;
  Sequence& sequence = sequences[{access, grains}];
  // More than the grains of a large disk, so that all its tables are touched.
  const std::size_t count = scale() == Scale::tiny ? 1U << 15 : 1U << 22;
  if (sequence.empty()) sequence = access_sequence(access, grains, count);
  return sequence;
}

// As large as the tables of one link; on huge pages where the kernel gives them, for this is to be
// the least that a lookup in memory can cost.
class MemoryBound {
 public:
  explicit MemoryBound(std::uint64_t grains)
      : bytes_(grains * sizeof(std::uint32_t)),
        words_(static_cast<std::uint32_t*>(
            ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    require(words_ != MAP_FAILED, "memory for the bound");
    ::madvise(words_, bytes_, MADV_HUGEPAGE);
    for (std::uint64_t grain = 0; grain < grains; ++grain) words_[grain] = word(grain);
  }
  ~MemoryBound() { ::munmap(words_, bytes_); }
  MemoryBound(const MemoryBound&) = delete;
  MemoryBound& operator=(const MemoryBound&) = delete;

  [[nodiscard]] std::uint32_t operator[](std::uint64_t grain) const { return words_[grain]; }
  [[nodiscard]] static std::uint32_t word(std::uint64_t grain) {
    return static_cast<std::uint32_t>(grain * kSpread);
  }

 private:
  std::uint64_t bytes_;
  std::uint32_t* words_;
};

// One chain in memory, and everything that looks something up in it.
class Workload {
 public:
  explicit Workload(const ChainSpec& spec)
      : layout_(spec),
        folder_(memory_folder()),
        paths_(write_chain(layout_, folder_.path())),
        disk_(open()),
        map_(load()) {}

  // The one of `spec`: the one before is removed, for it may take much memory.
  static Workload& of(const ChainSpec& spec) {
    static std::unique_ptr<Workload> current;
    if (!current || current->layout_.spec() != spec) {
      current.reset();
      current = std::make_unique<Workload>(spec);
    }
    return *current;
  }

  [[nodiscard]] Disk open() const {
    return value_of(Disk::open(posix_file_system(), paths_.front(), {}));
  }
  [[nodiscard]] std::unique_ptr<ClusterMap> load() const {
    std::unique_ptr<ClusterMap> map = value_of(ClusterMap::make(disk_.map()));
    require(map->load(0, disk_.size_bytes()));
    return map;
  }

  [[nodiscard]] const ChainLayout& layout() const { return layout_; }
  [[nodiscard]] const Disk& disk() const { return disk_; }
  [[nodiscard]] const ClusterMap& map() const { return *map_; }
  [[nodiscard]] classic::Chain<classic::CountedCache>& counted() { return classic_of(counted_); }
  [[nodiscard]] classic::Chain<classic::DirectCache>& direct() { return classic_of(direct_); }
  [[nodiscard]] const MemoryBound& bound() {
    if (!bound_) bound_.emplace(layout_.grains());
    return *bound_;
  }

 private:
  template <typename Cache>
  classic::Chain<Cache>& classic_of(std::optional<classic::Chain<Cache>>& chain) {
    if (chain) return *chain;
    std::vector<classic::Link<Cache>> links;
    links.reserve(paths_.size());
    const classic::Geometry geometry{layout_.shape(), layout_.directory_offset(), 0};
    for (const std::string& path : paths_)
      links.push_back(value_of(
          classic::Link<Cache>::open(value_of(posix_file_system().open_read(path)), geometry)));
    return chain.emplace(std::move(links));
  }

  ChainLayout layout_;
  ScratchFolder folder_;
  std::vector<std::string> paths_;
  Disk disk_;
  std::unique_ptr<ClusterMap> map_;
  std::optional<classic::Chain<classic::CountedCache>> counted_;
  std::optional<classic::Chain<classic::DirectCache>> direct_;
  std::optional<MemoryBound> bound_;
};

// Where a lookup of a grain asks.
std::uint64_t offset_in(std::uint32_t grain) { return grain * kDefaultGrainBytes + kInside; }

GrainPlace as_place(const Place& place) {
  // Both read before it is known whether they are needed: an answer that is only there where it was
  // found is one that the compiler keeps in memory.
  const GrainPlace stored{true, place.link, place.file_offset};
  return place.kind == ExtentKind::data ? stored : GrainPlace{};
}

// What a batch of lookups adds to the sum. Holes add nothing.
std::uint64_t digest(const GrainPlace& place) {
  return place.stored ? place.file_offset + (std::uint64_t{place.link + 1} << 48) : 0;
}

GrainPlace expected_place(const ChainLayout& layout, std::uint64_t grain) {
  GrainPlace place = layout.place(grain);
  if (place.stored) place.file_offset += kInside;
  return place;
}

// The sum over the first `lookups` of a sequence that begins again at its end.
template <typename Answer>
std::uint64_t expected_sum(const Sequence& sequence, std::uint64_t lookups, Answer&& answer) {
  const auto sum_of = [&](std::uint64_t count) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < count; ++i) sum += answer(sequence[i]);
    return sum;
  };
  const std::uint64_t rounds = lookups / sequence.size();
  return (rounds == 0 ? 0 : rounds * sum_of(sequence.size())) + sum_of(lookups % sequence.size());
}

// Times `answer_batch(grains)`, which returns the sum of its answers, over a sequence.
template <typename AnswerBatch, typename Answer>
void time_batches(benchmark::State& state, const Sequence& sequence, AnswerBatch&& answer_batch,
                  Answer&& expected) {
  PerfCounters counters;
  std::uint64_t sum = 0;
  std::size_t at = 0;
  counters.start();
  for (auto _ : state) {
    sum += answer_batch(std::span(sequence).subspan(at, kBatch));
    benchmark::DoNotOptimize(sum);
    at = (at + kBatch) % sequence.size();
  }
  const auto lookups = static_cast<std::uint64_t>(state.iterations()) * kBatch;
  counters.report(state, static_cast<double>(lookups));
  require(sum == expected_sum(sequence, lookups, expected), "sum of all lookups");
  state.SetItemsProcessed(static_cast<std::int64_t>(lookups));
}

// Times `sum_of(grains)`, the sum of the digests of what is found. What is done for every scheme is
// in the time as well: taking the offsets from the sequence, and adding up the answers.
template <typename SumOf>
void time_sums(benchmark::State& state, const ChainLayout& layout, const Sequence& sequence,
               SumOf&& sum_of) {
  time_batches(state, sequence, sum_of,
               [&](std::uint64_t grain) { return digest(expected_place(layout, grain)); });
}

// Times `find(guest_offset)`, one call after the other.
template <typename Find>
void time_lookups(benchmark::State& state, const ChainLayout& layout, const Sequence& sequence,
                  Find find) {
  for (std::size_t i = 0; i < kOneByOne; ++i)
    require(find(offset_in(sequence[i])) == expected_place(layout, sequence[i]),
            "place of a grain");
  time_sums(state, layout, sequence, [find](std::span<const std::uint32_t> grains) {
    std::uint64_t sum = 0;
    for (const std::uint32_t grain : grains) sum += digest(find(offset_in(grain)));
    return sum;
  });
}

void lookup_in_map(benchmark::State& state, Workload& workload, const Sequence& sequence) {
  const ClusterMap* const map = &workload.map();
  time_lookups(state, workload.layout(), sequence, [map](std::uint64_t guest_offset) {
    const Result<Place> place = map->find(guest_offset);
    if (!place) [[unlikely]]
      throw_error(place.error());
    return as_place(*place);
  });
  state.counters["map_bytes"] = static_cast<double>(map->memory_bytes());
}

void lookup_many_in_map(benchmark::State& state, Workload& workload, const Sequence& sequence) {
  const ClusterMap& map = workload.map();
  std::array<std::uint64_t, kBatch> offsets{};
  std::array<Place, kBatch> places{};
  const auto find_batch = [&](std::span<const std::uint32_t> grains) {
    std::ranges::transform(grains, offsets.begin(), offset_in);
    require(map.find_many(offsets, places));
  };
  for (std::size_t at = 0; at < kOneByOne; at += kBatch) {
    find_batch(std::span(sequence).subspan(at, kBatch));
    for (std::size_t i = 0; i < kBatch; ++i)
      require(as_place(places[i]) == expected_place(workload.layout(), sequence[at + i]),
              "place of a grain");
  }
  time_sums(state, workload.layout(), sequence, [&](std::span<const std::uint32_t> grains) {
    find_batch(grains);
    std::uint64_t sum = 0;
    for (const Place& place : places) sum += digest(as_place(place));
    return sum;
  });
  state.counters["map_bytes"] = static_cast<double>(map.memory_bytes());
}

template <typename Cache>
void lookup_in_classic(benchmark::State& state, const ChainLayout& layout,
                       classic::Chain<Cache>& chain, const Sequence& sequence) {
  time_lookups(state, layout, sequence, [&chain](std::uint64_t guest_offset) {
    const Result<classic::Found> found = chain.find(guest_offset);
    if (!found) [[unlikely]]
      throw_error(found.error());
    return GrainPlace{found->stored, found->link, found->file_offset};
  });
}

void load_from_memory(benchmark::State& state, Workload& workload, const Sequence& sequence) {
  const MemoryBound& bound = workload.bound();
  const auto answer_batch = [&](std::span<const std::uint32_t> grains) {
    std::uint64_t sum = 0;
    for (const std::uint32_t grain : grains) sum += bound[grain];
    return sum;
  };
  time_batches(state, sequence, answer_batch,
               [](std::uint64_t grain) { return std::uint64_t{MemoryBound::word(grain)}; });
}

using Lookup = void (*)(benchmark::State&, Workload&, const Sequence&);
struct Scheme {
  const char* name;
  Lookup lookup;
};

constexpr std::array kSchemes = {
    Scheme{"grainmill", lookup_in_map},
    Scheme{"grainmill-many", lookup_many_in_map},
    Scheme{"classic",
           [](benchmark::State& state, Workload& workload, const Sequence& sequence) {
             lookup_in_classic(state, workload.layout(), workload.counted(), sequence);
           }},
    Scheme{"direct",
           [](benchmark::State& state, Workload& workload, const Sequence& sequence) {
             lookup_in_classic(state, workload.layout(), workload.direct(), sequence);
           }},
    Scheme{"memory", load_from_memory},
};

void time_open(benchmark::State& state, const ChainSpec& spec) {
  const Workload& workload = Workload::of(spec);
  for (auto _ : state) {
    const Disk disk = workload.open();
    require(disk.depth() == spec.depth && disk.size_bytes() == spec.disk_bytes, "opened disk");
  }
}

void time_load(benchmark::State& state, const ChainSpec& spec) {
  const Workload& workload = Workload::of(spec);
  std::unique_ptr<ClusterMap> map;
  for (auto _ : state) {
    map.reset();
    map = workload.load();
  }
  const ChainLayout& layout = workload.layout();
  for (const std::uint32_t grain : sequence_of(Access::random, layout.grains()))
    require(as_place(value_of(map->find(offset_in(grain)))) == expected_place(layout, grain),
            "place of a grain");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(layout.grains()));
  state.counters["map_bytes"] = static_cast<double>(map->memory_bytes());
}

std::vector<ChainSpec> specs() {
  std::vector<std::uint64_t> sizes = {kGiB, 64 * kGiB, kTiB};
  std::vector<std::uint32_t> depths = {1, 4, 32};
  std::vector<std::uint32_t> percents = {1, 50, 100};
  if (scale() == Scale::tiny) {
    sizes = {kGiB};
    depths = {1, 4};
    percents = {50};
  } else if (scale() == Scale::brief) {
    sizes = {64 * kGiB};
    depths = {1, 32};
    percents = {100};
  }
  std::vector<ChainSpec> all;
  for (const std::uint64_t size : sizes)
    for (const std::uint32_t depth : depths)
      for (const std::uint32_t percent : percents)
        for (const Layout layout : {Layout::contiguous, Layout::scattered})
          all.push_back({size, depth, percent, layout});
  return all;
}

void add_lookups(const ChainSpec& spec) {
  for (const Access access : kAllAccesses) {
    if (scale() == Scale::brief && access != Access::sequential && access != Access::random)
      continue;
    for (const Scheme& scheme : kSchemes) {
      const std::string name =
          fmt::format("lookup/{}/{}/{}", spec.name(), name_of(access), scheme.name);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        Workload& workload = Workload::of(spec);
        scheme.lookup(state, workload, sequence_of(access, workload.layout().grains()));
      });
    }
  }
}

void add_benchmarks() {
  for (const ChainSpec& spec : specs()) {
    benchmark::RegisterBenchmark(("open/" + spec.name()).c_str(), time_open, spec)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("load/" + spec.name()).c_str(), time_load, spec)
        ->Unit(benchmark::kMillisecond);
    add_lookups(spec);
  }
}

}  // namespace
}  // namespace grainmill::bench

int main(int argc, char** argv) {
  return grainmill::bench::run_benchmarks(argc, argv, grainmill::bench::add_benchmarks);
}
