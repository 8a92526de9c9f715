// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"
#include "pipeline/batch/job.h"
#include "pipeline/graph.h"

#include <functional>

namespace grainmill {

// All that the process that does a job is told.
struct ConvertJob {
  Job job;
  OutputChoice output;
  OpenPolicy policy;
  bool allow_replace = false;  // as of BatchPlan
  bool verify = false;         // read the output back, and hold it against its manifest
  Durability durability = Durability::synced;
  unsigned threads = 0;                    // as of GraphOptions
  std::uint64_t memory_bytes = 64 * kMiB;  // as well
};

// What the verdict of a job says that was stopped on request: nothing is wrong with it.
inline constexpr std::string_view kCancelledKind = "cancelled";
// Of one whose process ended without a verdict.
inline constexpr std::string_view kCrashKind = "crash";

// Converts a disk, with a manifest beside the output; then reads it back, if that is wanted. What
// an earlier attempt finished is not converted again; an output that was done is only read. One
// that was just written and is not what its manifest says is removed. `cancelled`, `on_progress`:
// as of GraphOptions.
[[nodiscard]] JobVerdict convert_job(FileSystem& files, const ConvertJob& job,
                                     const std::atomic<bool>* cancelled,
                                     const std::function<void(const JobProgress&)>& on_progress);

// The verdict of a job that failed so.
[[nodiscard]] JobVerdict failed_verdict(const Error& error);

}  // namespace grainmill
