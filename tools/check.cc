// SPDX-License-Identifier: Apache-2.0
#include "pipeline/check.h"

#include "tools/command_line.h"
#include "tools/findings.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <ostream>
#include <set>
#include <string>

namespace grainmill {
namespace {

// An image that is wholly damaged has a finding for each of its grains.
constexpr std::uint64_t kMostListed = 1000;

std::string count(std::uint64_t number, std::string_view what) {
  return number == 0 ? "" : fmt::format(", {} {}", number, what);
}

std::string summary(const std::string& image, const CheckReport& report, bool quick,
                    double seconds) {
  std::string text = image + ": ";
  if (report.damage != 0)
    text += fmt::format("DAMAGED: {} finding{}", report.damage, report.damage == 1 ? "" : "s");
  else if (report.unchecked != 0)
    text += "could not be checked";
  else
    text += report.sound() ? "sound" : "no damage";
  text += count(report.damage == 0 ? 0 : report.unchecked, "unchecked") +
          count(report.suspicious, "suspicious") + count(report.cosmetic, "cosmetic");
  if (report.leaked_bytes != 0)
    text += fmt::format(", {} leaked", format_size(report.leaked_bytes));
  if (report.links == 0) return text + '\n';
  text += fmt::format(" ({}, {}", report.format, format_size(report.disk_bytes));
  if (report.links > 1) text += fmt::format(", chain of {}", report.links);
  if (report.read_bytes != 0) text += fmt::format(", {} read", format_size(report.read_bytes));
  if (quick) text += ", structure only";
  return text + fmt::format(", {:.2f} s)\n", seconds);
}

// The names of qemu-img where the meaning is the same.
nlohmann::json to_json(const std::string& image, const CheckReport& report, nlohmann::json findings,
                       std::uint64_t omitted) {
  return {{"filename", image},
          {"format", report.format},
          {"virtual-size", report.disk_bytes},
          {"links", report.links},
          {"sound", report.sound()},
          {"corruptions", report.damage},
          {"check-errors", report.unchecked},
          {"suspicious", report.suspicious},
          {"cosmetic", report.cosmetic},
          {"leaked_bytes", report.leaked_bytes},
          {"read_bytes", report.read_bytes},
          {"findings", std::move(findings)},
          {"findings_omitted", omitted}};
}

// Checks one image after the other, and remembers the worst.
class Checker {
 public:
  Checker(const CheckArgs& args, Host& host) : args_(args), host_(host) {}

  // The image that speaks for `path`, a part of it; nullopt: it is to be checked by itself.
  [[nodiscard]] std::optional<std::string> checked_with(const std::string& path) {
    if (args_.images.size() == 1) return std::nullopt;
    std::string owner = image_to_check(host_.files, path, args_.image.disk);
    if (owner == path) return std::nullopt;
    if (named_.empty())
      for (const std::string& each : args_.images)
        named_.insert(host_.files.canonical(each).value_or(each));
    if (!named_.contains(host_.files.canonical(owner).value_or(owner))) return std::nullopt;
    return owner;
  }

  void skip_part(const std::string& path, const std::string& owner) {
    if (for_programs()) {
      nlohmann::json object = to_json(path, {}, nlohmann::json::array(), 0);
      object["part-of"] = owner;
      print_json(std::move(object));
    } else if (!args_.run.quiet) {
      host_.out << fmt::format("{}: part of {}, which is checked\n", path, owner);
    }
  }

