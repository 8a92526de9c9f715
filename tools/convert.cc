// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert.h"

#include "engine/base/text.h"
#include "engine/format/format.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ostream>

namespace grainmill {
namespace {

void print_json(const ConvertOptions& options, const ConvertReport& report, double seconds,
                Host& host) {
  nlohmann::json object = {{"event", "done"},
                           {"output", options.output},
                           {"disk_bytes", report.disk_bytes},
                           {"data_bytes", report.data_bytes},
                           {"resumed_bytes", report.resumed_bytes},
                           {"seconds", seconds},
                           {"xxh3_root", to_hex(report.roots.root)}};
  if (!options.manifest.empty()) object["manifest"] = options.manifest;
  if (!report.roots.crypto.empty())
    object[std::string(crypto_name(options.graph.crypto)) + "_root"] =
        to_hex(std::span<const std::byte>(report.roots.crypto));
  host.out << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n'
           << std::flush;
}

void print_human(const ConvertOptions& options, const ConvertReport& report, double seconds,
                 Host& host) {
  host.out << fmt::format("{}: {} disk, {} of data, {:.2f} s\n", options.output,
                          format_size(report.disk_bytes), format_size(report.data_bytes), seconds);
  if (report.resumed_bytes != 0)
    host.out << fmt::format("{}: {} of it were there from before, and are proven\n", options.output,
                            format_size(report.resumed_bytes));
  if (!options.manifest.empty())
    host.out << fmt::format("{}: root {}\n", options.manifest, to_hex(report.roots.root));
  if (!report.roots.crypto.empty())
    host.out << fmt::format("{} root {}\n", crypto_name(options.graph.crypto),
                            to_hex(std::span<const std::byte>(report.roots.crypto)));
}

// What the arguments ask for, apart from how the run is shown.
ConvertOptions convert_options(const ConvertArgs& args, const std::vector<Setting>& settings,
                               Host& host) {
  ConvertOptions options;
  options.source = args.source.path;
  options.disk = args.source.disk;
  options.output = args.output;
  options.output_format = args.format;
  options.settings = settings;
  options.compress = args.compress;
  options.level = args.level;
  options.in_place = args.in_place;
  options.resume = args.resume;
  options.hole_bytes = args.hole_bytes;
  // A stream has no name that a manifest could go by, and that of a device is in /dev.
  const bool has_name =
      args.output != kStandardOutputName && !host.files.is_block_device(args.output);
  const std::string usual_manifest = has_name ? default_manifest_path(args.output) : "";
  if (args.no_manifest)
    options.stale_manifest = usual_manifest;
  else
    options.manifest = args.manifest.empty() ? usual_manifest : args.manifest;
  options.durability = args.no_sync ? Durability::unsynced : Durability::synced;
  return options;
}

// Standard output belongs to the disk when it goes there.
Host host_beside(const ConvertArgs& args, const Host& host) {
  std::ostream& out = args.output == kStandardOutputName ? host.err : host.out;
  return {host.files, out, host.err, host.err_is_terminal, host.cancelled};
}

int report_failed_conversion(const Error& error, const ConvertArgs& args, Host& host) {
  report_failure(error, args.run.progress, host);
  if (error.kind == ErrorKind::corrupt && args.run.progress != ProgressForm::json)
    host.err << fmt::format(
        "To see all that is wrong: grainmill check {0}\n"
        "To save what can be read: grainmill check --salvage RAW {0}\n",
        image_words(host.files, args.source.path, args.source.disk.format));
  return kExitFailed;
}

}  // namespace

int run_convert(const ConvertArgs& args, Host& given) {
  Host host = host_beside(args, given);
  const std::vector<Setting> settings = split_settings(args.options);
  if (asks_for_help(settings)) {
    const std::string_view help = format_by_name(args.format)->settings_help;
    host.out << (help.empty() ? "This format has no options.\n" : help);
    return kExitDone;
  }
  if (args.output.empty()) {
    const Error error{ErrorKind::invalid_argument, "", std::nullopt,
                      "SOURCE and OUTPUT are required: grainmill convert disk.vmdk disk.raw; "
                      "`grainmill convert --help` says more"};
    return report_failure(error, args.run.progress, host);
  }
  ProgressReporter progress(args.run.progress, args.run.quiet, host);
  ConvertOptions options = convert_options(args, settings, host);
  options.graph = graph_options(args.run, progress, host);
  options.graph.crypto = args.crypto;

  const Result<ConvertReport> report = convert(host.files, options);
  progress.finish();
  if (!report) return report_failed_conversion(report.error(), args, host);
  for (const std::string& warning : report->warnings)
    host.err << "grainmill: warning: " << printable(warning) << '\n';
  if (args.run.progress == ProgressForm::json)
    print_json(options, *report, progress.elapsed_seconds(), host);
  else if (!args.run.quiet)
    print_human(options, *report, progress.elapsed_seconds(), host);
  return kExitDone;
}

}  // namespace grainmill
