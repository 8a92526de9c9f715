// SPDX-License-Identifier: Apache-2.0
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace grainmill {
namespace {

constexpr std::size_t kBarCells = 20;
constexpr std::size_t kNarrowest = 40;
constexpr std::size_t kMostWaiting = 3;  // of the queue, on a screen

using Jobs = std::vector<const JobRecord*>;

// The bytes that follow the first one of a character.
bool is_continued(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return !is_continued(c); }));
}

std::string_view without_first(std::string_view text, std::size_t characters) {
  while (characters-- != 0 && !text.empty()) {
    text.remove_prefix(1);
    while (!text.empty() && is_continued(text.front())) text.remove_prefix(1);
  }
  return text;
}

std::string_view first_of(std::string_view text, std::size_t characters) {
  const std::string_view rest = without_first(text, characters);
  return text.substr(0, text.size() - rest.size());
}

// The end of a path tells more than its beginning. Filled up with blanks.
std::string path_cell(const std::string& path, std::size_t columns) {
  std::string text = printable(path);
  std::size_t width = width_of(text);
  if (width > columns) {
    text = fmt::format("..{}", without_first(text, width - columns + 2));
    width = columns;
  }
  return text.append(columns - width, ' ');
}

double share_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
}

std::string bar(double share) {
  const auto full = static_cast<std::size_t>(share * static_cast<double>(kBarCells));
  return fmt::format("[{}{}]", std::string(full, '#'), std::string(kBarCells - full, '.'));
}

std::string counts_text(const BatchReport& report) {
  std::string text;
  for (const JobState state :
       {JobState::done, JobState::running, JobState::queued, JobState::failed, JobState::skipped})
    if (const std::uint64_t count = report.count(state); count != 0 || state == JobState::done)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, job_state_name(state));
  return text;
}

std::string totals_line(const BatchReport& report) {
  const BatchTotals& totals = report.totals;
  const double share = share_of(totals.done_disk_bytes, totals.disk_bytes);
  std::string text =
      fmt::format("{} {:5.1f} %  {} of {}", bar(share), share * 100,
                  format_size(totals.done_disk_bytes), format_size(totals.disk_bytes));
  if (report.bytes_per_second) text += fmt::format("  {}", rate_text(*report.bytes_per_second));
  if (report.eta_ms)
    text += fmt::format("  {} left",
                        seconds_text(static_cast<double>(*report.eta_ms - report.now_ms) / 1000));
  return text;
}

// By what a person looks for: what goes on, what went wrong, what comes, what is done.
std::string running_line(const BatchReport& report, const JobRecord& job, std::size_t columns) {
  const double share = share_of(job.progress.guest_bytes, job.image.disk_bytes);
  const double seconds =
      static_cast<double>(report.now_ms - job.begun_ms.value_or(report.now_ms)) / 1000;
  const std::string numbers = fmt::format(
      "{:5.1f} % {:7} {:>9}{}", share * 100, job.progress.verifying ? "verify" : "convert",
      format_size(job.image.disk_bytes), fmt::format(" {:>7}", seconds_text(seconds)));
  return fmt::format("  {} {}", path_cell(job.image.source, columns - 3 - numbers.size()), numbers);
}

std::string waiting_line(const BatchReport& report, const JobRecord& job, std::size_t columns) {
  std::string text = fmt::format("{:>9}", format_size(job.image.disk_bytes));
  if (job.not_before_ms.value_or(0) > report.now_ms)
    text +=
        fmt::format("  again in {}",
                    seconds_text(static_cast<double>(*job.not_before_ms - report.now_ms) / 1000));
  return fmt::format("  {} {}", path_cell(job.image.source, columns - 3 - text.size()), text);
}

// Reasons begin with a file, which often is the source.
std::string reason_text(const JobRecord& job) {
  const std::string& reason = reason_of(job);
  if (reason.starts_with(job.image.source + ":")) return reason;
  return fmt::format("{}: {}", job.image.source, reason);
}

std::string reason_line(const JobRecord& job, std::size_t columns) {
  const std::string text = fmt::format("  {}", printable(reason_text(job)));
  return std::string(columns == 0 ? std::string_view(text) : first_of(text, columns));
}

std::string done_line(const JobRecord& job, std::size_t columns) {
  const std::string text =
      fmt::format("{:>9} -> {:>9}{}", format_size(job.image.source_bytes),
                  format_size(job.verdict.output_bytes), job.verdict.verified ? "  verified" : "");
  return fmt::format("  {} {}", path_cell(job.image.source, columns - 3 - text.size()), text);
}

Jobs jobs_in(const BatchReport& report, JobState state) {
  Jobs jobs;
  for (const JobRecord& job : report.jobs)
    if (job.state == state) jobs.push_back(&job);
  return jobs;
}

// The table as lines, of which a screen has only so many.
class Table {
 public:
  Table(const BatchReport& report, std::size_t columns, std::size_t rows)
      : report_(report), columns_(std::max(columns, kNarrowest)), rows_(rows) {}

  std::string text() {
    lines_.push_back(fmt::format("{}: {}", printable(report_.plan), counts_text(report_)));
    if (report_.totals.disk_bytes != 0) lines_.push_back(totals_line(report_));
    if (rows_ == 0)
      add_all();
    else
      add_screen();
    std::string text;
    for (const std::string& line : lines_)
      text += std::string(rows_ == 0 ? std::string_view(line) : first_of(line, columns_)) + '\n';
    return text;
  }

 private:
  void add_all() {
    add(JobState::running, "running", kAll);
    add(JobState::failed, "failed", kAll);
    add(JobState::queued, "queued", kAll);
    add(JobState::skipped, "skipped", kAll);
    add(JobState::done, "done", kAll);
  }

  // Failures must be seen however many images run; the newest of them are the last in the list.
  void add_screen() {
    const std::size_t failures = jobs_in(report_, JobState::failed).size();
    const std::size_t for_failures = failures == 0 ? 0 : std::min<std::size_t>(failures + 2, 6);
    add(JobState::running, "running", room() > for_failures ? room() - for_failures : 0);
    add(JobState::failed, "failed", room());
    add(JobState::queued, "queued", std::min(room(), kMostWaiting + 2));
  }

  [[nodiscard]] std::size_t room() const {
    return rows_ > lines_.size() ? rows_ - lines_.size() : 0;
  }

  // A title and the jobs, in `most` lines.
  void add(JobState state, std::string_view title, std::size_t most) {
    const Jobs jobs = jobs_in(report_, state);
    if (jobs.empty() || most < 2) return;
    lines_.emplace_back(title);
    --most;
    const std::size_t shown = jobs.size() <= most ? jobs.size() : most - 1;
    for (std::size_t i = 0; i < shown; ++i) lines_.push_back(line_of(*jobs[i]));
    if (shown < jobs.size()) lines_.push_back(fmt::format("  and {} more", jobs.size() - shown));
  }

  [[nodiscard]] std::string line_of(const JobRecord& job) const {
    switch (job.state) {
      case JobState::running:
        return running_line(report_, job, columns_);
      case JobState::queued:
        return waiting_line(report_, job, columns_);
      case JobState::done:
        return done_line(job, columns_);
      case JobState::failed:
      case JobState::skipped:
        break;
    }
    return reason_line(job, rows_ == 0 ? 0 : columns_);
  }

  static constexpr std::size_t kAll = static_cast<std::size_t>(-1);

  const BatchReport& report_;
  std::size_t columns_;
  std::size_t rows_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string batch_table(const BatchReport& report, std::size_t columns, std::size_t rows) {
  return Table(report, columns, rows).text();
}

}  // namespace grainmill
