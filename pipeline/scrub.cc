// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scrub.h"

#include "pipeline/scrub_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace grainmill {
namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::size_t kHistory = 60;  // verdicts of an image in a report

std::string joined(std::vector<std::string> folders) {
  std::ranges::sort(folders);
  std::string text;
  for (const std::string& folder : folders) text += (text.empty() ? "" : "\n") + folder;
  return text;
}

// What is known of one image.
struct Known {
  ImageRow row;
  std::vector<ChunkRow> chunks;  // of the manifest that holds, if there is one
};

class Scrub {
 public:
  Scrub(FileSystem& files, const ScrubOptions& options, Catalogue& catalogue, FoundImages found)
      : files_(files),
        options_(options),
        catalogue_(catalogue),
        found_(std::move(found)),
        throttle_(options.clock, options.bytes_per_second, options.graph.cancelled) {}

  Result<ScrubReport> run() {
    const std::string folders = joined(found_.folders);
    report_.begun = options_.clock.now();
    GM_TRY(const RunRow row, catalogue_.begin_run(folders, report_.begun));
    report_.run = row.id;
    report_.resumed = row.resumed;
    report_.begun = row.begun;
    report_.within = options_.within;
    ScrubRun shared{files_, options_, catalogue_, throttle_, row};
    GM_CHECK(load());
    GM_CHECK(note_absent());
    GM_CHECK(plan_share(folders));
    GM_CHECK(scrub_all(shared));
    if (report_.stop == ScrubStop::done || (options_.within && report_.stop == ScrubStop::hours))
      GM_CHECK(catalogue_.end_run(report_.run, options_.clock.now()));
    GM_CHECK(catalogue_.save());
    GM_CHECK(make_report());
    return std::move(report_);
  }

 private:
  [[nodiscard]] std::int64_t now() const { return options_.clock.now(); }

  // All that the catalogue knows of images below these folders.
  Status load() {
    GM_TRY(std::vector<ImageRow> rows, catalogue_.images());
    for (ImageRow& row : rows) {
      const bool is_here = is_in_scope(row.path, found_.folders, options_.find.exclude);
      if (!is_here) continue;
      std::vector<ChunkRow> chunks;
      if (row.manifest) {
        GM_TRY(chunks, catalogue_.chunks(*row.manifest));
      }
      std::string path = row.path;
      known_.emplace(std::move(path), Known{std::move(row), std::move(chunks)});
    }
    return {};
  }

  // Images that the catalogue knows and the folders do not show.
  Status note_absent() {
    std::set<std::string_view> here;
    for (const FoundImage& image : found_.images) here.insert(image.path);
    for (auto known = known_.begin(); known != known_.end();) {
      const ImageRow& row = known->second.row;
      const auto next = std::next(known);
      if (!here.contains(row.path)) {
        const Error* const failure = failure_of(row.path);
        if (failure == nullptr && options_.forget_missing) {
          GM_CHECK(catalogue_.forget_image(row.id));
          known_.erase(known);
        } else {
          GM_CHECK(note_absent(row, failure));
        }
      }
      known = next;
    }
    return {};
  }

  Status note_absent(const ImageRow& row, const Error* failure) {
    if (failure == nullptr) absent_.insert(row.path);
    GM_TRY(const std::string place, other_place(row));
    GM_CHECK(catalogue_.put_verdict(
        {.run = report_.run,
         .image = row.id,
         .date = now(),
         .verdict = failure != nullptr ? Verdict::unreadable : Verdict::missing,
         .detail = failure != nullptr ? failure->to_string() : "is gone" + place},
        {}));
    return {};
  }

  // Where its file is now, if it was only moved: for people, for it is another image then.
  Result<std::string> other_place(const ImageRow& row) {
    if (!row.manifest) return "";
    GM_TRY(const ManifestRow manifest, catalogue_.manifest(*row.manifest));
    if (manifest.evidence.files.empty()) return "";
    const FileStamp& file = manifest.evidence.files.front();
    for (const FoundImage& image : found_.images)
      if (image.inode == file.inode && image.device == file.device)
        return fmt::format("; {} is the same file", image.path);
    return "";
  }

