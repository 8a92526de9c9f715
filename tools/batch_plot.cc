// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_plot.h"

#include "tools/batch_words.h"
#include "tools/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <vector>

namespace grainmill {
namespace {

constexpr std::size_t kMostRuns = 100;  // the last ones
constexpr double kSteps = 400;          // that the whole width can show
constexpr double kHeight = 200;         // of the area, in pixels
constexpr double kTop = 12;             // above it
// Percents of the width that a label of time takes on a narrow screen, without and with seconds.
constexpr double kLabelShare = 11;
constexpr double kSecondsShare = 16;

// The texts are placed by percentages, and only the area is stretched: they keep their size on
// every screen.
constexpr const char* kStyle = R"css(.plot { display: block; width: 100%; height: 236px; }
.plot text { font: 12px system-ui, sans-serif; fill: var(--soft); paint-order: stroke; stroke: var(--back);
  stroke-width: 3px; }
.plot line { stroke: var(--line); }
.plot .rate { fill: var(--news); fill-opacity: .3; stroke: var(--news); vector-effect: non-scaling-stroke; }
.plot .gap { fill: var(--line); }
)css";

struct Point {
  std::int64_t time_ms = 0;
  double bytes = 0;
};

// A run, where it is drawn: percents of the width.
struct Strip {
  std::int64_t begin_ms = 0;
  std::int64_t end_ms = 0;
  double left = 0;
  double right = 0;
  std::vector<Point> points;  // the first is the beginning

