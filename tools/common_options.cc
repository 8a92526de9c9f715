// SPDX-License-Identifier: Apache-2.0
#include "tools/common_options.h"

namespace grainmill {

void add_policy(CLI::App& app, OpenPolicy& policy) {
  app.add_option("--allow-dir", policy.allowed_folders,
                 "Images may also name files below this folder (extents, parents); may be repeated")
      ->type_name("DIR")
      ->take_all()
      ->allow_extra_args(false);
  app.add_flag("--allow-any-path", policy.allow_any_path,
               "Images are trusted: open whatever file they name");
}

void add_written_format(CLI::App& app, std::string& format, const std::string& usual) {
  std::string words;
  for (const Format& each : formats())
    if (each.make_sink != nullptr) words += (words.empty() ? "" : ", ") + std::string(each.name);
  app.add_option_function<std::string>(
         "-O",
         [&format, words](const std::string& name) {
           const Format* found = format_by_name(name);
           if (found == nullptr || found->make_sink == nullptr)
             throw CLI::ValidationError("-O",
                                        "'" + name + "' cannot be written; " + words + " can");
           format = name;
         },
         "Format to write: " + words + " (default: " + usual + ")")
      ->type_name("FMT");
}

void add_options(CLI::App& app, std::vector<std::string>& options) {
  app.add_option("-o", options, "Options of the format, NAME=VALUE,...; -o help lists them")
      ->type_name("OPTIONS")
      ->take_all()
      ->allow_extra_args(false);
}

void add_compression(CLI::App& app, bool& compress, std::string& level) {
  app.add_flag("-c", compress, "Compress: VMDKs become streamOptimized");
  app.add_option(
         "--level", level,
         "How hard to compress: fast, or 1 to 12 (zstd: to 22; default: no larger than zlib "
         "6 makes it)")
      ->type_name("LEVEL");
}

}  // namespace grainmill
