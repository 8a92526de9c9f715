// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "pipeline/batch/plan.h"
#include "pipeline/batch/report.h"
#include "tools/host.h"

#include <cstddef>
#include <string>

namespace grainmill {

// The forms of a batch's report; docs/batch.md says what they hold.

// The absolute path of a plan that was named by itself, or by the folder that it is in.
[[nodiscard]] Result<std::string> find_plan(FileSystem& files, const std::string& named);
// Where `batch plan` puts it.
[[nodiscard]] std::string plan_in(const std::string& folder);

// What is known of a plan's jobs, whether they are being done, were or never yet.
[[nodiscard]] Result<BatchReport> load_batch_report(Host& host, const std::string& plan);
[[nodiscard]] Result<BatchReport> batch_report_now(const std::string& path, const BatchPlan& plan);

// For a terminal or a mail: what failed and was skipped, counts, sizes, time.
[[nodiscard]] std::string batch_summary(const BatchReport& report);

// One object, with a line break at its end.
[[nodiscard]] std::string batch_json(const BatchReport& report);

// One page that needs nothing else: no scripts, no other files, no network.
[[nodiscard]] std::string batch_html(const BatchReport& report);
[[nodiscard]] std::string batch_html_begin();  // of each such page

// In Prometheus' text format.
[[nodiscard]] std::string batch_metrics(const BatchReport& report);
[[nodiscard]] std::string batch_metrics_begin();  // of each such text

// Either one to a file of the user's; an empty path: nothing. Only an older one is replaced.
[[nodiscard]] Status write_batch_html(FileSystem& files, const std::string& path,
                                      const BatchReport& report);
[[nodiscard]] Status write_batch_metrics(FileSystem& files, const std::string& path,
                                         const BatchReport& report);

// For a terminal of so many columns and rows: each running image, the queue, totals. Plain text,
// without control characters. rows == 0: all that there is to say, in as many lines as it takes.
[[nodiscard]] std::string batch_table(const BatchReport& report, std::size_t columns,
                                      std::size_t rows);

}  // namespace grainmill
