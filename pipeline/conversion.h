// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/convert.h"
#include "pipeline/manifest_writer.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

// What a conversion is about, once its source is open and checked.
struct Conversion {
  FileSystem& files;
  const ConvertOptions& options;
  const Format& format;  // of the output
  const Disk& disk;
  ManifestHeader header;
};

// A manifest on its way.
class PendingManifest {
 public:
  // Without a file where none is asked for: then there are only its roots.
  [[nodiscard]] static Result<PendingManifest> begin(const Conversion& conversion);

  [[nodiscard]] ManifestWriter& writer() { return *writer_; }
  [[nodiscard]] PendingFile* pending() { return pending_.get(); }

 private:
  std::unique_ptr<PendingFile> pending_;
  std::unique_ptr<ManifestWriter> writer_;
};

// Begins the output, of which nothing new has a name yet. `files`: where it is made.
[[nodiscard]] Result<std::unique_ptr<Sink>> begin_output(const Conversion& conversion,
                                                         FileSystem& files);

// After the last of the data: whatever may still fail, then the names.
[[nodiscard]] Result<ConvertReport> finish_output(const Conversion& conversion, Sink& sink,
                                                  PendingManifest& manifest);

}  // namespace grainmill
