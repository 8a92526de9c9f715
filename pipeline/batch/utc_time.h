// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace grainmill {

// Times in plans and reports: "2026-11-28T01:02:03Z", in seconds since the epoch.
[[nodiscard]] std::string utc_text(std::int64_t seconds);
// nullopt: it is not that, or of no year from 1970 to 9999.
[[nodiscard]] std::optional<std::int64_t> parse_utc(std::string_view text);

}  // namespace grainmill
