// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/convert_job.h"

#include "pipeline/convert.h"
#include "pipeline/manifest_reader.h"
#include "pipeline/resumable.h"
#include "pipeline/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace grainmill {
namespace {

constexpr std::size_t kMostDifferences = 3;  // that a reason names

bool is_same_source(const ManifestSource& one, const ManifestSource& other) {
  return one.link == other.link && one.content_id == other.content_id &&
         one.size_bytes == other.size_bytes && one.mtime_ns == other.mtime_ns &&
         one.path == other.path;
}

std::string difference_text(const Difference& difference) {
  const std::string why = difference.error ? ": " + difference.error->to_string() : "";
  if (difference.length == 0) return "its tables are damaged" + why;
  const bool unreadable = difference.kind == Difference::Kind::unreadable;
  return fmt::format("{} guest offset {:#x} to {:#x}{}", unreadable ? "unreadable" : "differs",
                     difference.guest_offset, difference.guest_offset + difference.length, why);
}

class ConvertOne {
 public:
  ConvertOne(FileSystem& files, const ConvertJob& job, const std::atomic<bool>* cancelled,
             const std::function<void(const JobProgress&)>& on_progress)
      : files_(files),
        job_(job),
        cancelled_(cancelled),
        on_progress_(on_progress),
        target_(job.job.image.target),
        manifest_(default_manifest_path(target_)) {}

  JobVerdict run() {
    const Status done = work();
    JobVerdict verdict = done ? std::move(verdict_) : failed_verdict(done.error());
    if (done) verdict.state = JobState::done;
    verdict.worked_bytes = worked_bytes_ + progress_.data_bytes;
    return verdict;
  }

 private:
  Status work() {
    if (job_.job.was_done) return look_at_output();
    GM_TRY(bool finished, is_finished());
    if (finished) {
      // A kill may have come between the name and this.
      GM_CHECK(files_.remove(resume_journal_path(target_)));
      GM_TRY(finished, is_whole());
    }
    if (!finished) GM_CHECK(convert_it());
    GM_CHECK(measure_output());
    return job_.verify && !verdict_.verified ? verify_it() : Status();
  }

  // Whether an earlier attempt came to its end, and only its verdict was lost.
  Result<bool> is_finished() {
    const Result<std::unique_ptr<File>> output = files_.open_read(target_);
    if (!output && output.error().kind == ErrorKind::not_found) return false;
    if (!job_.job.owns_target) {
      if (job_.allow_replace) return false;
      return fail(ErrorKind::invalid_argument, target_,
                  "exists already: move it away, or plan with --force to replace it");
    }
    const Result<ManifestReader> manifest = ManifestReader::open(files_, manifest_);
    if (!manifest) return false;
    GM_TRY(const Disk source, Disk::open(files_, job_.job.image.source, source_options()));
    GM_TRY(const std::vector<ManifestSource> sources, describe_sources(source));
    if (!std::ranges::equal(sources, manifest->header().sources, is_same_source)) return false;
    take_over(*manifest);
    return true;
  }

  // What an earlier attempt has made counts.
  void take_over(const ManifestReader& manifest) {
    verdict_.disk_bytes = manifest.header().disk_bytes;
    verdict_.data_bytes = manifest.roots().data_grains * kDigestGrain;
    verdict_.resumed_bytes = verdict_.disk_bytes;
    verdict_.root = to_hex(manifest.roots().root);
  }

  // Of what was done already: the source may be gone, and the output in use.
  Status look_at_output() {
    GM_TRY(const ManifestReader manifest, ManifestReader::open(files_, manifest_));
    take_over(manifest);
    GM_CHECK(measure_output());
    if (!job_.verify) return {};
    GM_TRY(const Comparison comparison, compare_output());
    verdict_.verified = comparison.report.same();
    if (verdict_.verified) return {};
    return fail(
        ErrorKind::mismatch, target_,
        fmt::format("is no longer what was written: {}. It was used, or is damaged, and was "
                    "left as it is: to have it made again, move it away",
                    comparison.text()));
  }

  // After a power cut, what was not synced may have its name and lack its contents.
  Result<bool> is_whole() {
    if (!job_.verify && job_.durability == Durability::synced) return true;
    if (!measure_output()) return false;
    GM_TRY(const Comparison comparison, compare_output());
    verdict_.verified = comparison.report.same();
    return verdict_.verified;
  }

