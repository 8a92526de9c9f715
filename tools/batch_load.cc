// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/plan.h"
#include "tools/batch_reports.h"

#include <chrono>

namespace grainmill {

Result<BatchReport> load_batch_report(Host& host, const std::string& plan) {
  GM_TRY(const std::string path, host.files.canonical(plan));
  GM_TRY(const BatchPlan read, read_plan(host.files, path));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return read_batch(path, read, std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace grainmill
