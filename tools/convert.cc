// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert.h"

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
  if (!options.manifest.empty())
    host.out << fmt::format("{}: root {}\n", options.manifest, to_hex(report.roots.root));
  if (!report.roots.crypto.empty())
    host.out << fmt::format("{} root {}\n", crypto_name(options.graph.crypto),
                            to_hex(std::span<const std::byte>(report.roots.crypto)));
}

}  // namespace

int run_convert(const ConvertArgs& args, Host& host) {
  ProgressReporter progress(args.run.progress, args.run.quiet, host);
  ConvertOptions options;
  options.source = args.source.path;
  options.disk = args.source.disk;
  options.output = args.output;
  options.hole_bytes = args.hole_bytes;
  const std::string usual_manifest = default_manifest_path(args.output);
  if (args.no_manifest)
    options.stale_manifest = usual_manifest;
  else
    options.manifest = args.manifest.empty() ? usual_manifest : args.manifest;
  options.durability = args.no_sync ? Durability::unsynced : Durability::synced;
  options.graph = graph_options(args.run, progress, host);
  options.graph.crypto = args.crypto;

  const Result<ConvertReport> report = convert(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.run.progress, host);
  for (const std::string& warning : report->warnings)
    host.err << "grainmill: warning: " << warning << '\n';
  if (args.run.progress == ProgressForm::json)
    print_json(options, *report, progress.elapsed_seconds(), host);
  else if (!args.run.quiet)
    print_human(options, *report, progress.elapsed_seconds(), host);
  return kExitDone;
}

}  // namespace grainmill