  Status convert_it() {
    GM_CHECK(files_.create_folders(folder_of(target_)));
    ConvertOptions options;
    options.source = job_.job.image.source;
    options.disk = source_options();
    options.output = target_;
    options.output_format = job_.output.format;
    options.settings = split_settings(job_.output.settings);
    options.compress = job_.output.compress;
    options.level = job_.output.level;
    options.manifest = manifest_;
    options.durability = job_.durability;
    options.graph = graph_options(false);
    options.resume = true;
    const auto crypto = crypto_by_name(job_.output.digest);
    options.graph.crypto = crypto.value_or(CryptoAlgorithm::none);
    GM_TRY(ConvertReport report, convert(files_, options));
    worked_bytes_ += std::exchange(progress_, {}).data_bytes;
    verdict_.disk_bytes = report.disk_bytes;
    verdict_.data_bytes = report.data_bytes;
    verdict_.resumed_bytes = report.resumed_bytes;
    verdict_.root = to_hex(report.roots.root);
    verdict_.warnings = std::move(report.warnings);
    return {};
  }

  // Finds the files of the output, and what they take.
  Status measure_output() {
    GM_TRY(const Disk output, open_for_verify(files_, target_, output_options()));
    outputs_.clear();
    verdict_.output_bytes = 0;
    for (const File* const file : output.link(0).files()) {
      GM_TRY(const FileInfo info, file->info());
      verdict_.output_bytes += info.allocated_bytes;
      outputs_.push_back(file->path());
    }
    return {};
  }

  struct Comparison {
    VerifyReport report;
    std::string differences;  // the first of them

    [[nodiscard]] std::string text() const {
      const std::uint64_t bytes = report.differing_bytes + report.unreadable_bytes;
      return bytes == 0 ? differences
                        : fmt::format("{} of {} bytes; {}", bytes, report.disk_bytes, differences);
    }
  };

  // Reads what is on the disk, and not what is still in memory. REQUIRES: measure_output().
  Result<Comparison> compare_output() {
    for (const std::string& path : outputs_) {
      GM_TRY(const std::unique_ptr<File> file, files_.open_read(path));
      GM_CHECK(file->forget_cached());
    }
    Comparison comparison;
    std::size_t count = 0;
    VerifyOptions options{.image = target_,
                          .disk = output_options(),
                          .manifest = manifest_,
                          .graph = graph_options(true),
                          .on_difference = [&](const Difference& difference) {
                            if (++count <= kMostDifferences)
                              comparison.differences +=
                                  (count == 1 ? "" : "; ") + difference_text(difference);
                          }};
    GM_TRY(comparison.report, verify(files_, options));
    if (count > kMostDifferences) comparison.differences += "; and more";
    worked_bytes_ += std::exchange(progress_, {}).data_bytes;
    return comparison;
  }

  // The manifest goes first: it must not speak for what is half removed.
  Status verify_it() {
    GM_TRY(const Comparison comparison, compare_output());
    verdict_.verified = comparison.report.same();
    if (verdict_.verified) return {};
    GM_CHECK(files_.remove(manifest_));
    for (const std::string& path : outputs_ | std::views::reverse) GM_CHECK(files_.remove(path));
    return fail(ErrorKind::mismatch, target_,
                fmt::format("read back from the disk, it was not what had been written: {}. It was "
                            "removed: check the disk that it was on",
                            comparison.text()));
  }

  DiskOptions source_options() const {
    DiskOptions options;
    options.format = job_.job.image.source_format;
    options.ignore_content_ids = job_.job.image.ignore_content_ids;
    options.open.policy = job_.policy;
    return options;
  }

  DiskOptions output_options() const {
    DiskOptions options;
    options.format = job_.output.format;
    return options;
  }

  GraphOptions graph_options(bool verifying) {
    GraphOptions options;
    options.threads = job_.threads;
    options.memory_bytes = job_.memory_bytes;
    options.cancelled = cancelled_;
    options.on_progress = [this, verifying](const Progress& now) {
      progress_ = {now.guest_bytes, now.data_bytes, verifying};
      on_progress_(progress_);
    };
    return options;
  }

  FileSystem& files_;
  const ConvertJob& job_;
  const std::atomic<bool>* cancelled_;
  const std::function<void(const JobProgress&)>& on_progress_;
  const std::string& target_;
  std::string manifest_;
  std::vector<std::string> outputs_;  // its files
  JobProgress progress_;
  std::uint64_t worked_bytes_ = 0;  // before those of progress_
  JobVerdict verdict_;
};

}  // namespace

JobVerdict convert_job(FileSystem& files, const ConvertJob& job, const std::atomic<bool>* cancelled,
                       const std::function<void(const JobProgress&)>& on_progress) {
  return ConvertOne(files, job, cancelled, on_progress).run();
}

JobVerdict failed_verdict(const Error& error) {
  JobVerdict verdict;
  verdict.state = JobState::failed;
  verdict.error_kind = error_kind_name(error.kind);
  verdict.reason = error.to_string();
  verdict.may_retry = error.kind == ErrorKind::io || error.kind == ErrorKind::no_space ||
                      error.kind == ErrorKind::busy;
  return verdict;
}

}  // namespace grainmill
