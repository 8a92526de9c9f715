// SPDX-License-Identifier: Apache-2.0
#include "pipeline/resumable.h"

#include "engine/base/arith.h"
#include "engine/io/partial_files.h"
#include "engine/io/scratch_files.h"
#include "pipeline/refusals.h"
#include "pipeline/resume_journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace grainmill {
namespace {

using Clock = std::chrono::steady_clock;

// Syncing and noting a checkpoint may take so much of the time.
constexpr int kTimesItsCost = 10;
// The journal may take so little beside what is read.
constexpr std::uint64_t kTimesItsState = 64;

// Writes the manifest, and keeps the digests since the last checkpoint.
class CheckpointLog final : public GrainLog {
 public:
  explicit CheckpointLog(ManifestWriter& manifest) : manifest_(manifest) {}

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override {
    encoder_.add_zeros(grains);
    return manifest_.add_zeros(grains);
  }
  [[nodiscard]] Status add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> errors) override {
    std::array<std::byte, kDigest128Bytes> digest{};
    for (const GrainRecord& record : records) {
      store_digest(digest.data(), record.digest);
      if (record.kind == GrainRecord::Kind::zero)
        encoder_.add_zeros(1);
      else
        encoder_.add(digest);
    }
    return manifest_.add(records, leaves, errors);
  }

  [[nodiscard]] std::vector<std::byte> take_digests() {
    encoder_.finish();
    return std::exchange(digests_, {});
  }

 private:
  ManifestWriter& manifest_;
  std::vector<std::byte> digests_;
  RunEncoder encoder_{kDigest128Bytes, [this](std::span<const std::byte> record) {
                        digests_.insert(digests_.end(), record.begin(), record.end());
                      }};
};

// Where a range ends that begins at `begin` and holds so much data, at a multiple of `step`. Holes
// do not count: what stores nothing takes no time. What cannot be mapped is for others to report.
std::uint64_t range_end(const ChainMap& map, std::uint64_t begin, std::uint64_t step,
                        std::uint64_t data_bytes) {
  const std::uint64_t size = map.size_bytes();
  const std::uint64_t most = align_up(std::max(map.window_bytes(), data_bytes), step);
  std::uint64_t window = align_up(std::max<std::uint64_t>(data_bytes, 1), step);
  std::uint64_t left = data_bytes;
  ExtentList extents;
  for (std::uint64_t at = begin; at < size; window = std::min(2 * window, most)) {
    const std::uint64_t end = at + std::min(window, size - at);
    if (!map.compose(at, end - at, extents)) return end;
    for (const Extent& extent : extents) {
      if (extent.reads_as_zero()) continue;
      if (extent.length >= left) return std::min(size, align_up(extent.guest_offset + left, step));
      left -= extent.length;
    }
    at = end;
  }
  return size;
}

// All that makes another output, or shows that the source is not what it was. Device numbers do
// not: some file systems have another one after each boot. Nor does the manifest, which is written
// anew.
Result<std::vector<std::string>> identity_of(const Conversion& conversion) {
  const ConvertOptions& options = conversion.options;
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < conversion.disk.depth(); ++i) {
    const Link& link = conversion.disk.link(i);
    for (const File* file : link.files()) {
      GM_TRY(const FileInfo info, file->info());
      lines.push_back(
          fmt::format("source {}: link {}, {} bytes, mtime {}, ctime {}, inode {}, CID {:08x}",
                      name_of(file->path()), i, info.size_bytes, info.mtime_ns, info.ctime_ns,
                      info.inode, link.description().content_id.value_or(kNoContentId)));
    }
  }
  lines.push_back(fmt::format("read as {}{}, tables {}", conversion.disk.size_bytes(),
                              options.disk.format.empty() ? "" : " " + options.disk.format,
                              static_cast<int>(options.disk.open.tables)));
  lines.push_back(fmt::format("written as {}", options.output_format));
  for (const Setting& setting : options.settings)
    lines.push_back(fmt::format("-o {}={}", setting.name, setting.value));
  if (options.compress) lines.push_back("compressed, level " + options.level);
  lines.push_back(fmt::format("holes of {}", options.hole_bytes));
  return lines;
}

// The first line of one that the other has not.
std::string what_differs(std::span<const std::string> then, std::span<const std::string> now) {
  const auto [a, b] = std::ranges::mismatch(then, now);
  return fmt::format("was '{}', is '{}'", a == then.end() ? "" : *a, b == now.end() ? "" : *b);
}

class ResumableConversion {
 public:
  explicit ResumableConversion(const Conversion& conversion)
      : conversion_(conversion),
        options_(conversion.options),
        disk_(conversion.disk),
        partials_(conversion.files) {}

  Result<ConvertReport> run() {
    Result<ConvertReport> report = convert_disk();
    if (!report) return leave(std::move(report).error());
    static_cast<void>(conversion_.files.remove(journal_path_));
    return report;
  }