  // False: stopped.
  bool check_one(const std::string& image) {
    ProgressReporter progress(args_.run.progress, args_.run.quiet, host_);
    nlohmann::json listed = nlohmann::json::array();
    std::uint64_t found = 0;
    CheckOptions options;
    options.image = image;
    options.disk = args_.image.disk;
    options.quick = args_.quick;
    options.graph = graph_options(args_.run, progress, host_);
    options.on_finding = [&](const Finding& finding) {
      progress.finish();
      if (++found > kMostListed) return;
      if (for_programs())
        listed.push_back(finding_json(finding));
      else if (!args_.run.quiet || finding.severity <= Severity::leak)
        host_.out << finding_text(finding);
    };
    const Result<CheckReport> report = check(host_.files, options);
    progress.finish();
    if (!report) {
      report_failure(report.error(), args_.run.progress, host_);
      worst_ = kExitNotChecked;
      return false;
    }
    note(check_status(*report));
    if (report->damage != 0 && ++damaged_ == 1) {
      damaged_image_ = image_words(host_.files, image, args_.image.disk.format);
      damaged_format_ = report->format;
    }
    const std::uint64_t omitted = found - std::min(found, kMostListed);
    if (for_programs())
      print_json(to_json(image, *report, std::move(listed), omitted));
    else
      print_text(image, *report, omitted, progress.elapsed_seconds());
    return true;
  }

  int finish() {
    if (args_.form == OutputForm::json && !is_event_stream())
      host_.out << (objects_.size() == 1 ? objects_.front() : objects_)
                       .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                << '\n';
    if (!for_programs() && !args_.run.quiet && damaged_ != 0) host_.out << next_steps();
    return worst_;
  }

 private:
  [[nodiscard]] bool is_event_stream() const { return args_.run.progress == ProgressForm::json; }
  [[nodiscard]] bool for_programs() const {
    return args_.form == OutputForm::json || is_event_stream();
  }

  // Damage is worse than what could not be checked, and that is worse than leaks.
  void note(int status) {
    static constexpr std::array kByWeight = {kExitDone, kExitLeaks, kExitNotChecked, kExitDamaged};
    const auto weight = [](int each) { return std::ranges::find(kByWeight, each); };
    if (weight(status) > weight(worst_)) worst_ = status;
  }

  [[nodiscard]] std::string next_steps() const {
    const std::string image = damaged_ == 1 ? damaged_image_ : "IMAGE";
    std::string text;
    if (damaged_ > 1 || damaged_format_ != "qcow2")  // of which there is no second copy
      text = fmt::format("What can be repaired, without writing: grainmill check --repair {}\n",
                         image);
    return text +
           fmt::format("To save what can be read: grainmill check --salvage RAW {}\n", image);
  }

  void print_json(nlohmann::json object) {
    if (!is_event_stream()) {
      objects_.push_back(std::move(object));
      return;
    }
    object["event"] = "done";
    host_.out << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }

  void print_text(const std::string& image, const CheckReport& report, std::uint64_t omitted,
                  double seconds) {
    if (omitted != 0)
      host_.out << fmt::format("{}: {} more findings, which are not listed\n", image, omitted);
    if (!args_.run.quiet || !report.sound())
      host_.out << summary(image, report, args_.quick, seconds);
  }

  const CheckArgs& args_;
  Host& host_;
  std::set<std::string> named_;  // all images, canonical, once that is asked for
  nlohmann::json objects_ = nlohmann::json::array();
  int worst_ = kExitDone;
  std::uint64_t damaged_ = 0;  // images
  std::string damaged_image_;  // the first of them, in words of a command
  std::string damaged_format_;
};

}  // namespace

int run_check(const CheckArgs& args, Host& host) {
  if (args.repair || args.undo || !args.salvage.empty()) {
    if (args.images.size() == 1) {
      if (args.undo) return run_undo(args, host);
      return args.repair ? run_repair(args, host) : run_salvage(args, host);
    }
    report_failure(fail(ErrorKind::invalid_argument, "",
                        "one image at a time is repaired or salvaged: give one, with its snapshots "
                        "it is still one")
                       .error(),
                   args.run.progress, host);
    return kExitNotChecked;
  }
  Checker checker(args, host);
  for (const std::string& image : args.images) {
    if (const std::optional<std::string> owner = checker.checked_with(image))
      checker.skip_part(image, *owner);
    else if (!checker.check_one(image))
      return kExitNotChecked;
  }
  return checker.finish();
}

}  // namespace grainmill
