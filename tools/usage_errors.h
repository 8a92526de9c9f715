// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include <optional>
#include <span>
#include <string>

namespace grainmill {

// What is said of a command line that cannot be understood: what is wrong with it, and where to
// read what would be right.
[[nodiscard]] std::string usage_error(const CLI::App* app, const CLI::Error& error);

// The same of the first word that stands where a verb must be and is none. nullopt: there is none
// such.
[[nodiscard]] std::optional<std::string> unknown_verb(const CLI::App& app,
                                                      std::span<const char* const> words);

}  // namespace grainmill