 private:
  Result<ConvertReport> convert_disk() {
    GM_CHECK(open_journal());
    GM_TRY(const bool goes_on, try_to_go_on());
    if (!goes_on) GM_CHECK(begin_anew());
    GM_CHECK(move_data());
    GM_TRY(ConvertReport report, finish_output(conversion_, *sink_, *manifest_));
    report.resumed_bytes = proven_;
    report.warnings.insert(report.warnings.end(), warnings_.begin(), warnings_.end());
    return report;
  }

  Status open_journal() {
    if (options_.in_place || options_.output == kStandardOutputName ||
        conversion_.files.is_block_device(options_.output))
      return fail(ErrorKind::invalid_argument, options_.output,
                  "what is written in place, or to a stream, cannot be gone on with: leave out "
                  "--resume");
    journal_path_ = resume_journal_path(link_target(conversion_.files, options_.output));
    GM_CHECK(refuse_source_as_output(conversion_.files, disk_, journal_path_));
    GM_TRY(ResumeJournal journal,
           ResumeJournal::open(conversion_.files, journal_path_, options_.durability));
    journal_.emplace(std::move(journal));
    GM_TRY(identity_, identity_of(conversion_));
    return {};
  }

  // Makes the output as it would be if it ended with the last checkpoint, in memory: where it
  // reads as the journal says, it is gone on with.
  Result<bool> try_to_go_on() {
    ScratchFiles scratch(partials_);
    GM_TRY(std::unique_ptr<Sink> sink, begin_output(conversion_, scratch));
    for (const std::string& path : sink->outputs().paths())
      GM_CHECK(refuse_source_as_output(conversion_.files, disk_,
                                       partial_path(link_target(conversion_.files, path))));
    owns_partials_ = true;
    step_ = shape_for(disk_, crypto_digest_bytes(options_.graph.crypto), sink->shape()).guest_bytes;
    if (!is_of_this_conversion()) return false;
    GM_TRY(manifest_, PendingManifest::begin(conversion_));
    log_.emplace(manifest_->writer());
    Checkpoint last;
    const Status proven = [&] -> Status {
      GM_TRY(last, journal_->read(journal_->checkpoints() - 1));
      GM_CHECK(sink->restore(last.guest_end, last.state));
      GM_CHECK(sink->finish());
      sink.reset();
      return prove(scratch);
    }();
    sink.reset();
    if (!proven && proven.error().kind == ErrorKind::cancelled)
      return std::unexpected(proven.error());
    if (!proven) {
      warn(proven.error().to_string());
      return false;
    }
    GM_TRY(sink_, begin_output(conversion_, partials_));
    GM_CHECK(sink_->restore(last.guest_end, last.state));
    position_ = proven_ = last.guest_end;
    return true;
  }

  bool is_of_this_conversion() {
    if (!journal_->has_identity()) return false;
    if (!std::ranges::equal(journal_->identity(), identity_)) {
      if (journal_->checkpoints() != 0) warn(what_differs(journal_->identity(), identity_));
      return false;
    }
    for (std::size_t i = 0; i < journal_->checkpoints(); ++i) {
      const std::uint64_t end = journal_->guest_end(i);
      if (end > disk_.size_bytes() || (end != disk_.size_bytes() && end % step_ != 0)) return false;
    }
    return journal_->checkpoints() != 0;
  }

  void warn(const std::string& reason) {
    warnings_.push_back(fmt::format(
        "{}: what an earlier call wrote cannot be gone on with, and is written anew: {}",
        options_.output, reason));
  }

  // Reads back what was written, and holds it against the journal. What is read goes to the
  // manifest as well.
  Status prove(FileSystem& files) {
    DiskOptions options;
    options.format = options_.output_format;
    GM_TRY(const Disk written, Disk::open(files, options_.output, options));
    if (written.size_bytes() != disk_.size_bytes())
      return fail(ErrorKind::mismatch, "",
                  fmt::format("is a disk of {} bytes", written.size_bytes()));
    GM_CHECK(written.check());
    GraphOptions graph = graph_from(0);
    graph.memory_bytes = std::max(
        graph.memory_bytes, shape_for(written, crypto_digest_bytes(graph.crypto)).memory_bytes());
    for (std::size_t i = 0; i < journal_->checkpoints(); ++i) {
      GM_TRY(const Checkpoint checkpoint, journal_->read(i));
      graph.range.end = checkpoint.guest_end;
      GM_CHECK(prove_range(written, graph, checkpoint.digests));
      graph.range.begin = checkpoint.guest_end;
      data_bytes_ = progress_.data_bytes;
    }
    return {};
  }

