// SPDX-License-Identifier: Apache-2.0
#include "engine/io/terminal.h"
#include "tools/batch.h"
#include "tools/batch_reports.h"
#include "tools/batch_screen.h"
#include "tools/batch_words.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <chrono>
#include <ostream>
#include <thread>

namespace grainmill {
namespace {

constexpr auto kWatchInterval = std::chrono::seconds(1);

bool is_cancelled(const Host& host) { return host.cancelled != nullptr && host.cancelled->load(); }

// Until nothing runs; the last one is printed as without --watch.
Result<BatchReport> watch(const BatchStatusArgs& args, Host& host) {
  BatchScreen screen(false, host);
  while (true) {
    Result<BatchReport> report = load_batch_report(host, args.plan);
    if (!report || !report->is_running || is_cancelled(host)) {
      screen.finish();
      return report;
    }
    screen.update(*report);
    std::this_thread::sleep_for(kWatchInterval);
  }
}

}  // namespace

int run_batch_status(const BatchStatusArgs& args, Host& host) {
  const Result<BatchReport> report =
      args.watch ? watch(args, host) : load_batch_report(host, args.plan);
  if (!report) return report_failure(report.error(), ProgressForm::none, host);
  host.out << (args.json ? batch_json(*report) : batch_table(*report, terminal_size().columns, 0))
           << std::flush;
  if (!args.json && !report->is_running) host.out << batch_verdict(*report) << '\n' << std::flush;
  return batch_exit_status(*report);
}

}  // namespace grainmill
