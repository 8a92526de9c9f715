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

class DiskReader;
class DiskWriter;

struct DiskOptions {
  std::string format;  // of the top link; empty: told by its content. Parents are what their
                       // child says, else told by content and never raw.
  OpenOptions open;
  bool ignore_content_ids = false;  // read a chain whose content IDs do not match
  bool open_parents = true;         // false: the top link alone, for describing it
  bool whole_sectors = false;  // fill up a last sector that is cut short, with zeros; only to read
};

// Opens the image at `path` and its ancestors, the top link first. What is wrong between two links
// goes to `findings`, and ends the chain where the next link is not to be had. Fails where the top
// link does, and where `findings` do.
[[nodiscard]] Result<std::vector<std::unique_ptr<Link>>> open_chain(FileSystem& files,
                                                                    const std::string& path,
                                                                    const DiskOptions& options,
                                                                    Findings& findings);

// Opens the link at `path` alone, as the top of a chain would be.
[[nodiscard]] Result<std::unique_ptr<Link>> open_link(FileSystem& files, const std::string& path,
                                                      const DiskOptions& options);

// An opened disk: a chain of links. Opening reads metadata only. With options.open.mode ==
// read_write the top link can be written; its parents never are.
// Threads: all methods but close() may be called from several threads at once. What overlapping
// reads and writes see of each other is undefined, as with any disk; nothing else is damaged.
class Disk {
 public:
  // VMware itself makes chains of 32; beyond this depth it is no chain but a trap.
  static constexpr std::size_t kMaxDepth = 255;

  ~Disk();
  Disk(Disk&&) noexcept;
  Disk& operator=(Disk&&) noexcept;

  // Opens the image at `path` and, through options.open.policy, all its ancestors. Content IDs are
  // compared here, before any data is read: a mismatch means that the parent was written to after
  // the snapshot was made.
  [[nodiscard]] static Result<Disk> open(FileSystem& files, const std::string& path,
                                         const DiskOptions& options);

  // A disk of these links, as open_chain() found them, to be read. What the parents hold that are
  // not among them reads as zeros. REQUIRES: there is one.
  [[nodiscard]] static Disk of_links(std::vector<std::unique_ptr<Link>> links);
  // The same of this link alone.
  [[nodiscard]] static Disk of_link(std::unique_ptr<Link> link);

  [[nodiscard]] const ChainMap& map() const { return *map_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return map_->size_bytes(); }
  // 0 is the top link.
  [[nodiscard]] std::size_t depth() const { return links_.size(); }
  [[nodiscard]] const Link& link(std::size_t index) const { return *links_[index]; }

  // Link::check of every link: all tables are read and held against each other before anything is
  // believed.
  [[nodiscard]] Status check() const;

  // Random access. All ranges are bytes of the guest disk, of any alignment; one that is not wholly
  // inside the disk is `invalid_argument`.
  [[nodiscard]] Status read_at(std::uint64_t offset, std::span<std::byte> out) const;

  // Replaces `out` by what lies behind a range: data (link 0: allocated here; else by that
  // ancestor), deflated, zero or hole.
  [[nodiscard]] Status status(std::uint64_t offset, std::uint64_t length, ExtentList& out) const;

  [[nodiscard]] bool writable() const { return writer_ != nullptr; }

  // REQUIRES for all that follow: writable(). A write that returned is seen by every later read; it
  // survives a power cut once a flush() that began after it has returned.
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  // Makes a range read as zeros, whatever the parents hold.
  [[nodiscard]] Status write_zeroes(std::uint64_t offset, std::uint64_t length);
  // Says that the contents of a range do not matter any more. What can be had for nothing is given
  // back and reads as zeros; the rest stays.
  [[nodiscard]] Status discard(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Status flush();

  // Flushes, and marks the image as cleanly closed. A disk that is destroyed without it looks as
  // after a crash: whole up to the last flush(). REQUIRES: no other call is under way.
  [[nodiscard]] Status close();

  // Stores `id` as the content ID now, and no other one at the first write: for who knows what the
  // contents will be (a commit).
  [[nodiscard]] Status set_content_id(std::uint32_t id);

 private:
  Disk(std::vector<std::unique_ptr<Link>> links, bool whole_sectors);

  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<ChainMap> map_;
  std::unique_ptr<DiskReader> reader_;
  std::unique_ptr<DiskWriter> writer_;
};

}  // namespace grainmill
