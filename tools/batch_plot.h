// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/report.h"

#include <string>

namespace grainmill {

// Guest bytes a second over the time of all runs, as SVG within HTML; its classes are in
// plot_style(). Time between runs is shown as a gap of one width, however long it was.
[[nodiscard]] std::string throughput_plot(const BatchReport& report);
[[nodiscard]] std::string plot_style();

}  // namespace grainmill
