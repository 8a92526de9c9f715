// SPDX-License-Identifier: Apache-2.0
#include "pipeline/verify.h"

#include "pipeline/convert.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ostream>

namespace grainmill {
namespace {

nlohmann::json to_json(const Difference& difference) {
  const bool structure = difference.length == 0;
  const char* kind = structure                                      ? "structure"
                     : difference.kind == Difference::Kind::differs ? "differs"
                                                                    : "unreadable";
  nlohmann::json object = {{"kind", kind}};
  if (!structure)
    object.update({{"offset", difference.guest_offset}, {"length", difference.length}});
  if (difference.error) object["reason"] = difference.error->to_string();
  return object;
}

void print_human(const Difference& difference, Host& host) {
  if (difference.length == 0) {
    host.out << "structure damaged: " << difference.error->to_string() << '\n';
    return;
  }
  host.out << fmt::format(
      "{} guest offset {:#x} to {:#x} ({})",
      difference.kind == Difference::Kind::differs ? "differs:   " : "unreadable:",
      difference.guest_offset, difference.guest_offset + difference.length,
      format_size(difference.length));
  if (difference.error) host.out << ": " << difference.error->to_string();
  host.out << '\n';
}

std::string roots_text(const VerifyReport& report) {
  std::string text = "root " + to_hex(report.expected_roots.root);
  if (report.crypto != CryptoAlgorithm::none)
    text += fmt::format(", {} root {}", crypto_name(report.crypto),
                        to_hex(std::span<const std::byte>(report.expected_roots.crypto)));
  return text;
}

void print_human(const VerifyArgs& args, const VerifyReport& report, const std::string& manifest,
                 double seconds, Host& host) {
  if (report.same()) {
    host.out << fmt::format("{}: same as in {}: {} in {:.2f} s, {}\n", args.image.path, manifest,
                            format_size(report.disk_bytes), seconds, roots_text(report));
    return;
  }
  if (report.disk_bytes != report.expected_bytes) {
    host.out << fmt::format(
        "{}: NOT the same as in {}: is a disk of {} bytes (read as {}), expected one of {}\n",
        args.image.path, manifest, report.disk_bytes, report.format, report.expected_bytes);
    return;
  }
  if (report.crypto_differs)
    host.out << fmt::format(
        "{}: the {} root differs although all digests agree: the contents were changed on "
        "purpose\n",
        args.image.path, crypto_name(report.crypto));
  host.out << fmt::format("{}: NOT the same as in {}: {} differ, {} unreadable{}\n",
                          args.image.path, manifest, format_size(report.differing_bytes),
                          format_size(report.unreadable_bytes),
                          report.structure_damaged ? ", structure damaged" : "");
}

nlohmann::json to_json(const VerifyArgs& args, const VerifyReport& report,
                       const std::string& manifest, const nlohmann::json& ranges) {
  nlohmann::json object = {{"image", args.image.path},
                           {"format", report.format},
                           {"manifest", manifest},
                           {"same", report.same()},
                           {"disk_bytes", report.disk_bytes},
                           {"expected_bytes", report.expected_bytes},
                           {"differing_bytes", report.differing_bytes},
                           {"unreadable_bytes", report.unreadable_bytes},
                           {"structure_damaged", report.structure_damaged},
                           {"crypto_differs", report.crypto_differs},
                           {"xxh3_root", to_hex(report.expected_roots.root)},
                           {"ranges", ranges}};
  if (report.crypto != CryptoAlgorithm::none)
    object[std::string(crypto_name(report.crypto)) + "_root"] =
        to_hex(std::span<const std::byte>(report.expected_roots.crypto));
  return object;
}

}  // namespace

int run_verify(const VerifyArgs& args, Host& host) {
  if (!args.heal_from.empty()) return run_heal(args, host);
  ProgressReporter progress(args.run.progress, args.run.quiet, host);
  nlohmann::json ranges = nlohmann::json::array();
  const bool for_programs =
      args.form == OutputForm::json || args.run.progress == ProgressForm::json;
  VerifyOptions options;
  options.image = args.image.path;
  options.disk = args.image.disk;
  options.manifest = args.manifest.empty() ? default_manifest_path(args.image.path) : args.manifest;
  options.graph = graph_options(args.run, progress, host);
  options.on_difference = [&](const Difference& difference) {
    progress.finish();
    if (for_programs)
      ranges.push_back(to_json(difference));
    else
      print_human(difference, host);
  };

  const Result<VerifyReport> report = verify(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.run.progress, host);
  if (for_programs) {
    nlohmann::json object = to_json(args, *report, options.manifest, ranges);
    const bool events = args.run.progress == ProgressForm::json;
    if (events) object["event"] = "done";
    host.out << object.dump(events ? -1 : 2, ' ', false, nlohmann::json::error_handler_t::replace)
             << '\n';
  } else if (!args.run.quiet || !report->same()) {
    print_human(args, *report, options.manifest, progress.elapsed_seconds(), host);
  }
  return report->same() ? kExitDone : kExitDiffers;
}

}  // namespace grainmill
