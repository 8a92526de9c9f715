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

void print_human(const VerifyArgs& args, const VerifyReport& report, const std::string& manifest,
                 double seconds, Host& host) {
  if (report.same()) {
    host.out << fmt::format("{}: same as in {}: {} in {:.2f} s, root {}{}\n", args.image.path,
                            manifest, format_size(report.disk_bytes), seconds,
                            to_hex(report.expected_root),
                            report.crypto == CryptoAlgorithm::none
                                ? ""
                                : fmt::format(" and {} root", crypto_name(report.crypto)));
    return;
  }
  if (report.disk_bytes != report.expected_bytes)
    host.out << fmt::format(
        "{}: is a disk of {} bytes (read as {}), the manifest is of one of {} bytes\n",
        args.image.path, report.disk_bytes, report.format, report.expected_bytes);
  if (report.crypto_differs)
    host.out << fmt::format(
        "{}: the {} root differs although all digests agree: the contents were changed on "
        "purpose\n",
        args.image.path, crypto_name(report.crypto));
  host.out << fmt::format("{}: NOT the same as in {}: {} differ, {} unreadable\n", args.image.path,
                          manifest, format_size(report.differing_bytes),
                          format_size(report.unreadable_bytes));
}

}  // namespace

int run_verify(const VerifyArgs& args, Host& host) {
  ProgressReporter progress(args.run, host);
  nlohmann::json ranges = nlohmann::json::array();
  VerifyOptions options;
  options.image = args.image.path;
  options.disk = args.image.disk;
  options.manifest = args.manifest.empty() ? default_manifest_path(args.image.path) : args.manifest;
  options.graph = graph_options(args.run, progress, host);
  options.on_difference = [&](const Difference& difference) {
    progress.finish();
    if (args.form == OutputForm::json)
      ranges.push_back(to_json(difference));
    else
      print_human(difference, host);
  };

  const Result<VerifyReport> report = verify(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.run.progress, host);
  if (args.form == OutputForm::json) {
    const nlohmann::json object = {{"image", args.image.path},
                                   {"format", report->format},
                                   {"manifest", options.manifest},
                                   {"same", report->same()},
                                   {"disk_bytes", report->disk_bytes},
                                   {"expected_bytes", report->expected_bytes},
                                   {"differing_bytes", report->differing_bytes},
                                   {"unreadable_bytes", report->unreadable_bytes},
                                   {"structure_damaged", report->structure_damaged},
                                   {"crypto_differs", report->crypto_differs},
                                   {"ranges", ranges}};
    host.out << object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else if (!args.run.quiet || !report->same()) {
    print_human(args, *report, options.manifest, progress.elapsed_seconds(), host);
  }
  return report->same() ? kExitDone : kExitDiffers;
}

}  // namespace grainmill
