// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/find_images.h"

#include <string>
#include <vector>

namespace grainmill {

// One image that may be a disk to convert.
struct SourceImage {
  std::string path;       // absolute
  std::string relative;   // as seen from the folder that was named; of a single image, its name
  std::string format{};   // "raw" where a pattern says so; else its content tells
  bool is_named = false;  // by the user, and not found below a folder or by a pattern
};

struct SourceOptions {
  std::vector<std::string> sources;  // folders, images, shell patterns; @FILE: a list of such
  std::vector<std::string> raw;      // shell patterns of raw disks' names
  std::vector<std::string> exclude;  // shell patterns of names to leave alone
  std::string target_folder;         // canonical: what is in it, below a source, is no source
  OpenPolicy policy;
};

struct FoundSources {
  std::vector<SourceImage> images;  // each path once, in the order of the sources
  std::vector<Error> failures;      // what could not be looked at
};

// All links of all chains, and what is called like a disk but is none; parts of disks are left out.
// Fails where a source does not exist, or a pattern or list leads to nothing.
[[nodiscard]] Result<FoundSources> find_sources(FileSystem& files, const SourceOptions& options);

// Fails where find_sources() fails for a source that does not exist, without looking into any.
[[nodiscard]] Status check_sources(FileSystem& files, const SourceOptions& options);

}  // namespace grainmill
