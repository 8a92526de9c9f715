// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/catalogue.h"
#include "pipeline/chunk_log.h"
#include "pipeline/find_images.h"
#include "pipeline/graph.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

struct ScrubOptions {
  FindOptions find;
  std::string catalogue;
  GraphOptions graph;  // threads, memory_bytes, cancelled and on_progress
  // Read each byte at least once in so many seconds, the oldest first; nullopt: in every run.
  std::optional<std::int64_t> within{};
  std::uint64_t bytes_per_second = 0;  // of guest disk, that are read; 0: as fast as it goes
  // Asked before each chunk is read, with the time: false to stop here and go on another time.
  std::function<bool(std::int64_t)> may_read = [](std::int64_t) { return true; };
  bool forget_missing = false;  // take images that are gone out of the catalogue
  // What is read between two looks at the clock and the catalogue, and lost if the program is
  // killed. Manifests keep the one they were made with.
  std::uint64_t chunk_bytes = 256 * kMiB;
  ScrubClock clock = system_clock();
};

struct ScrubImage {
  std::string path;
  std::string format;
  std::uint64_t disk_bytes = 0;  // of this link
  std::int64_t first_seen = 0;
  Verdict verdict = Verdict::fresh;
  std::int64_t date = 0;               // of the verdict
  bool is_of_this_run = true;          // else the verdict is an older one
  std::string detail;                  // why, in words
  std::vector<Flaw> flaws;             // at that date, in guest order
  std::optional<std::int64_t> read;    // since then each byte was read; nullopt: not yet all
  std::optional<std::int64_t> proven;  // since then each byte was proven; nullopt: never
  std::vector<VerdictRow> history;     // the last first, this one included
};

enum class ScrubStop : std::uint8_t {
  done,
  cancelled,
  hours,  // by ScrubOptions::may_read
};

struct ScrubReport {
  std::int64_t run = 0;
  std::int64_t begun = 0;
  std::int64_t ended = 0;  // or stopped
  bool resumed = false;    // an earlier call began it
  ScrubStop stop = ScrubStop::done;
  std::uint64_t waiting = 0;       // images that were found and not come to
  std::uint64_t read_bytes = 0;    // of guest disk, in this run
  std::vector<ScrubImage> images;  // of these folders, sorted by path
  std::vector<Error> failures;     // of what may be images or not
  std::optional<std::int64_t> within;
  // Since then each byte of each image that is there was read; nullopt: some never were.
  std::optional<std::int64_t> all_read_since;
  std::vector<std::string> overdue;  // images with bytes not read within the time

  [[nodiscard]] std::uint64_t count(Verdict verdict) const;
};

// One run over the images in folders: each gets a verdict, and what is due of it is read and held
// against the catalogue. A run that was stopped, even by SIGKILL, goes on where it was when it is
// called again. Each link of a chain is read as a disk of its own, so a base is read once however
// many snapshots it has. Fails where the catalogue or one of the folders cannot be used; what is
// wrong with an image is its verdict.
[[nodiscard]] Result<ScrubReport> scrub(FileSystem& files, const ScrubOptions& options);

}  // namespace grainmill
