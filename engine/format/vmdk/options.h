// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/settings.h"
#include "engine/format/vmdk/create.h"

#include <string_view>
#include <vector>

namespace grainmill::vmdk {

// For people: what apply_settings() takes.
extern const std::string_view kSettingsHelp;

// Takes over subformat, adapter_type, grain_size, zeroed_grain, hwversion, compat6 and
// toolsversion, with the meaning that they have for qemu-img; any other is `invalid_argument`.
[[nodiscard]] Status apply_settings(const std::vector<Setting>& settings, CreateOptions& options);

}  // namespace grainmill::vmdk
