// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file_system.h"
#include "engine/io/open_policy.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

// What all outputs of a batch are made as: the flags of `convert`.
struct OutputChoice {
  std::string format = "qcow2";         // a name of the registry
  std::vector<std::string> settings{};  // of -o, as written
  bool compress = false;
  std::string level{};
  std::string digest{};  // of the cryptographic root: sha256, blake2b512; empty: none
};

enum class PlannedState : std::uint8_t {
  queued,
  skipped,  // for `reason`: not of a kind that can be converted yet
};
[[nodiscard]] std::string_view planned_state_name(PlannedState state);

// One disk, and what is to become of it: a line of a plan.
struct PlannedImage {
  std::string source;                // absolute; the top of its chain
  std::string source_format{};       // as of `convert -f`; empty: its content tells
  bool ignore_content_ids = false;   // as of DiskOptions
  std::string target{};              // absolute; empty for what is skipped
  std::vector<std::string> chain{};  // `source`, then the files of its ancestors, as far as known
  std::uint64_t disk_bytes = 0;      // of the guest disk; 0 where it could not be opened
  std::uint64_t source_bytes = 0;    // that all files of the chain take on their file systems
  std::uint64_t target_bytes = 0;    // the most that the output can take, by its tables
  PlannedState state = PlannedState::queued;
  std::string reason{};  // why it is skipped, or what is known to be wrong with it already
};

// What a batch does: a readable file of JSON objects, one a line, the header first
// (docs/batch.md). It is not changed by a run; how far that is stands beside it
// (JobCatalogue).
struct BatchPlan {
  std::int64_t created = 0;  // seconds since the epoch
  OutputChoice output;
  OpenPolicy policy{};         // for files that images name
  bool allow_replace = false;  // outputs take the places of files that are there
  std::vector<PlannedImage> images;
};

inline constexpr int kPlanVersion = 1;

// Errors name the line. What a plan has that this version does not know is refused by name.
[[nodiscard]] Result<BatchPlan> parse_plan(std::string_view text, const std::string& path);
[[nodiscard]] std::string format_plan(const BatchPlan& plan);

[[nodiscard]] Result<BatchPlan> read_plan(FileSystem& files, const std::string& path);
// Whole or not at all.
[[nodiscard]] Status write_plan(FileSystem& files, const std::string& path, const BatchPlan& plan);

}  // namespace grainmill
