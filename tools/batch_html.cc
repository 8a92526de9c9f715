// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "tools/batch.h"
#include "tools/batch_plot.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"
#include "tools/html_page.h"
#include "tools/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ranges>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

constexpr const char* kTitle = "Batch";
constexpr std::size_t kMostCards = 100;
constexpr std::size_t kMostRuns = 20;
constexpr std::size_t kRootDigits = 8;

// A row has no class or name in any cell, for there may be thousands: columns are known by number.
constexpr const char* kStyle = R"css(.jobs { font-size: .85rem; }
.jobs b { display: inline-block; width: 1.5em; border-radius: .75em; text-align: center; color: var(--on); }
.jobs b.good { background: var(--good); } .jobs b.bad { background: var(--bad); }
.jobs b.news { background: var(--news); } .jobs b.odd { background: var(--odd); } .jobs b.rest { background: var(--soft); }
.jobs td:nth-child(2) { overflow-wrap: anywhere; min-width: 14rem; }
.jobs small { display: block; color: var(--soft); font-size: .8rem; }
.jobs th:nth-child(n+3):nth-child(-n+10), .jobs td:nth-child(n+3):nth-child(-n+10) { text-align: right; }
.jobs td:nth-child(-n+1), .jobs td:nth-child(n+3) { white-space: nowrap; }
.jobs td:nth-child(11) { color: var(--good); font-weight: 600; }
.jobs td:nth-child(12) { font-family: ui-monospace, monospace; }
.wide { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.wide .tile b { font-size: 1.15rem; white-space: nowrap; }
code { font: .9em ui-monospace, monospace; background: var(--card); }
@media (max-width: 60rem) {
  .jobs thead { display: none; }
  .jobs tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .jobs td, .jobs td:nth-child(n+3):nth-child(-n+10) { display: inline-block; padding: 0 .75rem 0 0; border: 0;
    text-align: left; }
  .jobs td:nth-child(2) { display: block; font-weight: 600; }
  .jobs td:nth-child(2) small { font-weight: 400; }
  .jobs td:empty { display: none; }
  .jobs td::before { color: var(--soft); font-weight: 400; }
  .jobs td:nth-child(3)::before { content: "chain "; } .jobs td:nth-child(4)::before { content: "disk "; }
  .jobs td:nth-child(5)::before { content: "before "; } .jobs td:nth-child(6)::before { content: "after "; }
  .jobs td:nth-child(9)::before { content: "CPU "; } .jobs td:nth-child(10)::before { content: "attempts "; }
  .jobs td:nth-child(11)::before { content: "verified "; } .jobs td:nth-child(12)::before { content: "root "; }
}
)css";

struct Look {
  const char* style;
  char letter;
};

Look look_of(JobState state) {
  static constexpr std::array<Look, kJobStates> kLooks = {
      {{"rest", 'q'}, {"news", 'r'}, {"good", 'd'}, {"bad", 'F'}, {"odd", 'S'}}};
  return kLooks[static_cast<std::size_t>(state)];
}

// REQUIRES: text is HTML, and what is between backticks was not said by an image.
std::string with_code(const std::string& text) {
  std::string result;
  bool inside = false;
  for (const char c : text) {
    if (c != '`')
      result += c;
    else
      result += std::exchange(inside, !inside) ? "</code>" : "<code>";
  }
  return result;
}

std::string tile(const std::string& figure, std::string_view name) {
  return fmt::format("<div class=\"tile\"><b>{}</b>{}</div>\n", figure, name);
}

std::string shrink_tile(const BatchTotals& totals) {
  const std::string share =
      totals.source_bytes == 0
          ? ""
          : fmt::format(" ({:.0f} %)", 100.0 * static_cast<double>(totals.output_bytes) /
                                           static_cast<double>(totals.source_bytes));
  return tile(fmt::format("{} <wbr>&rarr; {}", format_size(totals.source_bytes),
                          format_size(totals.output_bytes)),
              "on disk" + share);
}

std::string tiles(const BatchReport& report) {
  std::string text = "<div class=\"tiles\">\n";
  for (const JobState state :
       {JobState::done, JobState::failed, JobState::skipped, JobState::running, JobState::queued}) {
    const std::uint64_t count = report.count(state);
    text +=
        fmt::format("<div class=\"tile {}\"><b class=\"{}\">{}</b>{}</div>\n",
                    count == 0 ? "none" : "", look_of(state).style, count, job_state_name(state));
  }
  const std::optional<double> rate = average_rate(report);
  text += "</div>\n<div class=\"tiles wide\">\n";
  text += tile(format_size(report.totals.disk_bytes), "of disks");
  text += shrink_tile(report.totals);
  text += tile(rate ? rate_text(*rate) : "?", "on average");
  text += tile(seconds_text(run_seconds(report)), "of time");
  text += tile(seconds_text(static_cast<double>(report.totals.cpu_ms) / 1000), "of CPU time");
  text += tile(format_size(peak_rss_bytes(report)), "of memory at most");
  return text + "</div>\n";
}

