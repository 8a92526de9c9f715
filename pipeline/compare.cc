// SPDX-License-Identifier: Apache-2.0
#include "pipeline/compare.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"
#include "pipeline/compare_plan.h"
#include "pipeline/plan.h"

#include <fmt/format.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

// More windows than this for each thread do not make it faster, only the caches colder.
constexpr std::uint64_t kWindowsPerThread = 2;

// Small enough that no thread waits long for the last one, large enough that empty disks cost
// nothing.
constexpr std::uint64_t kWindowBytes = 32 * kMiB;

// Takes what is found, in guest order, and makes the report of it.
class DifferenceLog {
 public:
  DifferenceLog(const CompareOptions& options, CompareReport& report)
      : options_(options), report_(report) {}

  // Fails where the comparison ends with an error.
  [[nodiscard]] Status add(DiskDifference&& difference) {
    const bool readable = difference.kind != DiskDifference::Kind::unreadable;
    if (!readable && !options_.all) return std::unexpected(*std::move(difference.error));
    if (!readable && !report_.unreadable) report_.unreadable = difference.error;
    if (readable && !report_.first) report_.first = difference;
    if (!options_.all) return {};
    bytes_of(difference.kind) += difference.length;
    if (pending_.length != 0 && pending_.kind == difference.kind &&
        pending_.guest_offset + pending_.length == difference.guest_offset) {
      pending_.length += difference.length;
    } else {
      flush();
      pending_ = std::move(difference);
    }
    return {};
  }

  // Reports the last range.
  void flush() {
    if (pending_.length != 0) options_.on_difference(pending_);
    pending_ = {};
  }

  // Whether nothing that comes now can change the result.
  [[nodiscard]] bool is_decided() const { return !options_.all && report_.first.has_value(); }

 private:
  std::uint64_t& bytes_of(DiskDifference::Kind kind) {
    switch (kind) {
      case DiskDifference::Kind::allocation:
        return report_.differently_stored_bytes;
      case DiskDifference::Kind::contents:
        return report_.differing_bytes;
      case DiskDifference::Kind::unreadable:
        break;
    }
    return report_.unreadable_bytes;
  }

  const CompareOptions& options_;
  CompareReport& report_;
  DiskDifference pending_;
};

// The shapes of the units of both disks: of the same guest bytes, each with room for its own
// blocks.
struct PairShape {
  UnitShape one;
  UnitShape other;

  PairShape(const Disk& one_disk, const Disk& other_disk)
      : one(shape_for(one_disk, 0)), other(shape_for(other_disk, 0)) {
    const std::uint64_t guest_bytes = std::max(one.guest_bytes, other.guest_bytes);
    for (UnitShape* shape : {&one, &other}) {
      if (shape->stored_bytes != 0) shape->stored_bytes += guest_bytes - shape->guest_bytes;
      shape->guest_bytes = guest_bytes;
    }
  }
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return one.memory_bytes() + other.memory_bytes();
  }
};

// What a thread needs to compare a window of both disks, and what it found there.
struct CompareWindow {
  CompareWindow(ComparePlanner the_planner, const PairShape& shape)
      : planner(std::move(the_planner)), pair(shape.one, shape.other) {}

  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  ComparePlanner planner;
  UnitPair pair;  // goes through the window
  std::vector<DiskDifference> found;
  std::uint64_t data_bytes = 0;  // that were read of one disk at least
  Status status;                 // what made further work impossible
};

// Both disks on their way, a window at a time: a thread plans, reads and compares a window from its
// begin to its end, so that nothing is handed over and every byte is compared in the cache of the
// core that read it. That is a pipeline of three filters; it does not branch and nothing in it
// waits for a neighbour but the report, so it is no part of the graph. Windows are tokens; their
// number bounds memory as that of the graph's units does. The window that became free last is used
// next, for its memory is still in a cache.
class Comparison {
 public:
  Comparison(const Disk& one, const Disk& other, const CompareOptions& options,
             CompareReport& report)
      : one_(one.map()), other_(other.map()), options_(options), log_(options, report) {
    progress_.disk_bytes = std::max(one_.size_bytes(), other_.size_bytes());
  }

  Status run(std::vector<std::unique_ptr<CompareWindow>>& windows, std::uint64_t window_bytes) {
    for (const std::unique_ptr<CompareWindow>& window : windows) free_.push_back(window.get());
    window_bytes_ = window_bytes;
    namespace tbb = oneapi::tbb;
    const auto plan = [this](tbb::flow_control& control) noexcept { return next(control); };
    const auto work = [this](CompareWindow* window) noexcept {
      guarded(*window, [&] { compare_window(*window); });
      return window;
    };
    const auto record = [this](CompareWindow* window) noexcept { take(*window); };
    using tbb::filter_mode;
    tbb::parallel_pipeline(
        windows.size(),
        tbb::make_filter<void, CompareWindow*>(filter_mode::serial_in_order, plan) &
            tbb::make_filter<CompareWindow*, CompareWindow*>(filter_mode::parallel, work) &
            tbb::make_filter<CompareWindow*, void>(filter_mode::serial_in_order, record));
    GM_CHECK(result_);
    if (!log_.is_decided() && is_cancelled()) return fail(ErrorKind::cancelled, "", "cancelled");
    log_.flush();
    return {};
  }

 private:
  // No exception may leave a filter: windows on their way would be lost.
  template <typename Body>
  static void guarded(CompareWindow& window, const Body& body) {
    try {
      body();
    } catch (const std::bad_alloc&) {
      window.status = fail(ErrorKind::io, "", "out of memory");
    } catch (const std::exception& error) {
      window.status = fail(ErrorKind::io, "", fmt::format("internal error: {}", error.what()));
    }
  }

