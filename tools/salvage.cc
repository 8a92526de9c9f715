// SPDX-License-Identifier: Apache-2.0
#include "pipeline/salvage.h"

#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ostream>

namespace grainmill {
namespace {

// The map file has them all.
constexpr std::uint64_t kMostListed = 1000;

class SalvagePrinter {
 public:
  SalvagePrinter(const CheckArgs& args, Host& host)
      : args_(args), host_(host), progress_(args.run.progress, args.run.quiet, host) {}

  SalvageOptions options() {
    SalvageOptions options;
    options.image = args_.images.front();
    options.disk = args_.image.disk;
    options.output = args_.salvage;
    options.graph = graph_options(args_.run, progress_, host_);
    options.on_correction = [this](const Correction& correction) { add(correction); };
    options.on_range = [this](const RescuedRange& range) { add(range); };
    options.on_damage = [this](const Error& damage) { add(damage); };
    return options;
  }

  int fail(const Error& error) {
    progress_.finish();
    report_failure(error, args_.run.progress, host_);
    return kExitNotChecked;
  }

  int finish(const SalvageReport& report) {
    progress_.finish();
    if (for_programs())
      print_json(report);
    else
      host_.out << summary(report);
    return report.whole() ? kExitDone : kExitDamaged;
  }

 private:
  [[nodiscard]] bool for_programs() const {
    return args_.form == OutputForm::json || args_.run.progress == ProgressForm::json;
  }

  void add(const Correction& correction) {
    progress_.finish();
    if (for_programs() || args_.run.quiet) return;
    host_.out << fmt::format("read with: {}: offset {:#x}: {}\n", correction.path,
                             correction.patch.offset, correction.what);
  }

  void add(const RescuedRange& range) {
    if (++ranges_found_ > kMostListed) return;
    progress_.finish();
    if (for_programs())
      ranges_.push_back({{"status", rescue_status_name(range.status)},
                         {"guest_offset", range.begin},
                         {"guest_length", range.end - range.begin},
                         {"message", range.why}});
    else
      host_.out << fmt::format("{}: guest offset {:#x} to {:#x}: {}\n",
                               rescue_status_name(range.status), range.begin, range.end, range.why);
  }

  void add(const Error& damage) {
    if (damage_.size() == kMostListed) return;
    progress_.finish();
    if (for_programs())
      damage_.push_back(damage.to_string());
    else
      host_.out << "damage: " << damage.to_string() << '\n';
  }

  [[nodiscard]] std::string summary(const SalvageReport& report) const {
    std::string text;
    if (ranges_found_ > kMostListed)
      text = fmt::format("{} more ranges, which {} has\n", ranges_found_ - kMostListed,
                         rescue_map_path(args_.salvage));
    text += fmt::format("{}: {} of {} read", args_.salvage,
                        format_size(report.disk_bytes - report.missing_bytes),
                        format_size(report.disk_bytes));
    if (report.doubtful_bytes != 0)
      text += fmt::format(", {} of it doubtful", format_size(report.doubtful_bytes));
    if (report.missing_bytes != 0)
      text += fmt::format(", {} missing (zeros)", format_size(report.missing_bytes));
    if (report.damage != 0)
      text += fmt::format("; {} finding{} of damage that may be about any of it", report.damage,
                          report.damage == 1 ? "" : "s");
    return text + fmt::format("; {} says where\n", rescue_map_path(args_.salvage));
  }

  void print_json(const SalvageReport& report) const {
    nlohmann::json object = {{"image", args_.images.front()},
                             {"output", args_.salvage},
                             {"map", rescue_map_path(args_.salvage)},
                             {"format", report.format},
                             {"virtual-size", report.disk_bytes},
                             {"corrections", report.corrections},
                             {"doubtful_bytes", report.doubtful_bytes},
                             {"missing_bytes", report.missing_bytes},
                             {"damage", damage_},
                             {"ranges", ranges_},
                             {"ranges_omitted", ranges_found_ - ranges_.size()}};
    const bool events = args_.run.progress == ProgressForm::json;
    if (events) object["event"] = "done";
    host_.out << object.dump(events ? -1 : 2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  }

  const CheckArgs& args_;
  Host& host_;
  ProgressReporter progress_;
  nlohmann::json ranges_ = nlohmann::json::array();
  nlohmann::json damage_ = nlohmann::json::array();
  std::uint64_t ranges_found_ = 0;
};

}  // namespace

int run_salvage(const CheckArgs& args, Host& host) {
  SalvagePrinter printer(args, host);
  const Result<SalvageReport> report = salvage(host.files, printer.options());
  return report ? printer.finish(*report) : printer.fail(report.error());
}

}  // namespace grainmill
