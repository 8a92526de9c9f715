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
  if (!args.html.empty()) GM_CHECK(write_report(files, args.html, batch_html(report)));
  if (!args.metrics_file.empty())
    GM_CHECK(write_report(files, args.metrics_file, batch_metrics(report)));
  return {};
}

}  // namespace

int run_batch_report(const BatchReportArgs& args, Host& host) {
  const Result<BatchReport> report = load_batch_report(host, args.plan);
  if (!report) return report_failure(report.error(), ProgressForm::none, host);
  host.out << (args.json ? batch_json(*report) : batch_summary(*report));
  if (const Status written = write_reports(args, *report, host.files); !written)
    return report_failure(written.error(), ProgressForm::none, host);
  return batch_exit_status(*report);
}

}  // namespace grainmill
