// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scrub.h"

#include "engine/io/io_priority.h"
#include "tools/command_line.h"
#include "tools/report.h"
#include "tools/scrub_reports.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <system_error>

namespace grainmill {
namespace {

// A wholly rotten image may have a range for every other grain.
constexpr std::size_t kMostRanges = 20;

constexpr std::array kByWeight = {Verdict::rotten,     Verdict::damaged, Verdict::missing,
                                  Verdict::unreadable, Verdict::changed, Verdict::fresh,
                                  Verdict::sound};

// Of a service its own folder, else where programs keep what they must not forget.
std::string default_catalogue() {
  const auto of = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string state = of("STATE_DIRECTORY"); !state.empty())
    return state.substr(0, state.find(':')) + "/catalogue.db";
  if (const std::string state = of("XDG_STATE_HOME"); !state.empty())
    return state + "/grainmill/catalogue.db";
  if (const std::string home = of("HOME"); !home.empty())
    return home + "/.local/state/grainmill/catalogue.db";
  return "";
}

Result<std::string> catalogue_path(const ScrubArgs& args) {
  if (!args.catalogue.empty()) return args.catalogue;
  std::string path = default_catalogue();
  if (path.empty())
    return fail(ErrorKind::invalid_argument, "",
                "neither HOME nor XDG_STATE_HOME is set: say with --catalogue where to remember "
                "what was found");
  std::error_code error;
  std::filesystem::create_directories(folder_of(path), error);
  if (error)
    return fail(
        ErrorKind::io, folder_of(path),
        fmt::format("cannot be made: {}; name another place with --catalogue", error.message()));
  return path;
}

std::string to_text(const ScrubImage& image) {
  std::string text = fmt::format("{:<10} {}", verdict_name(image.verdict), image.path);
  if (!image.detail.empty()) text += fmt::format(": {}", image.detail);
  text += '\n';
  std::size_t shown = 0;
  for (const Flaw& flaw : image.flaws) {
    if (++shown > kMostRanges) {
      text += fmt::format("           and {} more ranges\n", image.flaws.size() - kMostRanges);
      break;
    }
    text +=
        fmt::format("           {} guest offset {:#x} to {:#x} ({})\n", flaw_name(flaw.kind),
                    flaw.guest_offset, flaw.guest_offset + flaw.length, format_size(flaw.length));
  }
  if (is_bad(image.verdict))
    text += image.proven ? fmt::format("           all of it was last proven good on {}\n",
                                       date_text(*image.proven))
                         : std::string("           never proven good as a whole\n");
  return text;
}

std::string counts_text(const ScrubReport& report) {
  std::string text;
  for (const Verdict verdict : kByWeight)
    if (const std::uint64_t count = report.count(verdict); count != 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, verdict_name(verdict));
  return text.empty() ? "none" : text;
}

std::string within_text(const ScrubReport& report) {
  std::string text =
      report.all_read_since
          ? fmt::format("each byte was read since {} ({} ago)", date_text(*report.all_read_since),
                        age_text(report.ended - *report.all_read_since))
          : std::string("not every byte was read yet");
  if (!report.within) return text + '\n';
  const std::string limit = age_text(*report.within);
  if (report.overdue.empty()) return fmt::format("within {}: kept: {}\n", limit, text);
  return fmt::format("within {}: NOT KEPT for {} image{}, such as {}: {}\n", limit,
                     report.overdue.size(), report.overdue.size() == 1 ? "" : "s",
                     report.overdue.front(), text);
}

std::string stop_text(const ScrubReport& report, const ScrubArgs& args) {
  if (report.stop == ScrubStop::done) return "";
  const std::string why = report.stop == ScrubStop::cancelled
                              ? "stopped"
                              : fmt::format("stopped: outside {}-{}", clock_text(args.hours->from),
                                            clock_text(args.hours->to));
  return fmt::format("{}; {} image{} to come, where the next call goes on\n", why, report.waiting,
                     report.waiting == 1 ? "" : "s");
}

std::string summary(const ScrubReport& report, const ScrubArgs& args, double seconds) {
  std::string text;
  for (const Error& failure : report.failures)
    text += fmt::format("could not be looked at: {}\n", failure.to_string());
  text += fmt::format("{} image{}: {}\n", report.images.size(),
                      report.images.size() == 1 ? "" : "s", counts_text(report));
  text += fmt::format("run {}{}, {} read, {:.2f} s\n", report.run,
                      report.resumed ? fmt::format(" (since {})", date_text(report.begun)) : "",
                      format_size(report.read_bytes), seconds);
  return text + within_text(report) + stop_text(report, args);
}

int status_of(const ScrubReport& report) {
  for (const ScrubImage& image : report.images)
    if (is_bad(image.verdict)) return kExitBadImages;
  if (report.stop == ScrubStop::cancelled || !report.failures.empty()) return kExitNotScrubbed;
  return report.overdue.empty() ? kExitDone : kExitOverdue;
}

ScrubOptions scrub_options(const ScrubArgs& args, ProgressReporter& progress, Host& host) {
  ScrubOptions options;
  options.find.folders = args.folders;
  options.find.raw = args.raw;
  options.find.exclude = args.exclude;
  options.find.open.policy = args.policy;
  options.graph = graph_options(args.run, progress, host);
  options.within = args.within_seconds;
  options.bytes_per_second = args.bytes_per_second;
  options.forget_missing = args.forget_missing;
  if (args.hours)
    options.may_read = [hours = *args.hours](std::int64_t now) {
      return hours.contains(minute_of_day(now));
    };
  return options;
}

void print_human(const ScrubArgs& args, const ScrubReport& report, double seconds, Host& host) {
  for (const Verdict verdict : kByWeight)
    for (const ScrubImage& image : report.images)
      if (image.verdict == verdict && verdict != Verdict::sound &&
          (is_bad(verdict) || !args.run.quiet))
        host.out << to_text(image);
  if (!args.run.quiet || status_of(report) != kExitDone) host.out << summary(report, args, seconds);
}

ReportKind page_kind() { return {"page of a scrub", scrub_html_begin()}; }
ReportKind metrics_kind() { return {"metrics file of a scrub", scrub_metrics_begin()}; }

// Before all is read, and cannot be told.
Status check_report_paths(const ScrubArgs& args, FileSystem& files) {
  GM_CHECK(check_report_path(files, args.html, page_kind()));
  return check_report_path(files, args.metrics, metrics_kind());
}

Status write_reports(const ScrubArgs& args, const ScrubReport& report, FileSystem& files) {
  GM_CHECK(write_report(files, args.html, page_kind(), scrub_html(report)));
  return write_report(files, args.metrics, metrics_kind(), scrub_metrics(report));
}

int print_report(const ScrubArgs& args, const ScrubReport& report, double seconds, Host& host) {
  if (args.form == OutputForm::json)
    host.out << scrub_json(report);
  else
    print_human(args, report, seconds, host);
  if (const Status written = write_reports(args, report, host.files); !written)
    return report_failure(written.error(), args.run.progress, host);
  return status_of(report);
}

}  // namespace

int run_scrub(const ScrubArgs& args, Host& host) {
  if (const Status fine = check_report_paths(args, host.files); !fine)
    return report_failure(fine.error(), args.run.progress, host);
  read_when_idle();
  ProgressReporter progress(args.run.progress, args.run.quiet, host);
  ScrubOptions options = scrub_options(args, progress, host);
  const Result<std::string> catalogue = catalogue_path(args);
  if (!catalogue) return report_failure(catalogue.error(), args.run.progress, host);
  options.catalogue = *catalogue;
  const Result<ScrubReport> report = scrub(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.run.progress, host);
  return print_report(args, *report, progress.elapsed_seconds(), host);
}

}  // namespace grainmill
