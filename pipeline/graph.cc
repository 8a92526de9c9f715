// SPDX-License-Identifier: Apache-2.0
#include "pipeline/graph.h"

#include "pipeline/stages.h"

#include <fmt/format.h>
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <vector>

namespace grainmill {
namespace {

namespace flow = oneapi::tbb::flow;

// More units than this for each thread do not make it faster, only the caches colder.
constexpr std::uint64_t kUnitsPerThread = 4;

// With so many of the units waiting to be written, the writer has enough to do while others help.
constexpr std::uint64_t kLongQueueEighths = 5;

// No exception may cross a node: one that did would cancel the graph with units still on their way.
template <typename Body>
void guarded(Unit& unit, const Body& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    unit.status = fail(ErrorKind::io, "", "out of memory");
  } catch (const std::exception& error) {
    unit.status = fail(ErrorKind::io, "", fmt::format("internal error: {}", error.what()));
  }
}

// The graph. Units go round in it: the recorder hands each one back to the planner. Their number is
// what bounds memory; nothing else is admitted, and no node can reject what it is given.
//
//   plan -> fetch -> decode -> digest -> encode -> [line up -> place ->] beside
//     ^                                                                    |
//     +---------------------------- record <- order <- write <-------------+
class Mill {
 public:
  Mill(const Disk& disk, Sink* sink, GrainLog& log, const GraphOptions& options,
       const UnitShape& shape)
      : map_(disk.map()),
        sink_(sink),
        output_(sink != nullptr ? sink->shape() : SinkShape{}),
        log_(log),
        options_(options),
        planner_(disk.map(), shape, options.range) {}

  Status run(std::vector<std::unique_ptr<Unit>>& units, unsigned threads) {
    // One thread alone has nobody to wait for.
    if (threads > 1) long_queue_ = std::max<std::size_t>(units.size() * kLongQueueEighths / 8, 1);
    flow::make_edge(flow::output_port<0>(plan_), fetch_);
    flow::make_edge(fetch_, decode_);
    flow::make_edge(decode_, digest_);
    flow::make_edge(digest_, encode_);
    if (output_.order == SinkOrder::any) {
      flow::make_edge(encode_, beside_);
    } else {
      flow::make_edge(encode_, line_up_);
      flow::make_edge(line_up_, place_);
      flow::make_edge(place_, beside_);
    }
    flow::make_edge(beside_, write_);
    flow::make_edge(write_, order_);
    flow::make_edge(order_, record_);
    flow::make_edge(record_, plan_);
    for (const std::unique_ptr<Unit>& unit : units) plan_.try_put(unit.get());
    graph_.wait_for_all();
    if (result_ && is_cancelled()) return fail(ErrorKind::cancelled, "", "cancelled");
    return result_;
  }

 private:
  using PlanNode = flow::multifunction_node<Unit*, std::tuple<Unit*>>;
  using StageNode = flow::function_node<Unit*, Unit*>;

  [[nodiscard]] bool is_cancelled() const {
    return options_.cancelled != nullptr && options_.cancelled->load();
  }

  // Only the serial nodes plan_ and record_ touch stop_, and they may run at the same time.
  void plan(Unit* unit, PlanNode::output_ports_type& ports) {
    if (stop_.load() || is_cancelled()) return;
    bool more = true;
    guarded(*unit, [&] { more = planner_.next(*unit); });
    if (more) std::get<0>(ports).try_put(unit);
  }

  void digest_unit(Unit& unit) {
    digest(unit, options_.crypto);
    if (unit.status || !options_.collect_errors) return;
    if (sink_ != nullptr)
      give_up(unit);
    else
      salvage(unit, map_, options_.crypto);
  }

  void place_unit(Unit& unit) {
    if (lost_) return unit.piece.reset();
    place(unit, *sink_);
    if (output_.order == SinkOrder::ascending) {
      write(unit);
      unit.piece.reset();
    }
    lost_ = !unit.status;
  }

  void record(Unit& unit) {
    if (stop_.load()) return;
    if (unit.status) unit.status = log(unit);
    if (!unit.status) {
      result_ = unit.status;
      stop_.store(true);
      return;
    }
    progress_.guest_bytes = unit.guest_offset + unit.length;
    progress_.disk_bytes = map_.size_bytes();
    if (!unit.zero) progress_.data_bytes += unit.length;
    if (options_.on_progress) options_.on_progress(progress_);
  }

