// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/plan.h"

#include <string>
#include <string_view>

namespace grainmill {

// The lines of a plan, one at a time and without line breaks. Errors say what was found and what
// was expected, and neither file nor line.
[[nodiscard]] std::string format_plan_header(const BatchPlan& plan);
[[nodiscard]] Status parse_plan_header(std::string_view line, BatchPlan& plan);

[[nodiscard]] std::string format_planned_image(const PlannedImage& image);
[[nodiscard]] Result<PlannedImage> parse_planned_image(std::string_view line);

}  // namespace grainmill
