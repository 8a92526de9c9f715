// SPDX-License-Identifier: Apache-2.0
//
// Files in memory that remember everything done to them, and show what a power cut at any moment
// could have left:
//
//   PowerCutFileSystem files;
//   files.add("/disk.vmdk", image);             // on the device from the start
//   ... write through `files`, and files.note(1) when a flush has returned ...
//   files.for_each_state([&](PowerCut& cut) {
//     ... open cut.files(), expect what was flushed if cut.has_note(1), tell cut.story() ...
//     return !HasFailure();
//   });
//
// What is sure: a change of a file's bytes or size, once that file was synced; a name that began or
// ended, once its folder was synced (publish() with Durability::synced does both). Any other change
// may have arrived or not, each for itself, whatever came before or after it. Writes and zeroed
// ranges of several sectors may arrive in part, sector by sector. A write arrives with the length
// it gives its file, whether an earlier resize() arrived or not. This is harsher than a page cache,
// which keeps changes of one sector together.
#pragma once

#include "tests/fakes/memory_file_system.h"
#include "tests/power_cut/change.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {

// What one power cut left.
class PowerCut {
 public:
  PowerCut(std::size_t steps, std::span<const int> notes, std::unique_ptr<MemoryFileSystem> files,
           std::function<std::string()> story)
      : steps_(steps), notes_(notes), files_(std::move(files)), story_(std::move(story)) {}

  // How many steps were made before it, and which notes.
  [[nodiscard]] std::size_t steps() const { return steps_; }
  [[nodiscard]] std::span<const int> notes() const { return notes_; }
  [[nodiscard]] bool has_note(int id) const;

  // This state's own: to be repaired, written on, damaged.
  [[nodiscard]] MemoryFileSystem& files() { return *files_; }

  // What was undecided, and what became of it: for a failure's message.
  [[nodiscard]] std::string story() const { return story_(); }

 private:
  std::size_t steps_;
  std::span<const int> notes_;
  std::unique_ptr<MemoryFileSystem> files_;
  std::function<std::string()> story_;
};

struct StateOptions {
  // Cuts with at most so many undecided sectors (a resize or name counts as one): every state.
  // Cuts with more, but of at most so many changes: every state in which nothing is torn.
  std::size_t max_exhaustive = 8;
  // Beside those, for all cuts together that were not shown completely.
  std::size_t random_states = 10'000;
  std::uint64_t seed = 1;
};

// Threads: as FileSystem says, for its methods and note(); all else while none of them is called.
class PowerCutFileSystem final : public FileSystem {
 public:
  PowerCutFileSystem();
  ~PowerCutFileSystem() override;

  // Adds a file that has been on the device from the start.
  void add(const std::string& path, std::span<const std::byte> bytes);
  void add(const std::string& path, std::string_view text);

  // Takes all files to be on the device as they are now, and forgets steps and notes: for images
  // made through this file system. REQUIRES: no file is pending.
  void record();

  // Remembers that all steps so far came before this moment: "flush number 3 returned".
  void note(int id);

  // The files as they are without a power cut.
  [[nodiscard]] MemoryFileSystem& live() { return live_; }

  // Steps are changes and syncs. A publish() takes one, or three if it is synced: the sync of the
  // file, the name, the sync of the folder.
  [[nodiscard]] std::size_t steps() const;
  // How many changes a power cut after so many steps leaves undecided.
  [[nodiscard]] std::size_t undecided_after(std::size_t steps) const;

  // The files after a cut, where `arrived` says of each undecided change (by its step, from 0 on)
  // and each of its sectors whether it did.
  using Arrived = std::function<bool(std::size_t step, std::size_t sector)>;
  [[nodiscard]] std::unique_ptr<MemoryFileSystem> state_after(std::size_t steps,
                                                              const Arrived& arrived) const;

  // Shows states of all cuts, from the first step on, until `visit` returns false; tells how many
  // were shown. Where all states of a cut are shown, those are left out that the cut before has
  // shown too, with the same notes: so all subsets of few changes are seen exactly once.
  using Visit = std::function<bool(PowerCut& cut)>;
  std::size_t for_each_state(const Visit& visit, const StateOptions& options = {}) const;

  [[nodiscard]] Result<std::unique_ptr<File>> open_read(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_write(const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<File>> open_beneath(const std::string& folder,
                                                           const std::string& relative,
                                                           OpenMode mode) override;
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_pending(
      const std::string& path) override;
  [[nodiscard]] Result<std::unique_ptr<PendingFile>> create_partial(const std::string& path,
                                                                    const std::string& until_then,
                                                                    Durability durability) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Result<std::string> canonical(const std::string& path) override;
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& folder) override;

  class Log;

 private:
  MemoryFileSystem live_;
  std::shared_ptr<Log> log_;
};

}  // namespace grainmill::testing
