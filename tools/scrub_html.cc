// SPDX-License-Identifier: Apache-2.0
#include "engine/base/units.h"
#include "tools/html_page.h"
#include "tools/scrub_reports.h"
#include "tools/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <set>

namespace grainmill {
namespace {

constexpr const char* kTitle = "Scrub";
constexpr std::size_t kMostRanges = 20;  // in words; the map shows all
constexpr std::size_t kMostHistory = 30;
constexpr std::uint64_t kMapCells = 400;

// Each verdict has a letter as well, for who does not tell colours apart.
constexpr const char* kStyle =
    R"css(.map { display: block; width: 100%; height: 1.5rem; margin: .5rem 0 0; background: var(--back);
  border: 1px solid var(--line); }
.map .differs { fill: var(--bad); } .map .broken { fill: var(--odd); } .map .unreadable { fill: var(--soft); }
.scale { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft); }
.history { font: 600 .7rem/1 ui-monospace, monospace; overflow-wrap: anywhere; }
.history span { display: inline-block; width: 1.1em; padding: .2em 0; margin: 0 1px 1px 0; text-align: center;
  border: 1px solid currentColor; border-radius: 2px; })css";

// The worst first.
constexpr std::array kOrder = {Verdict::rotten,     Verdict::damaged, Verdict::missing,
                               Verdict::unreadable, Verdict::changed, Verdict::fresh,
                               Verdict::sound};

struct Look {
  const char* style;
  char letter;
};

Look look_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::sound:
      return {"good", 's'};
    case Verdict::changed:
      return {"news", 'c'};
    case Verdict::fresh:
      return {"news", 'n'};
    case Verdict::rotten:
      return {"bad", 'R'};
    case Verdict::damaged:
      return {"bad", 'D'};
    case Verdict::missing:
      return {"odd", 'M'};
    case Verdict::unreadable:
      break;
  }
  return {"odd", 'U'};
}

std::string badge(Verdict verdict) {
  return fmt::format("<span class=\"badge {}\">{}</span>", look_of(verdict).style,
                     verdict_name(verdict));
}

std::string date_or(const std::optional<std::int64_t>& date, const char* otherwise) {
  return date ? date_text(*date) : std::string(otherwise);
}

// Where on the disk the damage lies, in as many cells as can be told apart.
std::string damage_map(const ScrubImage& image) {
  if (image.flaws.empty() || image.disk_bytes == 0) return "";
  std::set<std::pair<std::uint64_t, Flaw::Kind>> cells;
  const double cell_bytes = static_cast<double>(image.disk_bytes) / kMapCells;
  const auto cell_of = [&](std::uint64_t offset) {
    const auto cell = static_cast<std::uint64_t>(static_cast<double>(offset) / cell_bytes);
    return std::min(cell, kMapCells - 1);
  };
  for (const Flaw& flaw : image.flaws) {
    if (flaw.length == 0) continue;
    const std::uint64_t last = cell_of(flaw.guest_offset + flaw.length - 1);
    for (std::uint64_t cell = cell_of(flaw.guest_offset); cell <= last; ++cell)
      cells.emplace(cell, flaw.kind);
  }
  std::string svg = fmt::format(
      "<svg class=\"map\" viewBox=\"0 0 {} 10\" preserveAspectRatio=\"none\" role=\"img\">"
      "<title>where on the disk the damage lies</title>",
      kMapCells);
  for (const auto& [cell, kind] : cells)
    fmt::format_to(std::back_inserter(svg),
                   "<rect class=\"{}\" x=\"{}\" y=\"0\" width=\"2\" height=\"10\"/>",
                   flaw_name(kind), cell);
  return svg + fmt::format("</svg>\n<div class=\"scale\"><span>0</span><span>{}</span></div>\n",
                           format_size(image.disk_bytes));
}

std::string range_list(const ScrubImage& image) {
  if (image.flaws.empty()) return "";
  std::string list = "<ul>\n";
  for (const Flaw& flaw : image.flaws | std::views::take(kMostRanges))
    list +=
        fmt::format("<li>{} {:#x} to {:#x} ({})</li>\n", flaw_name(flaw.kind), flaw.guest_offset,
                    flaw.guest_offset + flaw.length, format_size(flaw.length));
  if (image.flaws.size() > kMostRanges)
    list += fmt::format("<li>and {} more</li>\n", image.flaws.size() - kMostRanges);
  return list + "</ul>\n";
}

std::string card(const ScrubImage& image) {
  return fmt::format(
      "<div class=\"card {}\">\n<p>{} <span class=\"path\">{}</span></p>\n"
      "<p class=\"detail\">{}</p>\n"
      "<p class=\"soft\">last proven good as a whole: {}; seen on {}</p>\n{}{}</div>\n",
      look_of(image.verdict).style == std::string_view("odd") ? "odd" : "", badge(image.verdict),
      html_escaped(image.path), html_escaped(image.detail), date_or(image.proven, "never"),
      date_text(image.date), damage_map(image), range_list(image));
}

