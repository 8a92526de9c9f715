// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/open_policy.h"
#include "pipeline/batch/plan.h"
#include "tools/host.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace grainmill {

// grainmill batch plan SRC... --to DIR
struct BatchPlanArgs {
  std::vector<std::string> sources;  // folders, images, shell patterns; @FILE: a list of such
  std::vector<std::string> raw;      // shell patterns of raw disks' names
  std::vector<std::string> exclude;  // shell patterns of names to leave alone
  std::string target_folder;
  std::string plan;  // the file to write; empty: TARGET/batch.plan
  OutputChoice output;
  OpenPolicy policy;
  bool force =
      false;  // replace an older plan, and plan what does not fit or targets that are there
  bool quiet = false;
};

// grainmill batch run PLAN
struct BatchRunArgs {
  std::string plan;
  unsigned jobs = 0;     // images at once; 0: as many as there are processors, 8 at most
  unsigned threads = 0;  // of all together; 0: as many as there are processors
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;  // of all processes together
  unsigned per_mount = 0;     // jobs that read from, or write to, one file system; 0: no limit
  unsigned retries = 3;       // of a job that failed for a reason that may pass
  bool retry_failed = false;  // begin again what failed in an earlier run
  bool verify = false;
  bool no_sync = false;
  bool quiet = false;
  std::string metrics_file;  // Prometheus' text format; empty: none
  std::string listen;        // ADDRESS:PORT; empty: nowhere
  std::string html;          // written when it begins and ends; empty: none
};

// grainmill batch status PLAN, grainmill batch report PLAN
struct BatchStatusArgs {
  std::string plan;
  bool json = false;
  bool watch = false;  // show it again and again until nothing runs
};
struct BatchReportArgs {
  std::string plan;
  bool json = false;
  std::string html;          // a file to write; empty: none
  std::string metrics_file;  // as well
};

// What `batch run` starts for each job: the job as JSON on standard input, its progress and its
// verdict as JSON lines on standard output. Not for people.
struct BatchWorkerArgs {};

using BatchCommand =
    std::variant<BatchPlanArgs, BatchRunArgs, BatchStatusArgs, BatchReportArgs, BatchWorkerArgs>;

int run_batch(const BatchCommand& command, Host& host);
// Parts of run_batch().
int run_batch_plan(const BatchPlanArgs& args, Host& host);
int run_batch_run(const BatchRunArgs& args, Host& host);
int run_batch_status(const BatchStatusArgs& args, Host& host);
int run_batch_report(const BatchReportArgs& args, Host& host);
int run_batch_worker(const BatchWorkerArgs& args, Host& host);

// Exit statuses of batch run, status and report.
inline constexpr int kExitJobsFailed = 2;  // some jobs failed; all others were brought to their end
inline constexpr int kExitJobsLeft = 3;    // stopped, or still running: jobs are left to be done

}  // namespace grainmill
