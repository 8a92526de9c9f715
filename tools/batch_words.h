// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/report.h"

#include <cstdint>
#include <optional>
#include <string>

namespace grainmill {

// What is said of a batch in the same words everywhere.

// Of batch run, status and report.
[[nodiscard]] int batch_exit_status(const BatchReport& report);

// What that status says, in a sentence.
[[nodiscard]] std::string batch_verdict(const BatchReport& report);

// What to do about a job that failed. REQUIRES: job.state is failed.
[[nodiscard]] std::string next_step(const BatchReport& report, const JobRecord& job);

// Why a job failed, was skipped, or waits to be tried again; empty: there is nothing to be said.
[[nodiscard]] const std::string& reason_of(const JobRecord& job);

// "1 image", "3 images".
[[nodiscard]] std::string images_text(std::uint64_t count);
// "1.25 GB/s", "340 MB/s".
[[nodiscard]] std::string rate_text(double bytes_per_second);
// "3.2 s", "2m05s", "1h02m".
[[nodiscard]] std::string seconds_text(double seconds);
// As in an option: "qcow2, compressed".
[[nodiscard]] std::string output_text(const OutputChoice& output);

// The end of a run; of one that runs, now; of one that was killed, what is last known of it.
[[nodiscard]] std::int64_t last_ms(const BatchReport& report, const BatchRun& run);
// That all runs took together.
[[nodiscard]] double run_seconds(const BatchReport& report);
// Guest bytes a second over all runs that were sampled; nullopt: none was.
[[nodiscard]] std::optional<double> average_rate(const BatchReport& report);
// The most of all runs.
[[nodiscard]] std::uint64_t peak_rss_bytes(const BatchReport& report);
// That the last attempt took; nullopt: none has ended.
[[nodiscard]] std::optional<double> job_seconds(const JobRecord& job);

}  // namespace grainmill
