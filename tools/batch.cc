// SPDX-License-Identifier: Apache-2.0
#include "tools/batch.h"

namespace grainmill {
namespace {

struct RunBatch {
  Host& host;
  int operator()(const BatchPlanArgs& args) const { return run_batch_plan(args, host); }
  int operator()(const BatchRunArgs& args) const { return run_batch_run(args, host); }
  int operator()(const BatchStatusArgs& args) const { return run_batch_status(args, host); }
  int operator()(const BatchReportArgs& args) const { return run_batch_report(args, host); }
  int operator()(const BatchWorkerArgs& args) const { return run_batch_worker(args, host); }
};

}  // namespace

int run_batch(const BatchCommand& command, Host& host) {
  return std::visit(RunBatch{host}, command);
}

}  // namespace grainmill
