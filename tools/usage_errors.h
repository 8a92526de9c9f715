// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace grainmill {

// What is said of a command line that cannot be understood: what is wrong with it, and where to
// read what would be right.
[[nodiscard]] std::string usage_error(const CLI::App* app, const CLI::Error& error);

// The same of a word where a verb must be. nullopt: it is one.
[[nodiscard]] std::optional<std::string> unknown_verb(const CLI::App& app, std::string_view word);

}  // namespace grainmill
