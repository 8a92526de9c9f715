// SPDX-License-Identifier: Apache-2.0
#include "pipeline/measure.h"

#include "engine/base/arith.h"
#include "pipeline/counting_files.h"
#include "pipeline/plan.h"
#include "pipeline/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace grainmill {
namespace {

// Large, because nothing is read: a unit is only as much as is asked of the map at once.
constexpr std::uint64_t kUnitBytes = 4 * kMiB;

class NoLog final : public GrainLog {
 public:
  [[nodiscard]] Status add_zeros(std::uint64_t /*grains*/) override { return {}; }
  [[nodiscard]] Status add(std::span<const GrainRecord> /*records*/,
                           std::span<const std::byte> /*leaves*/,
                           std::span<const std::optional<Error>> /*errors*/) override {
    return {};
  }
};

// The blocks that a sink would get at most: each of its units, as large as it can become.
class WorstEncoder final : public Encoder {
 public:
  explicit WorstEncoder(const SinkShape& shape)
      : unit_bytes_(shape.unit_bytes), block_(std::max(shape.unit_bytes, shape.room_bytes)) {}

  [[nodiscard]] Status encode(Piece& piece) override {
    if (piece.zero) return {};
    for (std::uint64_t at = 0; at < piece.length; at += unit_bytes_)
      piece.blocks.push_back({.guest_offset = piece.guest_offset + at, .bytes = block_});
    return {};
  }

 private:
  std::uint64_t unit_bytes_;
  std::vector<std::byte> block_;
};

// An output that leaves nothing but its size.
class MeasuredOutput {
 public:
  [[nodiscard]] static Result<MeasuredOutput> make(const std::string& format_name,
                                                   const SinkOptions& sink) {
    const Format* format = format_by_name(format_name);
    if (format == nullptr || format->make_sink == nullptr)
      return fail(ErrorKind::invalid_argument, "",
                  fmt::format("format '{}' cannot be written", format_name));
    MeasuredOutput output;
    GM_TRY(output.sink_, format->make_sink(*output.files_, sink));
    return output;
  }
  [[nodiscard]] static Result<MeasuredOutput> make(const MeasureOptions& options,
                                                   std::uint64_t disk_bytes) {
    SinkOptions sink = options.sink;
    sink.path = "output";
    sink.size_bytes = disk_bytes;
    return make(options.output_format, sink);
  }

  [[nodiscard]] Sink& sink() { return *sink_; }
  // No more than it needs: what a piece may hold is its length alone.
  [[nodiscard]] UnitShape unit_shape() const {
    const std::uint64_t step = std::max(kDigestGrain, sink_->shape().unit_bytes);
    return {.guest_bytes = std::max(kUnitBytes, step), .step_bytes = step};
  }

  [[nodiscard]] Result<std::uint64_t> finish() {
    GM_CHECK(sink_->finish());
    return files_->space_bytes();
  }

 private:
  std::unique_ptr<CountingFiles> files_ = std::make_unique<CountingFiles>();
  std::unique_ptr<Sink> sink_;
};

// Stores, as if all were data that does not shrink, what `next` fills units with.
template <typename Next>
Result<std::uint64_t> measure_worst(MeasuredOutput output, const Next& next) {
  Sink& sink = output.sink();
  const SinkShape shape = sink.shape();
  Unit unit(output.unit_shape());
  std::ranges::fill(unit.guest.bytes(), std::byte{1});  // so that no encoder takes it for zeros
  unit.encoder =
      shape.order == SinkOrder::any ? sink.make_encoder() : std::make_unique<WorstEncoder>(shape);
  while (next(unit)) {
    if (!unit.zero) unit.records.assign(1, {GrainRecord::Kind::data, {}});
    encode(unit, shape);
    place(unit, sink);
    write(unit);
    if (!unit.status) return std::unexpected(unit.status.error());
  }
  return output.finish();
}

Result<std::uint64_t> measure_allocated(const Disk& disk, MeasuredOutput output) {
  // No compressed grain of the source is read, so there may be any number in a unit.
  UnitShape shape = output.unit_shape();
  shape.stored_bytes = std::numeric_limits<std::uint64_t>::max() / 2;
  Planner planner(disk.map(), shape);
  return measure_worst(std::move(output), [&](Unit& unit) { return planner.next(unit); });
}

Result<std::uint64_t> measure_full(std::uint64_t disk_bytes, MeasuredOutput output) {
  const std::uint64_t step = output.unit_shape().guest_bytes;
  std::uint64_t at = 0;
  return measure_worst(std::move(output), [&](Unit& unit) {
    unit.reset();
    unit.guest_offset = at;
    unit.length = std::min(step, disk_bytes - at);
    at += unit.length;
    return unit.length != 0;
  });
}

Result<std::uint64_t> measure_disk(FileSystem& files, const MeasureOptions& options,
                                   std::uint64_t& disk_bytes) {
  GM_TRY(const Disk disk, Disk::open(files, *options.source, options.disk));
  GM_CHECK(disk.check());
  disk_bytes = disk.size_bytes();
  GM_TRY(MeasuredOutput output, MeasuredOutput::make(options, disk_bytes));
  if (!options.exact) return measure_allocated(disk, std::move(output));
  NoLog log;
  GM_CHECK(run_graph(disk, &output.sink(), log, options.graph));
  return output.finish();
}

}  // namespace

Result<OutputSize> measure(FileSystem& files, const MeasureOptions& options) {
  OutputSize size;
  std::uint64_t disk_bytes = options.size_bytes.value_or(0);
  if (options.source) {
    GM_TRY(size.required_bytes, measure_disk(files, options, disk_bytes));
  } else {
    GM_TRY(MeasuredOutput empty, MeasuredOutput::make(options, disk_bytes));
    GM_TRY(size.required_bytes, empty.finish());
  }
  GM_TRY(MeasuredOutput full, MeasuredOutput::make(options, disk_bytes));
  GM_TRY(size.fully_allocated_bytes, measure_full(disk_bytes, std::move(full)));
  return size;
}

Result<std::uint64_t> measure_open_disk(const Disk& disk, const std::string& output_format,
                                        const SinkOptions& sink) {
  SinkOptions options = sink;
  options.path = "output";
  options.size_bytes = disk.size_bytes();
  GM_TRY(MeasuredOutput output, MeasuredOutput::make(output_format, options));
  return measure_allocated(disk, std::move(output));
}

Result<std::vector<std::string>> output_paths(const std::string& output_format,
                                              const SinkOptions& sink) {
  GM_TRY(MeasuredOutput output, MeasuredOutput::make(output_format, sink));
  return output.sink().outputs().paths();
}

}  // namespace grainmill