  [[nodiscard]] bool is_cancelled() const {
    return options_.graph.cancelled != nullptr && options_.graph.cancelled->load();
  }

  CompareWindow* next(oneapi::tbb::flow_control& control) {
    if (position_ == progress_.disk_bytes || stop_.load() || is_cancelled()) {
      control.stop();
      return nullptr;
    }
    CompareWindow* window = nullptr;
    {
      // There is a free one, for there are no more tokens than windows.
      const std::lock_guard lock(mutex_);
      window = free_.back();
      free_.pop_back();
    }
    window->begin = position_;
    window->end = std::min(position_ + window_bytes_, progress_.disk_bytes);
    position_ = window->end;
    return window;
  }

  void compare_window(CompareWindow& window) const {
    window.found.clear();
    window.data_bytes = 0;
    window.status = {};
    if (Status started = window.planner.start(window.begin, window.end); !started) {
      window.found.push_back({.kind = DiskDifference::Kind::unreadable,
                              .guest_offset = window.begin,
                              .length = window.end - window.begin,
                              .error = std::move(started).error()});
      return;
    }
    UnitPair& pair = window.pair;
    while ((options_.all || window.found.empty()) && !stop_.load() && window.planner.next(pair)) {
      if (is_cancelled()) {
        window.status = fail(ErrorKind::cancelled, "", "cancelled");
        return;
      }
      compare_pair(pair, one_, other_, options_.all);
      for (const ComparedPart& part : pair.parts) window.data_bytes += part.length;
      std::ranges::move(pair.found, std::back_inserter(window.found));
    }
  }

  // In guest order.
  void take(CompareWindow& window) {
    if (!stop_.load()) {
      guarded(window, [&] { log(window); });
      if (!window.status) result_ = window.status;
      if (!window.status || log_.is_decided()) stop_.store(true);
    }
    const std::lock_guard lock(mutex_);
    free_.push_back(&window);
  }

  void log(CompareWindow& window) {
    for (DiskDifference& difference : window.found) {
      if (!window.status || log_.is_decided()) break;
      window.status = log_.add(std::move(difference));
    }
    if (!window.status || log_.is_decided()) return;
    progress_.guest_bytes = window.end;
    progress_.data_bytes += window.data_bytes;
    if (options_.graph.on_progress) options_.graph.on_progress(progress_);
  }

  const ChainMap& one_;
  const ChainMap& other_;
  const CompareOptions& options_;
  DifferenceLog log_;
  Progress progress_;
  std::uint64_t window_bytes_ = 0;
  std::uint64_t position_ = 0;  // windows before it were given out
  std::atomic<bool> stop_ = false;
  Status result_;

  std::mutex mutex_;
  std::vector<CompareWindow*> free_;
};

Status run_comparison(const Disk& one, const Disk& other, const CompareOptions& options,
                      CompareReport& report) {
  FileIdentities files;
  for (const Disk* disk : {&one, &other})
    for (std::size_t i = 0; i < disk->depth(); ++i)
      for (const File* file : disk->link(i).files()) GM_CHECK(files.add(*file));
  const PairShape shape(one, other);
  const GraphOptions& graph = options.graph;
  const unsigned threads = graph.threads != 0
                               ? graph.threads
                               : static_cast<unsigned>(oneapi::tbb::info::default_concurrency());
  const std::uint64_t affordable = graph.memory_bytes / shape.memory_bytes();
  if (affordable == 0)
    return fail(ErrorKind::invalid_argument, options.one,
                fmt::format("comparing it with {} needs {} of memory at least, {} were allowed: "
                            "raise --memory",
                            options.other, format_size(shape.memory_bytes()),
                            format_size(graph.memory_bytes)));
  const ComparePlanner planner(one.map(), other.map(), files, shape.one.guest_bytes,
                               options.strict);
  std::vector<std::unique_ptr<CompareWindow>> windows(
      std::min<std::uint64_t>(affordable, threads * kWindowsPerThread));
  for (std::unique_ptr<CompareWindow>& window : windows)
    window = std::make_unique<CompareWindow>(planner, shape);
  const std::uint64_t window_bytes =
      align_up(std::min({kWindowBytes, one.map().window_bytes(), other.map().window_bytes()}),
               shape.one.guest_bytes);

  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                          threads);
  oneapi::tbb::task_arena arena(static_cast<int>(threads));
  return arena.execute(
      [&] { return Comparison(one, other, options, report).run(windows, window_bytes); });
}

// Where a raw disk was not said to be one, the message names the option of the first disk.
Result<Disk> open_other(FileSystem& files, const CompareOptions& options) {
  Result<Disk> other = Disk::open(files, options.other, options.other_disk);
  if (!other && other.error().kind == ErrorKind::unsupported && options.other_disk.format.empty())
    other.error().message += " (-F for the second disk)";
  return other;
}

}  // namespace

Result<CompareReport> compare(FileSystem& files, const CompareOptions& options) {
  GM_TRY(const Disk one, Disk::open(files, options.one, options.one_disk));
  GM_TRY(const Disk other, open_other(files, options));

  // Read all tables. From here on the maps are believed.
  GM_CHECK(one.check());
  GM_CHECK(other.check());

  CompareReport report;
  report.one_format = one.link(0).description().format;
  report.other_format = other.link(0).description().format;
  report.one_bytes = one.size_bytes();
  report.other_bytes = other.size_bytes();
  report.wrong_size = options.strict && report.one_bytes != report.other_bytes;
  if (report.wrong_size && !options.all) return report;
  GM_CHECK(run_comparison(one, other, options, report));
  return report;
}

}  // namespace grainmill
