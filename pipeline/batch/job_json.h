// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/convert_job.h"

#include <string>
#include <string_view>
#include <variant>

namespace grainmill {

// What the process of a job and the one that started it say to each other: JSON objects, one a
// line. Texts are bytes, each a character of Latin-1, so that any file name comes through.

[[nodiscard]] std::string job_line(const ConvertJob& job);
[[nodiscard]] Result<ConvertJob> parse_job(std::string_view text);

[[nodiscard]] std::string progress_line(const JobProgress& progress);
[[nodiscard]] std::string verdict_line(const JobVerdict& verdict);
[[nodiscard]] Result<std::variant<JobProgress, JobVerdict>> parse_worker_line(
    std::string_view line);

}  // namespace grainmill
