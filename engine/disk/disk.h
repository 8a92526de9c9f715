// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/format.h"
#include "engine/io/file_system.h"
#include "engine/map/chain_map.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace grainmill {

struct DiskOptions {
  std::string format;  // of the top link; empty: told by its content. Parents are always told by
                       // content, never raw.
  OpenOptions open;
  bool ignore_content_ids = false;  // read a chain whose content IDs do not match
  bool open_parents = true;         // false: the top link alone, for describing it
};

// An opened disk: a chain of links, read-only. Opening reads metadata only.
// Threads: const methods may be called from several threads at once.
class Disk {
 public:
  // VMware itself makes chains of 32; beyond this depth it is no chain but a trap.
  static constexpr std::size_t kMaxDepth = 255;

  // Opens the image at `path` and, through options.open.policy, all its ancestors. Content IDs are
  // compared here, before any data is read: a mismatch means that the parent was written to after
  // the snapshot was made.
  [[nodiscard]] static Result<Disk> open(FileSystem& files, const std::string& path,
                                         const DiskOptions& options);

  [[nodiscard]] const ChainMap& map() const { return *map_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return map_->size_bytes(); }
  // 0 is the top link.
  [[nodiscard]] std::size_t depth() const { return links_.size(); }
  [[nodiscard]] const Link& link(std::size_t index) const { return *links_[index]; }

  // Link::check of every link: all tables are read and held against each other before anything is
  // believed.
  [[nodiscard]] Status check() const;

 private:
  explicit Disk(std::vector<std::unique_ptr<Link>> links);

  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<ChainMap> map_;
};

}  // namespace grainmill
