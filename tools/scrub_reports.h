// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/scrub.h"

#include <string>

namespace grainmill {

// The forms of a scrub's report; docs/exit-status.md says what they hold.

[[nodiscard]] std::string scrub_json(const ScrubReport& report);

// One page that needs nothing else: no scripts, no other files, no network.
[[nodiscard]] std::string scrub_html(const ScrubReport& report);
[[nodiscard]] std::string scrub_html_begin();  // of each such page

// In Prometheus' text format, for node_exporter's textfile collector.
[[nodiscard]] std::string scrub_metrics(const ScrubReport& report);
[[nodiscard]] std::string scrub_metrics_begin();  // of each such text

}  // namespace grainmill
