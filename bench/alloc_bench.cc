// SPDX-License-Identifier: Apache-2.0
//
// What does it cost to allocate a grain, beside the scheme that drivers use?
//
//   alloc/memory/ORDER/grain:G/flush:N/SCHEME   tables only, in a file in memory: the code's cost
//   alloc/device/ORDER/grain:G/flush:N/SCHEME   each grain written too, in a file on a device
//   copy-up/PLACE/ORDER/grain:G/flush:N/SCHEME  4 KiB written to a grain that so far only the
//                                               parent has
//
// G is the size of a grain: with large ones a flush of many waits for the bandwidth of the device,
// with small ones for what the scheme does. flush:N is a durable flush every N grains; "never"
// leaves it out, "end" has one after the last grain. SCHEME: grainmill; classic (see
// bench/classic/), which has its tables in the file at any time, but not durably before a flush;
// bare, what the device allows: the same grains written to the same place and synced as often,
// without any tables. In memory CPU time is taken, on a device wall time; each iteration has a new
// disk. After it, the tables, both copies, and all that was written are read back and compared.
#include "bench/classic/allocator.h"
#include "bench/classic/chain.h"
#include "bench/classic/table_cache.h"
#include "bench/workloads/chain_files.h"
#include "bench/workloads/chain_layout.h"
#include "bench/workloads/harness.h"
#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "engine/map/grain_allocator.h"
#include "engine/map/grain_tables.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::bench {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kAtEnd = kNever - 1;
constexpr std::uint64_t kPatchBytes = 4096;
constexpr std::uint64_t kPatchBegin = 8192;  // in its grain

struct Job {
  bool on_device = false;
  bool random = false;
  std::uint64_t grain_bytes = kDefaultGrainBytes;
  std::uint64_t flush_every = kNever;
  std::uint64_t grains = 0;

  [[nodiscard]] std::string folder() const { return on_device ? device_folder() : memory_folder(); }
  [[nodiscard]] bool flush_is_due(std::uint64_t done) const {
    return flush_every == kAtEnd ? done == grains : done % flush_every == 0;
  }
  [[nodiscard]] std::string name() const {
    const std::string flush = flush_every == kNever   ? "never"
                              : flush_every == kAtEnd ? "end"
                                                      : fmt::to_string(flush_every);
    return fmt::format("{}/{}/grain:{}k/flush:{}", on_device ? "device" : "memory",
                       random ? "random" : "sequential", grain_bytes / kKiB, flush);
  }
};

// Seconds since it was made: of this thread's CPU, or of the wall where there is a
// device to wait for.
class Stopwatch {
 public:
  explicit Stopwatch(const Job& job)
      : clock_(job.on_device ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID), begin_(now()) {}
  [[nodiscard]] double seconds() const { return now() - begin_; }

 private:
  [[nodiscard]] double now() const {
    timespec time{};
    ::clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  }

  clockid_t clock_;
  double begin_;
};

// What is written to grains: only the number at the begin differs from grain to grain, so that
// making it costs nothing beside writing it.
class GrainData {
 public:
  explicit GrainData(std::uint64_t grain_bytes) : bytes_(grain_bytes) { fill_grain(0, bytes_); }
  explicit GrainData(const Job& job) : GrainData(job.on_device ? job.grain_bytes : 0) {}

  std::span<const std::byte> of(std::uint64_t grain) {
    if (!bytes_.empty()) store_le(bytes_.data(), grain);
    return bytes_;
  }

 private:
  std::vector<std::byte> bytes_;
};

// A disk of one link, with empty tables in two copies, opened for writing.
class EmptyDisk {
 public:
  explicit EmptyDisk(const Job& job)
      : layout_({.disk_bytes = (scale() == Scale::tiny ? 1 << 14 : 1 << 20) * job.grain_bytes,
                 .allocated_percent = 0,
                 .redundant_tables = true,
                 .grain_bytes = job.grain_bytes}),
        folder_(job.folder()),
        file_(value_of(
            posix_file_system().open_write(write_chain(layout_, folder_.path()).front()))) {
    // So that the first flush does not have to wait for the tables that were made here.
    require(file_->sync());
    for (std::uint64_t i = 0; i < job.grains; ++i)
      grains_.push_back(job.random ? scatter(i, layout_.grains()) : i);
  }

