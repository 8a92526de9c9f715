// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/scrub.h"

#include <set>

namespace grainmill {

// What all images of a run share.
struct ScrubRun {
  FileSystem& files;
  const ScrubOptions& options;
  Catalogue& catalogue;
  Throttle& throttle;
  RunRow row;
  std::chrono::nanoseconds saved{};  // when the catalogue last was

  // Saves the catalogue, unless it was a moment ago: a sync for each small image takes longer than
  // reading it.
  [[nodiscard]] Status save_soon();
  [[nodiscard]] bool must_stop() const;
};

// Empty where nothing says that an image was written between two looks at it; else what does.
[[nodiscard]] std::string written_since(const Evidence& then, const Evidence& now);

// Looks at one image: structure, then those chunks that are due (nullopt: all), those with flaws,
// and all of what is new or was written. Notes the verdict; false where it was stopped before there
// is one. Fails where the catalogue does.
[[nodiscard]] Result<bool> scrub_image(ScrubRun& run, const FoundImage& found,
                                       const ImageRow& image,
                                       const std::optional<std::set<std::uint64_t>>& due);

}  // namespace grainmill