// The oldest first, as one reads.
std::string history(const ScrubImage& image) {
  std::string strip;
  for (const VerdictRow& row :
       image.history | std::views::take(kMostHistory) | std::views::reverse) {
    const Look look = look_of(row.verdict);
    fmt::format_to(std::back_inserter(strip), "<span class=\"{}\" title=\"{} {}\">{}</span>",
                   look.style, date_text(row.date), verdict_name(row.verdict), look.letter);
  }
  return strip;
}

std::string row(const ScrubImage& image) {
  return fmt::format(
      "<tr><td>{}</td><td class=\"path\">{}</td><td data-name=\"size\">{} {}</td>"
      "<td data-name=\"proven good\">{}</td><td class=\"history\">{}</td></tr>\n",
      badge(image.verdict), html_escaped(image.path), format_size(image.disk_bytes),
      html_escaped(image.format), date_or(image.proven, "never"), history(image));
}

std::string tiles(const ScrubReport& report) {
  std::string text = "<div class=\"tiles\">\n";
  for (const Verdict verdict : kOrder) {
    const std::uint64_t count = report.count(verdict);
    text +=
        fmt::format("<div class=\"tile {}\"><b class=\"{}\">{}</b>{}</div>\n",
                    count == 0 ? "none" : "", look_of(verdict).style, count, verdict_name(verdict));
  }
  return text + "</div>\n";
}

std::string promise(const ScrubReport& report) {
  const std::string since = report.all_read_since ? fmt::format("Each byte was read since {}",
                                                                date_text(*report.all_read_since))
                                                  : std::string("Not every byte was read yet");
  if (!report.within) return fmt::format("<p>{}.</p>\n", since);
  const std::string limit = age_text(*report.within);
  if (report.overdue.empty())
    return fmt::format("<p>{}: <b class=\"good\">within {}, as promised</b>.</p>\n", since, limit);
  std::string text =
      fmt::format("<p>{}: <b class=\"bad\">not within {} for {} of the images</b>:</p>\n<ul>\n",
                  since, limit, report.overdue.size());
  for (const std::string& path : report.overdue | std::views::take(kMostRanges))
    text += fmt::format("<li>{}</li>\n", html_escaped(path));
  return text + "</ul>\n";
}

std::string header(const ScrubReport& report) {
  std::string text =
      fmt::format("<h1>Scrub of {} images</h1>\n<p class=\"soft\">run {}, {} to {}, {} read</p>\n",
                  report.images.size(), report.run, date_text(report.begun),
                  zoned_date_text(report.ended), format_size(report.read_bytes));
  if (report.stop != ScrubStop::done)
    text += fmt::format(
        "<p class=\"odd\">Stopped with {} images to come; the next call goes on "
        "there.</p>\n",
        report.waiting);
  return text;
}

std::string cards(const ScrubReport& report) {
  std::string text;
  for (const Verdict verdict : kOrder)
    for (const ScrubImage& image : report.images)
      if (image.verdict == verdict && is_bad(verdict)) text += card(image);
  return text.empty() ? "" : "<h2>To be seen to</h2>\n" + text;
}

std::string legend() {
  std::string text;
  for (const Verdict verdict : kOrder)
    text += fmt::format("{}<b class=\"{}\">{}</b> {}", text.empty() ? "" : ", ",
                        look_of(verdict).style, look_of(verdict).letter, verdict_name(verdict));
  return fmt::format("<p class=\"soft\">History: {}; the last run is the last.</p>\n", text);
}

std::string failures(const ScrubReport& report) {
  if (report.failures.empty()) return "";
  std::string text = "<h2>Could not be looked at</h2>\n<ul>\n";
  for (const Error& failure : report.failures)
    text += fmt::format("<li>{}</li>\n", html_escaped(failure.to_string()));
  return text + "</ul>\n";
}

}  // namespace

std::string scrub_html_begin() { return html_begin(kTitle); }

std::string scrub_html(const ScrubReport& report) {
  std::string page = html_head(kTitle, kStyle) + header(report) + promise(report) + tiles(report);
  page += cards(report) + failures(report);
  page +=
      "<h2>All images</h2>\n<table>\n<thead><tr><th>verdict</th><th>image</th><th>disk</th>"
      "<th>proven good since</th><th>history, to the last</th></tr></thead>\n<tbody>\n";
  for (const ScrubImage& image : report.images) page += row(image);
  return page + "</tbody>\n</table>\n" + legend() + html_end();
}

}  // namespace grainmill