  [[nodiscard]] const ChainLayout& layout() const { return layout_; }
  [[nodiscard]] File& file() { return *file_; }
  [[nodiscard]] std::unique_ptr<File> take_file() { return std::move(file_); }
  [[nodiscard]] const std::vector<std::uint64_t>& grains() const { return grains_; }

  // That both copies of the tables say of every grain where it was put, or that it is missing.
  void verify_tables(const File& file, const std::vector<std::uint64_t>& places) const {
    std::vector<std::uint32_t> expected(layout_.grains());
    for (std::size_t i = 0; i < grains_.size(); ++i)
      expected[grains_[i]] = static_cast<std::uint32_t>(places[i] / kSectorBytes);
    for (const std::uint64_t directory :
         {layout_.directory_offset(), layout_.redundant_directory_offset()}) {
      const GrainTables tables =
          value_of(GrainTables::open(file, layout_.shape(), directory, kSectorBytes));
      std::vector<std::uint32_t> entries(layout_.grains());
      require(value_of(tables.load(0, entries)), "tables are stored");
      require(entries == expected, "grain tables");
    }
    std::vector<std::uint64_t> used = places;
    std::ranges::sort(used);
    require(std::ranges::adjacent_find(used) == used.end(), "no grain is given out twice");
  }

  void verify_data(const File& file, const std::vector<std::uint64_t>& places) const {
    std::vector<std::byte> stored(layout_.grain_bytes());
    GrainData expected(layout_.grain_bytes());
    for (std::size_t i = 0; i < grains_.size(); ++i) {
      require(file.read_exact_at(places[i], stored));
      require(std::ranges::equal(stored, expected.of(grains_[i])), "data of a grain");
    }
  }

 private:
  ChainLayout layout_;
  ScratchFolder folder_;
  std::unique_ptr<File> file_;
  std::vector<std::uint64_t> grains_;
};

// How the schemes allocate; all return where each grain was put.

std::vector<std::uint64_t> allocate(const Job& job, EmptyDisk& disk, GrainAllocator& allocator) {
  GrainData data(job);
  std::vector<std::uint64_t> places;
  places.reserve(disk.grains().size());
  for (const std::uint64_t grain : disk.grains()) {
    places.push_back(value_of(allocator.take(1)));
    if (job.on_device) require(disk.file().write_at(places.back(), data.of(grain)));
    require(allocator.put(grain, places.back()));
    if (job.flush_is_due(places.size())) require(allocator.flush());
  }
  return places;
}

std::vector<std::uint64_t> allocate(const Job& job, const EmptyDisk& disk,
                                    classic::Allocator& allocator) {
  GrainData data(job);
  std::vector<std::uint64_t> places;
  places.reserve(disk.grains().size());
  for (const std::uint64_t grain : disk.grains()) {
    places.push_back(value_of(allocator.allocate(grain, data.of(grain))));
    if (job.flush_is_due(places.size())) require(allocator.flush());
  }
  return places;
}

std::vector<std::uint64_t> write_bare(const Job& job, EmptyDisk& disk) {
  GrainData data(job);
  std::vector<std::uint64_t> places;
  places.reserve(disk.grains().size());
  std::uint64_t end = align_up(value_of(disk.file().info()).size_bytes, job.grain_bytes);
  for (const std::uint64_t grain : disk.grains()) {
    places.push_back(std::exchange(end, end + job.grain_bytes));
    require(disk.file().write_at(places.back(), data.of(grain)));
    if (job.flush_is_due(places.size())) require(disk.file().sync());
  }
  return places;
}

// `run` returns how many seconds of an iteration count.
template <typename Run>
void time_runs(benchmark::State& state, const Job& job, Run&& run) {
  for (auto _ : state) state.SetIterationTime(run());
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(job.grains));
  if (job.on_device) state.counters["grain_bytes"] = static_cast<double>(job.grain_bytes);
}

void time_grainmill(benchmark::State& state, const Job& job) {
  time_runs(state, job, [&] {
    EmptyDisk disk(job);
    const ChainLayout& layout = disk.layout();
    const std::unique_ptr<GrainAllocator> allocator = value_of(GrainAllocator::open(
        disk.file(), {.shape = layout.shape(),
                      .directory_offset = layout.directory_offset(),
                      .redundant_directory_offset = layout.redundant_directory_offset(),
                      .data_begin = layout.data_begin()}));
    const Stopwatch watch(job);
    const std::vector<std::uint64_t> places = allocate(job, disk, *allocator);
    const double seconds = watch.seconds();
    require(allocator->close());
    disk.verify_tables(disk.file(), places);
    if (job.on_device) disk.verify_data(disk.file(), places);
    return seconds;
  });
}