  Status prove_range(const Disk& written, const GraphOptions& graph,
                     std::span<const std::byte> digests) {
    Status read = run_graph(written, nullptr, *log_, graph);
    if (read && !std::ranges::equal(log_->take_digests(), digests))
      read = fail(ErrorKind::mismatch, "", "it holds something else than was written");
    if (!read)
      read.error().message +=
          fmt::format(" (guest range {:#x} to {:#x})", graph.range.begin, graph.range.end);
    return read;
  }

  Status begin_anew() {
    GM_CHECK(journal_->begin(identity_, options_.durability));
    partials_.begin_anew();
    progress_ = {};
    data_bytes_ = 0;
    GM_TRY(manifest_, PendingManifest::begin(conversion_));
    log_.emplace(manifest_->writer());
    GM_TRY(sink_, begin_output(conversion_, partials_));
    return {};
  }

  Status move_data() {
    GraphOptions graph = graph_from(position_);
    checkpointed_ = Clock::now();
    std::uint64_t saved_data = data_bytes_;
    while (position_ < disk_.size_bytes()) {
      graph.range = {position_,
                     range_end(disk_.map(), position_, step_, options_.checkpoints.data_bytes)};
      GM_CHECK(run_graph(disk_, sink_.get(), *log_, graph));
      position_ = graph.range.end;
      data_bytes_ = progress_.data_bytes;
      if (!is_due()) continue;
      std::vector<std::byte> state = sink_->save();
      if (options_.checkpoints.interval.count() != 0 &&
          data_bytes_ - saved_data < kTimesItsState * state.size())
        continue;
      GM_CHECK(add_checkpoint(std::move(state)));
      saved_data = data_bytes_;
    }
    return {};
  }

  [[nodiscard]] bool is_due() const {
    const Clock::duration passed = Clock::now() - checkpointed_;
    return options_.checkpoints.interval.count() == 0 ||
           (passed >= options_.checkpoints.interval && passed >= kTimesItsCost * cost_);
  }

  Status add_checkpoint(std::vector<std::byte> state) {
    const Clock::time_point start = Clock::now();
    if (options_.durability == Durability::synced) GM_CHECK(sink_->outputs().sync());
    GM_CHECK(
        journal_->append({position_, log_->take_digests(), std::move(state)}, options_.durability));
    checkpointed_ = Clock::now();
    cost_ = checkpointed_ - start;
    return {};
  }

  // Progress is of all ranges together.
  GraphOptions graph_from(std::uint64_t begin) {
    GraphOptions graph = options_.graph;
    graph.range.begin = begin;
    graph.on_progress = [this](const Progress& progress) {
      progress_ = progress;
      progress_.data_bytes += data_bytes_;
      if (options_.graph.on_progress) options_.graph.on_progress(progress_);
    };
    return graph;
  }

  // What is kept after a failure, and what is not.
  std::unexpected<Error> leave(Error error) {
    if (!journal_) return std::unexpected(std::move(error));
    const bool is_damage = error.kind == ErrorKind::corrupt ||
                           error.kind == ErrorKind::unsupported ||
                           error.kind == ErrorKind::mismatch;
    if (journal_->checkpoints() != 0 && !(is_damage && sink_)) {
      if (error.kind == ErrorKind::io || error.kind == ErrorKind::no_space ||
          error.kind == ErrorKind::cancelled)
        error.message += fmt::format(
            "; what was written of {} is kept, hidden beside it: the same command goes on from "
            "there",
            options_.output);
      return std::unexpected(std::move(error));
    }
    sink_.reset();
    static_cast<void>(conversion_.files.remove(journal_path_));
    if (owns_partials_) partials_.remove_partials();
    return std::unexpected(std::move(error));
  }

  const Conversion& conversion_;
  const ConvertOptions& options_;
  const Disk& disk_;
  PartialFiles partials_;
  bool owns_partials_ = false;  // none of them is part of the source
  std::string journal_path_;
  std::optional<ResumeJournal> journal_;
  std::vector<std::string> identity_;
  std::vector<std::string> warnings_;

  std::optional<PendingManifest> manifest_;
  std::optional<CheckpointLog> log_;
  std::unique_ptr<Sink> sink_;
  std::uint64_t step_ = 0;      // checkpoints lie at multiples of it, or at the end
  std::uint64_t position_ = 0;  // all before it is written
  std::uint64_t proven_ = 0;    // of it, what was there before
  Progress progress_;
  std::uint64_t data_bytes_ = 0;  // of the ranges before the one at work
  Clock::time_point checkpointed_;
  Clock::duration cost_{};  // of the last checkpoint
};

}  // namespace

std::string resume_journal_path(const std::string& output) {
  const std::string name = name_of(output);
  return output.substr(0, output.size() - name.size()) + "." + name + ".journal";
}

Result<ConvertReport> convert_resumable(const Conversion& conversion) {
  return ResumableConversion(conversion).run();
}

}  // namespace grainmill