  Status log(const Unit& unit) {
    if (unit.zero)
      return log_.add_zeros(unit.length / kDigestGrain + (unit.length % kDigestGrain != 0 ? 1 : 0));
    return log_.add(unit.records, unit.leaves, unit.grain_errors);
  }

  // A node hands its successor's task straight to the scheduler, which runs it next in the same
  // thread: the bytes are still in its cache. (Not `lightweight`: a node runs such successors
  // while it holds its write lock, one unit at a time; two threads then took as long as one.)
  template <typename Body>
  StageNode stage(Body body) {
    return StageNode(graph_, flow::unlimited, [body](Unit* unit) noexcept {
      // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): nodes are given units only.
      guarded(*unit, [&] { body(*unit); });
      return unit;
    });
  }

  const ChainMap& map_;
  Sink* sink_;
  SinkShape output_;
  GrainLog& log_;
  const GraphOptions& options_;
  Planner planner_;
  std::atomic<bool> stop_ = false;
  bool lost_ = false;  // place_ alone: a unit is missing in the output, so all later ones are void
  Status result_;
  Progress progress_;
  std::atomic<std::size_t> queued_ = 0;  // between encode_ and the end of write_
  std::size_t long_queue_ = std::numeric_limits<std::size_t>::max();

  flow::graph graph_;
  PlanNode plan_{graph_, flow::serial,
                 [this](Unit* unit, PlanNode::output_ports_type& ports) { plan(unit, ports); }};
  StageNode fetch_ = stage([](Unit& unit) { fetch(unit); });
  StageNode decode_ = stage([this](Unit& unit) { decode(unit, map_); });
  StageNode digest_ = stage([this](Unit& unit) { digest_unit(unit); });
  StageNode encode_ = stage([this](Unit& unit) {
    if (sink_ != nullptr) encode(unit, output_);
  });
  flow::sequencer_node<Unit*> line_up_{graph_, [](Unit* unit) { return unit->sequence; }};
  flow::function_node<Unit*, Unit*> place_{graph_, flow::serial, [this](Unit* unit) {
                                             guarded(*unit, [&] { place_unit(*unit); });
                                             return unit;
                                           }};
  // Where writing is all that is left to do, more threads than one can do it.
  StageNode beside_ = stage([this](Unit& unit) {
    if (queued_.fetch_add(1) >= long_queue_) write_beside(unit);
  });
  // One at a time, for that is how the kernel lets threads write to a file: a second one would not
  // sleep but spin in its lock, instead of inflating the next unit.
  StageNode write_ = StageNode(graph_, flow::serial, [this](Unit* unit) noexcept {
    guarded(*unit, [&] { write(*unit); });
    queued_.fetch_sub(1);
    return unit;
  });
  flow::sequencer_node<Unit*> order_{graph_, [](Unit* unit) { return unit->sequence; }};
  flow::function_node<Unit*, Unit*> record_{graph_, flow::serial, [this](Unit* unit) {
                                              guarded(*unit, [&] { record(*unit); });
                                              return unit;
                                            }};
};

}  // namespace

Status run_graph(const Disk& disk, Sink* sink, GrainLog& log, const GraphOptions& options) {
  const UnitShape shape = shape_for(disk, crypto_digest_bytes(options.crypto),
                                    sink != nullptr ? sink->shape() : SinkShape{});
  const unsigned threads = options.threads != 0
                               ? options.threads
                               : static_cast<unsigned>(oneapi::tbb::info::default_concurrency());
  const std::uint64_t affordable = options.memory_bytes / shape.memory_bytes();
  if (affordable == 0)
    return fail(
        ErrorKind::invalid_argument, disk.link(0).files().front()->path(),
        fmt::format("this disk needs {} of memory at least, {} were allowed: raise --memory",
                    format_size(shape.memory_bytes()), format_size(options.memory_bytes)));

  std::vector<std::unique_ptr<Unit>> units(
      std::min<std::uint64_t>(affordable, threads * kUnitsPerThread));
  for (std::unique_ptr<Unit>& unit : units) {
    unit = std::make_unique<Unit>(shape);
    if (sink != nullptr) unit->encoder = sink->make_encoder();
  }

  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                          std::max(threads, 1U));
  oneapi::tbb::task_arena arena(static_cast<int>(threads));
  return arena.execute([&] { return Mill(disk, sink, log, options, shape).run(units, threads); });
}

}  // namespace grainmill
