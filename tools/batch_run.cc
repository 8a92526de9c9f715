// SPDX-License-Identifier: Apache-2.0
#include "engine/base/text.h"
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/plan.h"
#include "pipeline/batch/runner.h"
#include "tools/batch.h"
#include "tools/batch_reports.h"
#include "tools/batch_screen.h"
#include "tools/batch_words.h"
#include "tools/command_line.h"
#include "tools/report.h"
#include "tools/status_server.h"

#include <chrono>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace grainmill {
namespace {

// What is told of a run while it is on its way, and when it ends.
class RunReports {
 public:
  RunReports(const BatchRunArgs& args, Host& host)
      : args_(args), host_(host), screen_(args.quiet, host) {}

  // Makes sure that what was asked for can be had, before hours have gone by.
  Status begin(const BatchReport& report) {
    GM_CHECK(write(report));
    if (!args_.listen.empty()) {
      GM_TRY(server_, StatusServer::start(args_.listen));
      if (!args_.quiet) host_.err << "listening on http://" << server_->address() << "/\n";
    }
    return {};
  }

  void update(const BatchReport& report) {
    screen_.update(report);
    const auto now = std::chrono::steady_clock::now();
    if (now < next_report_) return;
    next_report_ = now + std::chrono::seconds(1);
    if (server_) server_->update(report);
    // One that cannot be written now is written when the run ends, or is its error then.
    if (!args_.metrics_file.empty())
      static_cast<void>(write_batch_metrics(host_.files, args_.metrics_file, report));
  }

  void take_away() { screen_.finish(); }

  // The report of a run that has ended.
  Status end(const BatchReport& report) {
    if (!args_.quiet || batch_exit_status(report) != kExitDone)
      host_.out << batch_summary(report) << std::flush;
    return write(report);
  }

  [[nodiscard]] std::chrono::milliseconds interval() const { return screen_.interval(); }

 private:
  Status write(const BatchReport& report) {
    GM_CHECK(write_batch_metrics(host_.files, args_.metrics_file, report));
    return write_batch_html(host_.files, args_.html, report);
  }

  const BatchRunArgs& args_;
  Host& host_;
  BatchScreen screen_;
  std::unique_ptr<StatusServer> server_;
  std::chrono::steady_clock::time_point next_report_;
};

BatchOptions batch_options(const BatchRunArgs& args, RunReports& reports, Host& host) {
  BatchOptions options;
  options.jobs = args.jobs;
  options.threads = args.threads;
  options.memory_bytes = args.memory_bytes;
  options.per_mount = args.per_mount;
  options.retries = args.retries;
  options.verify = args.verify;
  options.durability = args.no_sync ? Durability::unsynced : Durability::synced;
  options.tick = reports.interval();
  options.cancelled = host.cancelled;
  options.on_tick = [&reports](const BatchReport& report) { reports.update(report); };
  return options;
}

// Whoever removed an output wants it anew, and may have removed it by mistake.
Status queue_removed(JobCatalogue& catalogue, Host& host) {
  GM_TRY(const std::vector<std::string> removed, catalogue.queue_removed());
  for (const std::string& output : removed)
    host.err << "grainmill: warning: " << printable(output)
             << ": was done and is gone: it is made again\n";
  return {};
}

Result<BatchReport> run_plan(const BatchRunArgs& args, RunReports& reports, Host& host) {
  GM_TRY(const std::string path, find_plan(host.files, args.plan));
  GM_TRY(const BatchPlan plan, read_plan(host.files, path));
  GM_TRY(const std::unique_ptr<JobCatalogue> catalogue, JobCatalogue::open(host.files, path, plan));
  GM_CHECK(queue_removed(*catalogue, host));
  if (args.retry_failed) GM_CHECK(catalogue->retry_failed());
  if (args.verify) GM_CHECK(catalogue->verify_done());
  GM_TRY(const BatchReport before, batch_report_now(path, plan));
  GM_CHECK(reports.begin(before));
  Result<BatchReport> report = run_jobs(*catalogue, plan, batch_options(args, reports, host));
  reports.take_away();
  if (report) GM_CHECK(reports.end(*report));
  return report;
}

}  // namespace

int run_batch_run(const BatchRunArgs& args, Host& host) {
  RunReports reports(args, host);
  const Result<BatchReport> report = run_plan(args, reports, host);
  if (!report) return report_failure(report.error(), ProgressForm::none, host);
  return batch_exit_status(*report);
}

}  // namespace grainmill
