// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system_layer.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {

// What a file that will be called `path` is called while it is being made.
[[nodiscard]] std::string partial_path(const std::string& path);

// The files of another file system, where files to be made are made as FileSystem::create_partial()
// does: what was written of them is there again after a kill. Each is opened, and locked, when it
// is first asked for, and then until this object goes, however often it is made. Threads:
// create_pending(), begin_anew() and remove_partials() one at a time.
class PartialFiles final : public FileSystemLayer {
 public:
  explicit PartialFiles(FileSystem& files) : FileSystemLayer(files) {}

  // From now on, files that are made begin empty. Before, they hold what there is of them.
  void begin_anew() { keeps_ = false; }

  // Takes away what was not published.
  void remove_partials();

  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;

  [[nodiscard]] Status remove(const std::string& path) override { return below().remove(path); }

 private:
  bool keeps_ = true;
  std::map<std::string, std::shared_ptr<PendingFile>> made_;  // by what they will be called
};

}  // namespace grainmill
