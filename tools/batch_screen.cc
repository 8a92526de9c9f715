// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_screen.h"

#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/io/terminal.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace grainmill {
namespace {

using std::chrono::milliseconds;

constexpr auto kRedraw = milliseconds(300);
constexpr auto kTick = milliseconds(1000);
constexpr auto kLineEvery = std::chrono::seconds(10);

std::string line_text(const BatchReport& report) {
  const BatchTotals& totals = report.totals;
  const double share = totals.disk_bytes == 0 ? 1
                                              : static_cast<double>(totals.done_disk_bytes) /
                                                    static_cast<double>(totals.disk_bytes);
  std::string text =
      fmt::format("{:.1f} %, {} of {} done", share * 100, report.count(JobState::done),
                  images_text(report.jobs.size() - report.count(JobState::skipped)));
  if (const std::uint64_t failed = report.count(JobState::failed); failed != 0)
    text += fmt::format(", {} failed", failed);
  if (report.bytes_per_second) text += fmt::format(", {}", rate_text(*report.bytes_per_second));
  if (report.eta_ms)
    text += fmt::format(", {} left",
                        seconds_text(static_cast<double>(*report.eta_ms - report.now_ms) / 1000));
  return text;
}

}  // namespace

BatchScreen::BatchScreen(bool quiet, Host& host)
    : host_(host), quiet_(quiet), last_line_(Clock::now()) {}

milliseconds BatchScreen::interval() const {
  return host_.err_is_terminal && !quiet_ ? kRedraw : kTick;
}

void BatchScreen::update(const BatchReport& report) {
  if (quiet_) return;
  if (host_.err_is_terminal)
    draw(report);
  else
    print_line(report);
}

// A line that is drawn over is cleared up to its end; below the last one, all is. The last row
// stays free, for the line break in it would move everything up.
void BatchScreen::draw(const BatchReport& report) {
  const TerminalSize size = terminal_size();
  const std::string table = batch_table(report, size.columns - 1, size.rows - 1);
  std::string text = drawn_ == 0 ? "" : fmt::format("\x1b[{}A", drawn_);
  for (const char c : table) {
    if (c == '\n') text += "\x1b[K";
    text += c;
  }
  text += "\x1b[J";
  drawn_ = static_cast<std::size_t>(std::ranges::count(table, '\n'));
  host_.err << text << std::flush;
}

void BatchScreen::print_line(const BatchReport& report) {
  const Clock::time_point now = Clock::now();
  if (now - last_line_ < kLineEvery) return;
  last_line_ = now;
  host_.err << "grainmill: " << line_text(report) << '\n' << std::flush;
}

void BatchScreen::finish() {
  if (drawn_ != 0) host_.err << fmt::format("\x1b[{}A\x1b[J", drawn_) << std::flush;
  drawn_ = 0;
}

}  // namespace grainmill
