// SPDX-License-Identifier: Apache-2.0
#include "pipeline/repair.h"

#include "tools/command_line.h"
#include "tools/findings.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ostream>

namespace grainmill {
namespace {

std::string place_of(const Correction& correction) {
  return fmt::format("{}: offset {:#x}", correction.path, correction.patch.offset);
}

// What is said of a repair while it is found out and made.
class RepairPrinter {
 public:
  RepairPrinter(const CheckArgs& args, Host& host)
      : args_(args), host_(host), progress_(args.run.progress, args.run.quiet, host) {}

  RepairOptions options(const std::string& image) {
    RepairOptions options;
    options.write = args_.yes;
    options.accept_parent = args_.accept_parent;
    options.check.image = image;
    options.check.disk = args_.image.disk;
    options.check.quick = args_.quick;
    options.check.graph = graph_options(args_.run, progress_, host_);
    options.check.on_finding = [this](const Finding& finding) { add(finding); };
    options.on_correction = [this](const Correction& correction) { add(correction); };
    options.on_doubt = [this](const Error& doubt) { add(doubt); };
    return options;
  }

  int fail(const Error& error) {
    progress_.finish();
    report_failure(error, args_.run.progress, host_);
    return kExitNotChecked;
  }

  int finish(const std::string& image, const RepairReport& report) {
    progress_.finish();
    if (for_programs())
      print_json(image, report);
    else
      host_.out << summary(image, report);
    return check_status(args_.yes ? report.after : report.before);
  }

 private:
  [[nodiscard]] bool for_programs() const {
    return args_.form == OutputForm::json || args_.run.progress == ProgressForm::json;
  }

  void add(const Correction& correction) {
    progress_.finish();
    if (for_programs())
      corrections_.push_back({{"path", correction.path},
                              {"offset", correction.patch.offset},
                              {"length", correction.patch.bytes.size()},
                              {"message", correction.what}});
    else if (!args_.run.quiet)
      host_.out << fmt::format("{}: {}: {}\n", args_.yes ? "correct" : "would correct",
                               place_of(correction), correction.what);
  }

  void add(const Error& doubt) {
    progress_.finish();
    if (for_programs())
      doubts_.push_back(doubt.to_string());
    else
      host_.out << "undecided: " << doubt.to_string() << '\n';
  }

  void add(const Finding& finding) {
    progress_.finish();
    if (for_programs())
      left_.push_back(finding_json(finding));
    else if (!args_.run.quiet || finding.severity <= Severity::leak)
      host_.out << (args_.yes ? "left: " : "would be left: ") << finding_text(finding);
  }

  static std::string findings(std::uint64_t number) {
    return fmt::format("{} {}", number, number == 1 ? "finding" : "findings");
  }

  [[nodiscard]] std::string summary(const std::string& image, const RepairReport& report) const {
    const bool whole = report.after.damage + report.after.unchecked == 0;
    std::string text = image + ": ";
    if (report.corrections == 0)
      return text + (whole ? "nothing to repair\n"
                           : fmt::format("nothing that could be repaired; {} of damage\n",
                                         findings(report.after.damage)));
    text += fmt::format(
        "{} {}, {}", report.corrections, report.corrections == 1 ? "correction" : "corrections",
        whole ? "no damage left" : findings(report.after.damage) + " of damage left");
    if (!report.written) return text + "; nothing was written, --yes does it\n";
    text += whole ? "; checked as it is now" : "";
    if (!report.journal.empty())
      text +=
          fmt::format("; {} takes it back (`grainmill check --undo {}`)", report.journal, image);
    return text + '\n';
  }

  void print_json(const std::string& image, const RepairReport& report) const {
    nlohmann::json object = {{"image", image},
                             {"written", report.written},
                             {"corrections", corrections_},
                             {"undecided", doubts_},
                             {"damage_before", report.before.damage},
                             {"damage_after", report.after.damage},
                             {"left", left_}};
    if (!report.journal.empty()) object["journal"] = report.journal;
    const bool events = args_.run.progress == ProgressForm::json;
    if (events) object["event"] = "done";
    host_.out << object.dump(events ? -1 : 2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  }

  const CheckArgs& args_;
  Host& host_;
  ProgressReporter progress_;
  nlohmann::json corrections_ = nlohmann::json::array();
  nlohmann::json doubts_ = nlohmann::json::array();
  nlohmann::json left_ = nlohmann::json::array();
};

}  // namespace

int run_repair(const CheckArgs& args, Host& host) {
  const std::string& image = args.images.front();
  RepairPrinter printer(args, host);
  const Result<RepairReport> report = repair(host.files, printer.options(image));
  return report ? printer.finish(image, *report) : printer.fail(report.error());
}

int run_undo(const CheckArgs& args, Host& host) {
  const std::string& image = args.images.front();
  const Status undone = undo_repair(host.files, args.image.disk.open.policy, image);
  if (!undone) {
    report_failure(undone.error(), args.run.progress, host);
    return kExitNotChecked;
  }
  if (!args.run.quiet) host.out << image << ": as it was before the repair\n";
  return kExitDone;
}

}  // namespace grainmill
