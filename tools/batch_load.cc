// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/plan.h"
#include "tools/batch_reports.h"

#include <fmt/format.h>

#include <chrono>

namespace grainmill {

Result<std::string> find_plan(FileSystem& files, const std::string& named) {
  if (auto path = files.canonical(plan_in(named))) return path;
  Result<std::string> path = files.canonical(named);
  const bool is_folder = path && files.entries(*path);
  if (path && !is_folder) return path;
  if (path || path.error().kind == ErrorKind::not_found)
    return fail(ErrorKind::not_found, named,
                fmt::format("there is no plan {}: make one with `grainmill batch plan SOURCE... "
                            "--to FOLDER`, which puts it into that folder",
                            is_folder ? "in this folder" : "of this name"));
  return path;
}

std::string plan_in(const std::string& folder) {
  return folder + (folder.ends_with('/') ? "" : "/") + "batch.plan";
}

Result<BatchReport> load_batch_report(Host& host, const std::string& plan) {
  GM_TRY(const std::string path, find_plan(host.files, plan));
  GM_TRY(const BatchPlan read, read_plan(host.files, path));
  return batch_report_now(path, read);
}

Result<BatchReport> batch_report_now(const std::string& path, const BatchPlan& plan) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return read_batch(path, plan, std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace grainmill