  // Why an image was not found, if it is not because it is gone.
  [[nodiscard]] const Error* failure_of(const std::string& path) const {
    const auto found = std::ranges::find_if(found_.failures, [&](const Error& error) {
      return error.path == path || is_below(path, error.path);
    });
    return found == found_.failures.end() ? nullptr : &*found;
  }

  // Which chunks this run reads, for each byte to be read within the time: the oldest first, until
  // so much is done that the rest can be as well in the runs that remain, less one to be safe; and
  // all that would be too old by the next run.
  Status plan_share(const std::string& folders) {
    if (!options_.within) return {};
    GM_TRY(const std::vector<std::int64_t> past, catalogue_.past_runs(folders, 8));
    const std::int64_t interval = usual_interval(past);
    const std::int64_t elapsed = past.empty() ? interval : std::max(interval, now() - past.front());
    struct Candidate {
      std::int64_t checked;
      std::int64_t image;
      const ChunkRow* chunk;
    };
    std::vector<Candidate> candidates;
    std::uint64_t total = 0;
    for (const auto& [path, known] : known_)
      for (const ChunkRow& chunk : known.chunks) {
        candidates.push_back({chunk.checked, known.row.id, &chunk});
        total += chunk.data_bytes;
      }
    const auto age = [](const Candidate& each) {
      return std::tuple(each.checked, each.image, each.chunk->number);
    };
    std::ranges::sort(candidates, {}, age);
    const std::int64_t spread = *options_.within - interval;
    const double part =
        spread <= 0 ? 1 : static_cast<double>(elapsed) / static_cast<double>(spread);
    GM_TRY(std::uint64_t done, catalogue_.read_bytes(report_.run));
    const double share = static_cast<double>(total) * part;
    for (const Candidate& each : candidates) {
      const bool late = each.checked + *options_.within <= now() + interval * 3 / 2;
      if (!late && static_cast<double>(done) >= share && part < 1) break;
      due_[each.image].insert(each.chunk->number);
      done += each.chunk->data_bytes;
    }
    return {};
  }

  // Between runs; a day where it is not known.
  [[nodiscard]] std::int64_t usual_interval(const std::vector<std::int64_t>& past) const {
    std::vector<std::int64_t> gaps;
    gaps.reserve(past.size());
    std::int64_t later = report_.begun;
    for (const std::int64_t begun : past) gaps.push_back(std::exchange(later, begun) - begun);
    if (gaps.empty()) return kDay;
    std::ranges::nth_element(gaps, gaps.begin() + std::ssize(gaps) / 2);
    return std::max<std::int64_t>(gaps[gaps.size() / 2], 1);
  }

  // What was read longest ago comes first, and before it what never was.
  [[nodiscard]] std::vector<const FoundImage*> in_order() const {
    std::vector<std::pair<std::int64_t, const FoundImage*>> keyed;
    for (const FoundImage& image : found_.images) {
      std::int64_t oldest = std::numeric_limits<std::int64_t>::min();
      const auto known = known_.find(image.path);
      if (known != known_.end() && !known->second.chunks.empty())
        oldest = std::ranges::min(known->second.chunks, {}, &ChunkRow::checked).checked;
      keyed.emplace_back(oldest, &image);
    }
    std::ranges::stable_sort(keyed, {}, &std::pair<std::int64_t, const FoundImage*>::first);
    std::vector<const FoundImage*> order;
    order.reserve(keyed.size());
    for (const auto& [oldest, image] : keyed) order.push_back(image);
    return order;
  }