std::string header(const BatchReport& report) {
  static constexpr std::array<const char*, 4> kStyles = {"good", "bad", "bad", "odd"};
  const bool failed = report.count(JobState::failed) != 0;
  const int status = batch_exit_status(report);
  const char* const style = report.is_running && !failed ? "news"
                            : failed                     ? "bad"
                                     : kStyles.at(static_cast<std::size_t>(status));
  std::string when = fmt::format("as of {}", zoned_date_text(report.now_ms / 1000));
  if (!report.runs.empty())
    when = fmt::format("begun {}, {}", date_text(report.runs.front().begun_ms / 1000), when);
  return fmt::format(
      "<h1>Batch of {}</h1>\n<p class=\"path\">{}</p>\n<p class=\"soft\">to {}; {}</p>\n"
      "<p><b class=\"{}\">{}</b></p>\n",
      images_text(report.jobs.size()), html_escaped(report.plan),
      html_escaped(output_text(report.output)), when, style,
      with_code(html_escaped(batch_verdict(report))));
}

std::string run_list(const BatchReport& report) {
  if (report.runs.empty()) return "";
  std::string text = "<ul>\n";
  const std::size_t left_out = report.runs.size() - std::min(report.runs.size(), kMostRuns);
  if (left_out != 0) text += fmt::format("<li>{} earlier runs</li>\n", left_out);
  for (const BatchRun& run : report.runs | std::views::drop(left_out)) {
    const bool is_now = report.is_running && &run == &report.runs.back();
    const std::string end = run.ended_ms ? "to " + date_text(*run.ended_ms / 1000)
                            : is_now     ? std::string("to now")
                                         : std::string("and was killed");
    text += fmt::format(
        "<li>run {}: {} {}, {}, {} at most</li>\n", run.id, date_text(run.begun_ms / 1000), end,
        seconds_text(static_cast<double>(last_ms(report, run) - run.begun_ms) / 1000),
        format_size(run.peak_rss_bytes));
  }
  return text + "</ul>\n";
}

std::string attempts_text(const JobRecord& job) {
  std::string text = fmt::format("{} attempt{}", job.attempts, job.attempts == 1 ? "" : "s");
  if (job.ended_ms) text += fmt::format(", the last ended on {}", date_text(*job.ended_ms / 1000));
  if (const auto seconds = job_seconds(job)) text += " after " + seconds_text(*seconds);
  return text;
}

std::string card(const BatchReport& report, const JobRecord& job) {
  return fmt::format(
      "<div class=\"card\">\n<p><span class=\"badge bad\">{}</span> <span class=\"path\">{}</span>"
      "</p>\n<p class=\"detail\">{}</p>\n<p>{}</p>\n<p class=\"soft\">{}</p>\n</div>\n",
      html_escaped(job.verdict.error_kind.empty() ? "failed" : job.verdict.error_kind),
      html_escaped(job.image.source), html_escaped(job.verdict.reason),
      with_code(html_escaped(next_step(report, job))), attempts_text(job));
}

std::string cards(const BatchReport& report) {
  std::string text;
  std::size_t count = 0;
  for (const JobRecord& job : report.jobs)
    if (job.state == JobState::failed && ++count <= kMostCards) text += card(report, job);
  if (count == 0) return "";
  if (count > kMostCards)
    text += fmt::format("<p>And {} more: those with F in the table.</p>\n", count - kMostCards);
  return "<h2>To be seen to</h2>\n" + text;
}

// The folder that all paths are in, with a slash at its end; "/" if that is all they share.
template <typename Paths>
std::string common_folder(const Paths& paths) {
  std::string folder;
  bool first = true;
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    if (std::exchange(first, false)) folder = path;
    const auto differ = std::ranges::mismatch(folder, path);
    folder.erase(differ.in1, folder.end());
    folder.erase(folder.rfind('/') + 1);
  }
  return folder;
}

struct Folders {
  std::string source;
  std::string target;
};

std::string size_or_empty(std::uint64_t bytes) { return bytes == 0 ? "" : format_size(bytes); }

std::string small(const std::string& text) {
  return text.empty() ? "" : fmt::format("<small>{}</small>", html_escaped(text));
}

