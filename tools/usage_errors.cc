// SPDX-License-Identifier: Apache-2.0
#include "tools/usage_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <vector>

namespace grainmill {
namespace {

// How many letters must be put in, taken out or changed to make one of the other (Levenshtein).
std::size_t distance(std::string_view one, std::string_view other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (const char letter : one) {
    std::size_t before = row[0]++;
    for (std::size_t j = 0; j < other.size(); ++j) {
      const std::size_t changed = before + (letter == other[j] ? 0 : 1);
      before = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string no_such_verb(const CLI::App& app, const std::string& command, std::string_view word) {
  constexpr std::size_t kNear = 2;  // letters
  std::string nearest;
  std::size_t least = kNear + 1;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::size_t letters = distance(word, verb->get_name());
    if (letters >= least) continue;
    least = letters;
    nearest = verb->get_name();
  }
  return fmt::format("grainmill: there is no command '{} {}'{}\nSee `{} --help`.\n", command, word,
                     nearest.empty() ? "" : fmt::format("; is '{}' meant?", nearest), command);
}

}  // namespace

std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  std::string command = "grainmill";
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    command += ' ' + app->get_name();
  }
  return fmt::format("grainmill: {}\nSee `{} --help`.\n", error.what(), command);
}

std::optional<std::string> unknown_verb(const CLI::App& app, std::span<const char* const> words) {
  const CLI::App* level = &app;
  std::string command = "grainmill";
  for (const std::string word : words) {
    if (level->get_require_subcommand_min() == 0 || word.starts_with('-')) return std::nullopt;
    const auto verbs =
        level->get_subcommands([&](const CLI::App* verb) { return verb->get_name() == word; });
    if (verbs.empty()) return no_such_verb(*level, command, word);
    level = verbs.front();
    command += ' ' + word;
  }
  return std::nullopt;
}

}  // namespace grainmill