void time_classic(benchmark::State& state, const Job& job) {
  time_runs(state, job, [&] {
    EmptyDisk disk(job);
    const ChainLayout& layout = disk.layout();
    auto link = value_of(classic::Link<classic::CountedCache>::open(
        disk.take_file(),
        {layout.shape(), layout.directory_offset(), layout.redundant_directory_offset()}));
    classic::Allocator allocator = value_of(classic::Allocator::open(link));
    const Stopwatch watch(job);
    const std::vector<std::uint64_t> places = allocate(job, disk, allocator);
    const double seconds = watch.seconds();
    disk.verify_tables(link.file(), places);
    if (job.on_device) disk.verify_data(link.file(), places);
    return seconds;
  });
}

void time_bare(benchmark::State& state, const Job& job) {
  time_runs(state, job, [&] {
    EmptyDisk disk(job);
    const Stopwatch watch(job);
    const std::vector<std::uint64_t> places = write_bare(job, disk);
    const double seconds = watch.seconds();
    disk.verify_data(disk.file(), places);
    return seconds;
  });
}

// A disk whose parent has grains that the top link does not have.
class CopyUpDisk {
 public:
  explicit CopyUpDisk(const Job& job)
      : layout_({.disk_bytes = 4 * std::max<std::uint64_t>(job.grains, 256) * job.grain_bytes,
                 .depth = 2,
                 .redundant_tables = true,
                 .stores_data = true,
                 .grain_bytes = job.grain_bytes}),
        folder_(job.folder()),
        paths_(write_chain(layout_, folder_.path())) {
    for (std::uint64_t i = 0; i < layout_.grains() && grains_.size() < job.grains; ++i) {
      const std::uint64_t grain = job.random ? scatter(i, layout_.grains()) : i;
      if (layout_.place(grain).link == 1) grains_.push_back(grain);
    }
    require(grains_.size() == job.grains, "enough grains of the parent");
    for (const std::string& path : paths_)
      require(value_of(posix_file_system().open_write(path))->sync());
  }

  [[nodiscard]] const ChainLayout& layout() const { return layout_; }
  [[nodiscard]] const std::vector<std::string>& paths() const { return paths_; }
  [[nodiscard]] const std::vector<std::uint64_t>& grains() const { return grains_; }

  // Opened anew and read as any disk.
  void verify() const {
    const Disk disk = value_of(Disk::open(posix_file_system(), paths_.front(), {}));
    require(disk.check());
    std::vector<bool> patched(layout_.grains());
    for (const std::uint64_t grain : grains_) patched[grain] = true;
    std::vector<std::byte> stored(layout_.grain_bytes());
    std::vector<std::byte> expected(layout_.grain_bytes());
    for (std::uint64_t grain = 0; grain < layout_.grains(); ++grain) {
      fill_grain(grain, expected);
      if (patched[grain]) std::ranges::fill_n(expected.begin() + kPatchBegin, kPatchBytes, kPatch);
      require(disk.read_at(grain * layout_.grain_bytes(), stored));
      require(stored == expected, "bytes after a copy-up");
    }
  }

  static constexpr std::byte kPatch{0xa5};

 private:
  ChainLayout layout_;
  ScratchFolder folder_;
  std::vector<std::string> paths_;
  std::vector<std::uint64_t> grains_;
};

void time_grainmill_copy_up(benchmark::State& state, const Job& job) {
  const std::vector<std::byte> patch(kPatchBytes, CopyUpDisk::kPatch);
  time_runs(state, job, [&] {
    const CopyUpDisk files(job);
    DiskOptions options;
    options.open.mode = OpenMode::read_write;
    Disk disk = value_of(Disk::open(posix_file_system(), files.paths().front(), options));
    std::uint64_t done = 0;
    const Stopwatch watch(job);
    for (const std::uint64_t grain : files.grains()) {
      require(disk.write_at(grain * job.grain_bytes + kPatchBegin, patch));
      if (job.flush_is_due(++done)) require(disk.flush());
    }
    const double seconds = watch.seconds();
    require(disk.close());
    files.verify();
    return seconds;
  });
}

