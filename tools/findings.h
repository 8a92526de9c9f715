// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/findings.h"
#include "pipeline/check.h"

#include <nlohmann/json.hpp>

#include <string>

namespace grainmill {

// A finding for programs, and for people: a line with its end.
[[nodiscard]] nlohmann::json finding_json(const Finding& finding);
[[nodiscard]] std::string finding_text(const Finding& finding);

// The exit status that says what a check found, as of qemu-img check.
[[nodiscard]] int check_status(const CheckReport& report);

}  // namespace grainmill
