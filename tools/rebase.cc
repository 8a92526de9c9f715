// SPDX-License-Identifier: Apache-2.0
#include "pipeline/rebase.h"

#include "engine/base/units.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>

#include <ostream>

namespace grainmill {
namespace {

std::string text_of(const std::optional<ParentRef>& parent) {
  if (!parent) return "none";
  if (!parent->content_id) return fmt::format("'{}'", parent->hint);
  return fmt::format("'{}' (parentCID {:08x})", parent->hint, *parent->content_id);
}

}  // namespace

int run_rebase(const RebaseArgs& args, Host& host) {
  ProgressReporter progress(args.progress, args.quiet, host);
  RebaseOptions options{.image = args.image.path,
                        .disk = args.image.disk,
                        .parent = args.parent,
                        .header_only = args.header_only,
                        .dry_run = true,
                        .cancelled = host.cancelled};
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    progress.update({.guest_bytes = done, .disk_bytes = total});
  };
  // What will change is said before anything does.
  Result<RebaseReport> report = rebase(host.files, options);
  if (!report) return report_failure(report.error(), args.progress, host);
  if (!args.quiet || args.dry_run)
    host.out << fmt::format("{}: parent {} -> {}\n", options.image, text_of(report->before),
                            text_of(report->after))
             << std::flush;
  if (args.dry_run) return kExitDone;

  options.dry_run = false;
  report = rebase(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.progress, host);
  if (!args.quiet && !options.header_only)
    host.out << fmt::format("{}: {} copied from the old parent\n", options.image,
                            format_size(report->copied_bytes));
  return kExitDone;
}

}  // namespace grainmill