void copy_up(classic::Chain<classic::CountedCache>& chain, classic::Allocator& allocator,
             std::uint64_t grain, std::span<const std::byte> patch, std::span<std::byte> buffer) {
  const classic::Found found = value_of(chain.find(grain * buffer.size()));
  require(found.stored && found.link == 1, "a grain of the parent");
  require(chain.link(found.link).file().read_exact_at(found.file_offset, buffer));
  std::ranges::copy(patch, buffer.begin() + kPatchBegin);
  (void)value_of(allocator.allocate(grain, buffer));
}

void time_classic_copy_up(benchmark::State& state, const Job& job) {
  const std::vector<std::byte> patch(kPatchBytes, CopyUpDisk::kPatch);
  std::vector<std::byte> buffer(job.grain_bytes);
  time_runs(state, job, [&] {
    const CopyUpDisk files(job);
    const ChainLayout& layout = files.layout();
    std::vector<classic::Link<classic::CountedCache>> links;
    for (const std::string& path : files.paths())
      links.push_back(value_of(classic::Link<classic::CountedCache>::open(
          value_of(posix_file_system().open_write(path)),
          {layout.shape(), layout.directory_offset(), layout.redundant_directory_offset()})));
    classic::Chain<classic::CountedCache> chain(std::move(links));
    classic::Allocator allocator = value_of(classic::Allocator::open(chain.link(0)));
    std::uint64_t done = 0;
    const Stopwatch watch(job);
    for (const std::uint64_t grain : files.grains()) {
      copy_up(chain, allocator, grain, patch, buffer);
      if (job.flush_is_due(++done)) require(allocator.flush());
    }
    const double seconds = watch.seconds();
    files.verify();
    return seconds;
  });
}

using Time = void (*)(benchmark::State&, const Job&);
struct Scheme {
  const char* name;
  Time time;
};

constexpr Scheme kOurs{"grainmill", time_grainmill};
constexpr Scheme kClassic{"classic", time_classic};
constexpr Scheme kBare{"bare", time_bare};
constexpr Scheme kOursCopyUp{"grainmill", time_grainmill_copy_up};
constexpr Scheme kClassicCopyUp{"classic", time_classic_copy_up};

void add(const char* kind, const Job& job, std::initializer_list<Scheme> schemes) {
  for (const auto& [name, time] : schemes)
    benchmark::RegisterBenchmark(fmt::format("{}/{}/{}", kind, job.name(), name).c_str(), time, job)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
}

// The same payload for all sizes of grains, but where each is flushed: then as many syncs.
Job device_job(bool random, std::uint64_t grain_bytes, std::uint64_t flush_every) {
  Job job{true, random, grain_bytes, flush_every, 128};
  if (scale() == Scale::tiny) return job;
  const std::uint64_t mebibytes = scale() == Scale::full ? 64 : 16;
  job.grains =
      flush_every == 1 ? 4 * mebibytes : std::max(mebibytes * kMiB / grain_bytes, flush_every);
  return job;
}

void add_allocation() {
  const std::uint64_t in_memory = scale() == Scale::tiny   ? 4096
                                  : scale() == Scale::full ? 1 << 20
                                                           : 1 << 16;
  for (const bool random : {false, true})
    for (const std::uint64_t every : {kNever, kAtEnd, std::uint64_t{64}})
      add("alloc", {false, random, kDefaultGrainBytes, every, in_memory}, {kOurs, kClassic});
  for (const std::uint64_t grain_bytes : {4 * kKiB, 64 * kKiB})
    for (const bool random : {false, true})
      for (const std::uint64_t every : {1U, 64U, 4096U}) {
        if (every == 4096 && scale() != Scale::full) continue;
        add("alloc", device_job(random, grain_bytes, every), {kOurs, kClassic, kBare});
      }
}

void add_benchmarks() {
  add_allocation();
  const std::uint64_t copies = scale() == Scale::tiny ? 128 : 1024;
  for (const bool random : {false, true}) {
    add("copy-up", {false, random, kDefaultGrainBytes, kNever, copies},
        {kOursCopyUp, kClassicCopyUp});
    add("copy-up", device_job(random, kDefaultGrainBytes, 64), {kOursCopyUp, kClassicCopyUp});
  }
}

}  // namespace
}  // namespace grainmill::bench

int main(int argc, char** argv) {
  return grainmill::bench::run_benchmarks(argc, argv, grainmill::bench::add_benchmarks);
}
