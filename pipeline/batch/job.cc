// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job.h"

#include <array>

namespace grainmill {

std::string_view job_state_name(JobState state) {
  static constexpr std::array<std::string_view, kJobStates> kNames = {"queued", "running", "done",
                                                                      "failed", "skipped"};
  return kNames[static_cast<std::size_t>(state)];
}

}  // namespace grainmill
