// SPDX-License-Identifier: Apache-2.0
#include "pipeline/commit.h"

#include "engine/base/units.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>

#include <ostream>

namespace grainmill {

int run_commit(const CommitArgs& args, Host& host) {
  ProgressReporter progress(args.progress, args.quiet, host);
  CommitOptions options;
  options.snapshot = args.snapshot.path;
  options.disk = args.snapshot.disk;
  options.cancelled = host.cancelled;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    progress.update({.guest_bytes = done, .disk_bytes = total});
  };
  const Result<CommitReport> report = commit(host.files, options);
  progress.finish();
  if (!report) return report_failure(report.error(), args.progress, host);
  if (args.quiet) return kExitDone;
  host.out << fmt::format("{}: {} written, {} zeroed{}\n", report->parent_path,
                          format_size(report->data_bytes), format_size(report->zeroed_bytes),
                          report->resumed ? " (an earlier commit was finished)" : "");
  host.out << fmt::format("Image committed. {} holds all of {}, which can be deleted.\n",
                          report->parent_path, options.snapshot);
  if (!report->snapshot_linked)
    host.out << fmt::format("note: {} cannot be written, so its parentCID is still the old one\n",
                            options.snapshot);
  return kExitDone;
}

}  // namespace grainmill
