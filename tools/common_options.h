// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/units.h"
#include "engine/format/format.h"

#include <CLI/CLI.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// Options that several verbs have. Slow to compile: for the files that read the command line.
namespace grainmill {

// Adds a verb below `parent`. `add` is called with it and an object for its options, which becomes
// the command when the verb was on the command line.
template <typename Args, typename Command, typename Add>
void add_verb(CLI::App& parent, const std::string& name, const std::string& help,
              std::optional<Command>& command, const Add& add) {
  CLI::App& app = *parent.add_subcommand(name, help);
  const auto args = std::make_shared<Args>();
  add(app, *args);
  app.callback([args, &command] { command = *args; });
}

// An option that takes one of the words of a table.
template <typename T>
void add_choice(CLI::App& app, const std::string& name, T& value,
                const std::map<std::string, T>& choices, const std::string& help) {
  std::string words;
  for (const auto& [word, unused] : choices) words += (words.empty() ? "" : "|") + word;
  app.add_option_function<std::string>(
         name,
         [&value, &choices, words, name](const std::string& word) {
           const auto found = choices.find(word);
           if (found == choices.end())
             throw CLI::ValidationError(name, "'" + word + "' is not one of " + words);
           value = found->second;
         },
         help)
      ->type_name(words);
}

// `value`: a number of bytes, optional or not.
template <typename T>
void add_size(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&value, name](const std::string& text) {
           const std::optional<std::uint64_t> size = parse_size(text);
           if (!size)
             throw CLI::ValidationError(name,
                                        "'" + text + "' is not a size such as 4096, 64M or 1.5G");
           const std::uint64_t bytes = *size;
           value = bytes;
         },
         help)
      ->type_name("SIZE");
}

// An option that `parse` makes a value of; nullopt from it is an error that says `expected`.
template <typename T, typename Parse>
void add_parsed(CLI::App& app, const std::string& name, T& value, Parse parse,
                const std::string& expected, const std::string& type, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&value, parse, name, expected](const std::string& text) {
           const auto parsed = parse(text);
           if (!parsed) throw CLI::ValidationError(name, "'" + text + "' is not " + expected);
           const auto plain = *parsed;
           value = plain;
         },
         help)
      ->type_name(type);
}

// --allow-dir, --allow-any-path
void add_policy(CLI::App& app, OpenPolicy& policy);

// -O: a format that can be written. `usual` is the one that is written without it, for the help.
void add_written_format(CLI::App& app, std::string& format, const std::string& usual);

// -o, which may be repeated
void add_options(CLI::App& app, std::vector<std::string>& options);

// -c and --level
void add_compression(CLI::App& app, bool& compress, std::string& level);

}  // namespace grainmill
