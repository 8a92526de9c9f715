// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tools/batch.h"

#include <CLI/CLI.hpp>

#include <optional>

namespace grainmill {

// `grainmill batch ...`. When one of its verbs was on the command line, `command` is set, by the
// time parsing has ended.
void add_batch(CLI::App& root, std::optional<BatchCommand>& command);

}  // namespace grainmill