  [[nodiscard]] double place(std::int64_t time_ms) const {
    return left + (right - left) * static_cast<double>(time_ms - begin_ms) /
                      static_cast<double>(end_ms - begin_ms);
  }
};

double rate_between(const Point& from, const Point& to) {
  return std::max(to.bytes - from.bytes, 0.0) * 1000 /
         static_cast<double>(to.time_ms - from.time_ms);
}

// Samples that are `step_ms` apart at least, so that each rate is an average over what is left out.
std::vector<Point> thinned(const BatchRun& run, const Strip& strip, double step_ms) {
  std::vector<Point> points = {{strip.begin_ms, 0}};
  Point last;
  bool left_out = false;
  for (const BatchSample& sample : run.samples) {
    if (sample.time_ms <= std::max(points.back().time_ms, last.time_ms) ||
        sample.time_ms > strip.end_ms)
      continue;
    last = {sample.time_ms, static_cast<double>(sample.guest_bytes)};
    left_out = static_cast<double>(last.time_ms - points.back().time_ms) < step_ms;
    if (!left_out) points.push_back(last);
  }
  if (!left_out) return points;
  // A rest that is too short would be a rate of nothing much.
  if (points.size() > 1 && static_cast<double>(last.time_ms - points.back().time_ms) < step_ms / 2)
    points.back() = last;
  else
    points.push_back(last);
  return points;
}

std::vector<Strip> strips_of(const BatchReport& report) {
  std::vector<Strip> strips;
  std::vector<const BatchRun*> runs;
  const std::size_t first = report.runs.size() - std::min(report.runs.size(), kMostRuns);
  double total_ms = 0;
  for (std::size_t i = first; i < report.runs.size(); ++i) {
    const BatchRun& run = report.runs[i];
    const Strip strip{.begin_ms = run.begun_ms, .end_ms = last_ms(report, run), .points = {}};
    if (strip.end_ms <= strip.begin_ms || run.samples.empty()) continue;
    total_ms += static_cast<double>(strip.end_ms - strip.begin_ms);
    strips.push_back(strip);
    runs.push_back(&run);
  }
  if (strips.empty()) return strips;
  const auto gaps = static_cast<double>(strips.size() - 1);
  const double gap = gaps == 0 ? 0 : std::min(1.5, 20 / gaps);
  const double percent_of_ms = (100 - gaps * gap) / total_ms;
  double left = 0;
  for (std::size_t i = 0; i < strips.size(); ++i) {
    Strip& strip = strips[i];
    strip.left = left;
    strip.right = left + static_cast<double>(strip.end_ms - strip.begin_ms) * percent_of_ms;
    left = strip.right + gap;
    strip.points = thinned(*runs[i], strip, total_ms / kSteps);
  }
  return strips;
}

double highest(const std::vector<Strip>& strips) {
  double most = 0;
  for (const Strip& strip : strips)
    for (std::size_t i = 1; i < strip.points.size(); ++i)
      most = std::max(most, rate_between(strip.points[i - 1], strip.points[i]));
  return most;
}

// 1, 2 or 5 times a power of ten, so that there are five lines at most.
double line_step(double most) {
  const double least = most / 4;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10 * power;
}

struct Unit {
  double bytes;
  const char* name;
};

Unit unit_of(double rate) {
  if (rate >= 1e9) return {1e9, "GB/s"};
  if (rate >= 1e6) return {1e6, "MB/s"};
  return {1e3, "kB/s"};
}

std::string rate_axis(double step, double top) {
  const Unit unit = unit_of(top);
  std::string lines;
  std::string labels;
  const auto count = std::llround(top / step);
  for (long long i = 0; i <= count; ++i) {
    const double rate = static_cast<double>(i) * step;
    const double y = kTop + kHeight * (1 - rate / top);
    fmt::format_to(std::back_inserter(lines),
                   "<line x1=\"0\" x2=\"100%\" y1=\"{0:.1f}\" y2=\"{0:.1f}\"/>\n", y);
    fmt::format_to(std::back_inserter(labels), "<text x=\"2\" y=\"{:.1f}\">{:.3g}{}{}</text>\n",
                   y - 2, rate / unit.bytes, i == count ? " " : "", i == count ? unit.name : "");
  }
  return lines + labels;
}

std::string area(const Strip& strip, double top) {
  if (strip.points.size() < 2) return "";
  std::string path = fmt::format("<path class=\"rate\" d=\"M{:.1f} {}", strip.left * 10, kHeight);
  for (std::size_t i = 1; i < strip.points.size(); ++i) {
    const double rate = rate_between(strip.points[i - 1], strip.points[i]);
    fmt::format_to(std::back_inserter(path), "V{:.1f}H{:.1f}", kHeight * (1 - rate / top),
                   strip.place(strip.points[i].time_ms) * 10);
  }
  return path + fmt::format("V{}Z\"/>\n", kHeight);
}

std::string areas(const std::vector<Strip>& strips, double top) {
  std::string svg = fmt::format(
      "<svg y=\"{}\" width=\"100%\" height=\"{}\" viewBox=\"0 0 1000 {}\" "
      "preserveAspectRatio=\"none\">\n",
      kTop, kHeight, kHeight);
  for (std::size_t i = 0; i < strips.size(); ++i) {
    svg += area(strips[i], top);
    if (i + 1 == strips.size()) break;
    const std::int64_t between_ms = strips[i + 1].begin_ms - strips[i].end_ms;
    fmt::format_to(std::back_inserter(svg),
                   "<rect class=\"gap\" x=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"><title>{} "
                   "without a run</title></rect>\n",
                   strips[i].right * 10, (strips[i + 1].left - strips[i].right) * 10, kHeight,
                   seconds_text(static_cast<double>(between_ms) / 1000));
  }
  return svg + "</svg>\n";
}

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

std::int64_t time_step(const Strip& strip) {
  static constexpr std::array<std::int64_t, 17> kStepsOfTime = {
      kSecond,     2 * kSecond, 5 * kSecond,  10 * kSecond, 30 * kSecond, kMinute,
      2 * kMinute, 5 * kMinute, 10 * kMinute, 30 * kMinute, kHour,        2 * kHour,
      4 * kHour,   12 * kHour,  kDay,         7 * kDay,     30 * kDay};
  const double percent_of_ms =
      (strip.right - strip.left) / static_cast<double>(strip.end_ms - strip.begin_ms);
  for (const std::int64_t step : kStepsOfTime)
    if (static_cast<double>(step) * percent_of_ms >= (step < kMinute ? kSecondsShare : kLabelShare))
      return step;
  return 365 * kDay;
}

std::string time_text(std::int64_t time_ms, std::int64_t step) {
  const std::int64_t seconds = time_ms / kSecond;
  const std::string date = date_text(seconds);  // "2026-11-23 01:32"
  if (step >= kDay) return date.substr(5, 5);
  return step >= kMinute ? date.substr(11) : fmt::format("{}:{:02}", date.substr(11), seconds % 60);
}

// The first multiple of `step` by the local clock.
std::int64_t first_tick(std::int64_t time_ms, std::int64_t step) {
  constexpr std::int64_t kMinutesOfDay = kDay / kMinute;
  const std::int64_t minute = time_ms / kMinute;
  const std::int64_t zone_ms = (minute_of_day(minute * 60) - minute % kMinutesOfDay) * kMinute;
  return (time_ms + zone_ms + step - 1) / step * step - zone_ms;
}

std::string tick(double place, const std::string& text) {
  const char* const anchor = place < 4 ? "start" : place > 96 ? "end" : "middle";
  return fmt::format(
      "<line x1=\"{0:.2f}%\" x2=\"{0:.2f}%\" y1=\"{1}\" y2=\"{2}\"/>"
      "<text x=\"{0:.2f}%\" y=\"{3}\" text-anchor=\"{4}\">{5}</text>\n",
      place, kTop + kHeight, kTop + kHeight + 5, kTop + kHeight + 18, anchor, text);
}

// When each run began, then round times within, as far as there is room.
std::string time_axis(const std::vector<Strip>& strips) {
  const std::int64_t step = time_step(strips.front());
  const double share = step < kMinute ? kSecondsShare : kLabelShare;
  std::string svg;
  std::vector<double> taken;
  const auto add = [&](const Strip& strip, std::int64_t time_ms) {
    const double place = strip.place(time_ms);
    const auto is_near = [&](double other) { return std::abs(place - other) < share; };
    if (std::ranges::any_of(taken, is_near)) return;
    svg += tick(place, time_text(time_ms, step));
    taken.push_back(place);
  };
  for (const Strip& strip : strips) add(strip, strip.begin_ms);
  for (const Strip& strip : strips)
    for (std::int64_t time = first_tick(strip.begin_ms, step); time <= strip.end_ms; time += step)
      add(strip, time);
  return svg;
}

}  // namespace

std::string throughput_plot(const BatchReport& report) {
  const std::vector<Strip> strips = strips_of(report);
  if (strips.empty()) return "<p class=\"soft\">Nothing was measured yet.</p>\n";
  const double step = line_step(std::max(highest(strips), 1e3));
  const double top = std::ceil(std::max(highest(strips), 1e3) / step) * step;
  return fmt::format(
      "<svg class=\"plot\" role=\"img\">\n<title>guest disk a second, over time</title>\n{}{}{}"
      "</svg>\n<p class=\"soft\">Guest disk a second, from {} to {}{}.</p>\n",
      areas(strips, top), rate_axis(step, top), time_axis(strips),
      date_text(strips.front().begin_ms / kSecond), date_text(strips.back().end_ms / kSecond),
      strips.size() == 1 ? "" : "; between runs, time is cut out");
}

std::string plot_style() { return kStyle; }

}  // namespace grainmill
