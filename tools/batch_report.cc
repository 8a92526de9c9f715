// SPDX-License-Identifier: Apache-2.0
#include "tools/batch.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <ostream>

namespace grainmill {
namespace {

Status write_reports(const BatchReportArgs& args, const BatchReport& report, FileSystem& files) {
  GM_CHECK(write_batch_html(files, args.html, report));
  return write_batch_metrics(files, args.metrics_file, report);
}

}  // namespace

Status write_batch_html(FileSystem& files, const std::string& path, const BatchReport& report) {
  if (path.empty()) return {};
  return write_report(files, path, {"page of a batch", batch_html_begin()}, batch_html(report));
}

Status write_batch_metrics(FileSystem& files, const std::string& path, const BatchReport& report) {
  if (path.empty()) return {};
  return write_report(files, path, {"metrics file of a batch", batch_metrics_begin()},
                      batch_metrics(report));
}

int run_batch_report(const BatchReportArgs& args, Host& host) {
  const Result<BatchReport> report = load_batch_report(host, args.plan);
  if (!report) return report_failure(report.error(), ProgressForm::none, host);
  host.out << (args.json ? batch_json(*report) : batch_summary(*report));
  if (const Status written = write_reports(args, *report, host.files); !written)
    return report_failure(written.error(), ProgressForm::none, host);
  return batch_exit_status(*report);
}

}  // namespace grainmill