// How far a running job is, why others are what they are.
std::string remarks(const JobRecord& job) {
  std::string text;
  if (job.state == JobState::running && job.image.disk_bytes != 0)
    text = fmt::format("<small>{:.0f} %{}</small>",
                       100.0 * static_cast<double>(job.progress.guest_bytes) /
                           static_cast<double>(job.image.disk_bytes),
                       job.progress.verifying ? " verified" : "");
  text += small(reason_of(job));
  if (job.state == JobState::queued && job.not_before_ms)
    text += small("is tried again on " + date_text(*job.not_before_ms / 1000));
  for (const std::string& warning : job.verdict.warnings) text += small(warning);
  return text;
}

std::string image_cell(const JobRecord& job, const Folders& folders) {
  const PlannedImage& image = job.image;
  std::string text = html_escaped(image.source.substr(folders.source.size()));
  if (!image.target.empty())
    text += fmt::format("<small>&rarr; {}</small>",
                        html_escaped(image.target.substr(folders.target.size())));
  return text + remarks(job);
}

// Of the part of the disk that the last attempt did.
std::string job_rate(const JobRecord& job) {
  const std::optional<double> seconds = job_seconds(job);
  const JobVerdict& verdict = job.verdict;
  if (job.state != JobState::done || !seconds || *seconds <= 0) return "";
  const std::uint64_t bytes =
      verdict.disk_bytes - std::min(verdict.resumed_bytes, verdict.disk_bytes);
  return rate_text(static_cast<double>(bytes) / *seconds);
}

std::string tries(const JobRecord& job) {
  if (job.attempts == 0) return "";
  if (job.verdict.resumed_bytes == 0) return fmt::format("{}", job.attempts);
  return fmt::format("{}, from {}", job.attempts, format_size(job.verdict.resumed_bytes));
}

std::string root_cell(const std::string& root) {
  if (root.empty()) return "<td>";
  return fmt::format("<td title=\"{}\">{}", html_escaped(root),
                     html_escaped(root.substr(0, kRootDigits)));
}

// HTML needs no end of cells and rows.
std::string row(const JobRecord& job, const Folders& folders) {
  const bool done = job.state == JobState::done;
  const std::optional<double> seconds = job_seconds(job);
  const Look look = look_of(job.state);
  return fmt::format(
      "<tr><td><b class={}>{}</b> "
      "{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}{}\n",
      look.style, look.letter, job_state_name(job.state), image_cell(job, folders),
      std::max<std::size_t>(job.image.chain.size(), 1),
      size_or_empty(std::max(job.image.disk_bytes, job.verdict.disk_bytes)),
      size_or_empty(job.image.source_bytes), done ? format_size(job.verdict.output_bytes) : "",
      seconds ? seconds_text(*seconds) : "", job_rate(job),
      job.total_cpu_ms == 0 ? "" : seconds_text(static_cast<double>(job.total_cpu_ms) / 1000),
      tries(job), done && job.verdict.verified ? "&#10003;" : "",
      root_cell(done ? job.verdict.root : ""));
}

std::string table(const BatchReport& report) {
  const Folders folders = {
      common_folder(report.jobs | std::views::transform([](const JobRecord& job) -> const auto& {
                      return job.image.source;
                    })),
      common_folder(report.jobs | std::views::transform([](const JobRecord& job) -> const auto& {
                      return job.image.target;
                    }))};
  if (report.jobs.empty()) return "";
  std::string text = "<h2>All images</h2>\n";
  text += fmt::format(
      "<p class=\"soft\">From <span class=\"path\">{}</span> to "
      "<span class=\"path\">{}</span></p>\n",
      html_escaped(folders.source), html_escaped(folders.target));
  text +=
      "<table class=\"jobs\">\n<thead><tr><th>verdict<th>image<th>chain<th>disk<th>before<th>after"
      "<th>time<th>rate<th>CPU<th>attempts<th>verified<th>root digest</thead>\n<tbody>\n";
  for (const JobRecord& job : report.jobs) text += row(job, folders);
  return text +
         "</tbody>\n</table>\n<p class=\"soft\">Before: what all files of the chain take on their "
         "file systems; after: what the output takes. The rate is of guest disk, whatever of it "
         "holds data. Verified: read back from the disk, and found equal to its manifest.</p>\n";
}

}  // namespace

std::string batch_html_begin() { return html_begin(kTitle); }

std::string batch_html(const BatchReport& report) {
  return html_head(kTitle, plot_style() + kStyle) + header(report) + tiles(report) +
         "<h2>Throughput</h2>\n" + throughput_plot(report) + run_list(report) + cards(report) +
         table(report) + html_end();
}

}  // namespace grainmill