  Status scrub_all(ScrubRun& run) {
    for (const FoundImage* const image : in_order()) {
      GM_TRY(const ImageRow* const row, row_of(image->path));
      GM_TRY(const bool has_verdict, catalogue_.has_verdict(report_.run, row->id));
      if (has_verdict) continue;
      bool done = false;
      if (report_.stop == ScrubStop::done && !run.must_stop()) {
        std::optional<std::set<std::uint64_t>> due;
        if (options_.within) due = due_[row->id];
        GM_TRY(done, scrub_image(run, *image, *row, due));
      }
      if (done) continue;
      ++report_.waiting;
      const std::atomic<bool>* const cancelled = options_.graph.cancelled;
      const bool is_cancelled = cancelled != nullptr && cancelled->load();
      report_.stop = is_cancelled ? ScrubStop::cancelled : ScrubStop::hours;
    }
    return {};
  }

  Result<const ImageRow*> row_of(const std::string& path) {
    auto known = known_.find(path);
    if (known == known_.end()) {
      GM_TRY(ImageRow row, catalogue_.add_image(path, now()));
      known = known_.emplace(path, Known{std::move(row), {}}).first;
    }
    return &known->second.row;
  }

  // Nullopt for what has no verdict yet.
  Result<std::optional<ScrubImage>> describe(const ImageRow& row) {
    GM_TRY(std::vector<VerdictRow> history, catalogue_.verdicts(row.id, kHistory));
    if (history.empty()) return std::nullopt;
    const VerdictRow last = history.front();
    GM_TRY(std::vector<Flaw> flaws, catalogue_.verdict_flaws(last.run, row.id));
    GM_TRY(const Ages ages, catalogue_.ages(row.id));
    return ScrubImage{.path = row.path,
                      .format = row.format,
                      .disk_bytes = row.disk_bytes,
                      .first_seen = row.first_seen,
                      .verdict = last.verdict,
                      .date = last.date,
                      .is_of_this_run = last.run == report_.run,
                      .detail = last.detail,
                      .flaws = std::move(flaws),
                      .read = ages.read,
                      .proven = ages.proven,
                      .history = std::move(history)};
  }

  Status make_report() {
    report_.ended = now();
    GM_TRY(report_.read_bytes, catalogue_.read_bytes(report_.run));
    bool all_read = true;
    // Format and size are those of now.
    GM_TRY(const std::vector<ImageRow> rows, catalogue_.images());
    for (const ImageRow& row : rows) {
      if (!known_.contains(row.path)) continue;
      GM_TRY(std::optional<ScrubImage> image, describe(row));
      if (!image) continue;
      if (!absent_.contains(row.path)) {
        all_read = all_read && image->read.has_value();
        if (image->read)
          report_.all_read_since =
              std::min(report_.all_read_since.value_or(*image->read), *image->read);
        if (options_.within && image->read.value_or(row.first_seen) + *options_.within < now())
          report_.overdue.push_back(row.path);
      }
      report_.images.push_back(*std::move(image));
    }
    if (!all_read) report_.all_read_since.reset();
    // What is known to be an image has a verdict instead.
    for (Error& failure : found_.failures)
      if (!known_.contains(failure.path)) report_.failures.push_back(std::move(failure));
    return {};
  }

  FileSystem& files_;
  const ScrubOptions& options_;
  Catalogue& catalogue_;
  FoundImages found_;
  Throttle throttle_;
  std::map<std::string, Known> known_;  // by path
  std::set<std::string> absent_;
  std::map<std::int64_t, std::set<std::uint64_t>> due_;  // chunks, by image
  ScrubReport report_;
};

}  // namespace

std::uint64_t ScrubReport::count(Verdict verdict) const {
  return static_cast<std::uint64_t>(std::ranges::count(images, verdict, &ScrubImage::verdict));
}

Result<ScrubReport> scrub(FileSystem& files, const ScrubOptions& options) {
  GM_TRY(Catalogue catalogue, Catalogue::open(options.catalogue));
  FindOptions find = options.find;
  GM_TRY(const std::vector<ImageRow> rows, catalogue.images());
  // A raw one is one only as long as a snapshot or the user says so.
  for (const ImageRow& row : rows)
    if (row.format != "raw") find.known.insert(row.path);
  GM_TRY(FoundImages found, find_images(files, find));
  return Scrub(files, options, catalogue, std::move(found)).run();
}

}  // namespace grainmill
