// SPDX-License-Identifier: Apache-2.0
#include "pipeline/heal.h"

#include "pipeline/convert.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <ostream>

namespace grainmill {
namespace {

constexpr std::uint64_t kMostListed = 1000;

// Prints what is found and healed, neighbours of a kind as one.
class HealPrinter {
 public:
  HealPrinter(const VerifyArgs& args, Host& host)
      : args_(args), host_(host), progress_(args.run.progress, args.run.quiet, host) {}

  HealOptions options() {
    HealOptions options;
    options.verify.image = args_.image.path;
    options.verify.disk = args_.image.disk;
    options.verify.manifest =
        args_.manifest.empty() ? default_manifest_path(args_.image.path) : args_.manifest;
    options.verify.graph = graph_options(args_.run, progress_, host_);
    options.verify.on_difference = [](const Difference&) {};
    options.from = args_.heal_from;
    options.from_disk.format = args_.heal_format;
    options.from_disk.open.policy = args_.image.disk.open.policy;
    options.write = args_.yes;
    options.on_healed = [this](const GuestRange& range, const std::string& how) {
      add({range, true, how});
    };
    options.on_left = [this](const GuestRange& range, const std::string& why) {
      add({range, false, why});
    };
    return options;
  }

  int fail(const Error& error) {
    flush();
    progress_.finish();
    return report_failure(error, args_.run.progress, host_);
  }

  int finish(const HealReport& report) {
    flush();
    progress_.finish();
    if (for_programs())
      print_json(report);
    else if (!args_.run.quiet || !report.whole())
      host_.out << summary(report);
    return report.whole() ? kExitDone : kExitDiffers;
  }

 private:
  struct Event {
    GuestRange range;
    bool healed = false;
    std::string what;
  };

  [[nodiscard]] bool for_programs() const {
    return args_.form == OutputForm::json || args_.run.progress == ProgressForm::json;
  }

  void add(const Event& event) {
    if (pending_ && pending_->healed == event.healed && pending_->what == event.what &&
        pending_->range.end == event.range.begin) {
      pending_->range.end = event.range.end;
      return;
    }
    flush();
    pending_ = event;
  }

  void flush() {
    if (pending_ && ++found_ <= kMostListed) print(*pending_);
    pending_.reset();
  }

  void print(const Event& event) {
    progress_.finish();
    if (for_programs()) {
      ranges_.push_back({{"healed", event.healed},
                         {"offset", event.range.begin},
                         {"length", event.range.end - event.range.begin},
                         {"message", event.what}});
      return;
    }
    if (event.healed && args_.run.quiet) return;
    const char* word = !event.healed ? "left" : args_.yes ? "healed" : "would be healed";
    host_.out << fmt::format("{}: guest offset {:#x} to {:#x} ({}): {}\n", word, event.range.begin,
                             event.range.end, format_size(event.range.end - event.range.begin),
                             event.what);
  }

  [[nodiscard]] std::string summary(const HealReport& report) const {
    const std::string& image = args_.image.path;
    if (report.before.same()) return image + ": same as in the manifest, nothing to heal\n";
    std::string text;
    if (found_ > kMostListed)
      text = fmt::format("{} more ranges, which are not listed\n", found_ - kMostListed);
    text += fmt::format("{}: {} {} from {}", image, format_size(report.healed_bytes),
                        report.written ? "healed" : "can be healed", args_.heal_from);
    if (report.left_bytes != 0) text += fmt::format(", {} left", format_size(report.left_bytes));
    if (!report.written) return text + "; nothing was written, --yes does it\n";
    if (report.root_differs)
      return text + fmt::format(
                        "; all digests agree and the {} root differs: {} was changed on "
                        "purpose\n",
                        crypto_name(report.before.crypto), args_.heal_from);
    return text + (report.whole() ? "; read back, same as in the manifest\n" : "; read back\n");
  }

  void print_json(const HealReport& report) const {
    nlohmann::json object = {{"image", args_.image.path},
                             {"from", args_.heal_from},
                             {"same", report.whole()},
                             {"written", report.written},
                             {"differing_bytes", report.before.differing_bytes},
                             {"unreadable_bytes", report.before.unreadable_bytes},
                             {"healed_bytes", report.healed_bytes},
                             {"left_bytes", report.left_bytes},
                             {"crypto_differs", report.root_differs},
                             {"ranges", ranges_},
                             {"ranges_omitted", found_ - ranges_.size()}};
    const bool events = args_.run.progress == ProgressForm::json;
    if (events) object["event"] = "done";
    host_.out << object.dump(events ? -1 : 2, ' ', false, nlohmann::json::error_handler_t::replace)
              << '\n';
  }

  const VerifyArgs& args_;
  Host& host_;
  ProgressReporter progress_;
  nlohmann::json ranges_ = nlohmann::json::array();
  std::optional<Event> pending_;
  std::uint64_t found_ = 0;
};

}  // namespace

int run_heal(const VerifyArgs& args, Host& host) {
  HealPrinter printer(args, host);
  const Result<HealReport> report = heal(host.files, printer.options());
  return report ? printer.finish(*report) : printer.fail(report.error());
}

}  // namespace grainmill
