// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/findings.h"
#include "engine/disk/disk.h"
#include "engine/format/repair.h"
#include "engine/io/file_system.h"
#include "pipeline/check.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

struct RepairOptions {
  CheckOptions check;  // the image; its on_finding hears what will be, or is, left of the damage
  bool accept_parent = false;  // where content IDs do not match: the parent found is the right one
  bool write = false;          // false: nothing is changed
  std::function<void(const Correction&)> on_correction = [](const Correction&) {};
  std::function<void(const Error&)> on_doubt = [](const Error&) {};
};

struct RepairReport {
  std::uint64_t corrections = 0;
  std::uint64_t doubts = 0;
  CheckReport before;
  CheckReport after;  // not written: as it would be
  bool written = false;
  std::string journal{};  // what takes the repair back; empty: none is left, the image is sound
};

// Finds out how the damage to an image and its ancestors can be undone by what is whole of them,
// checks the image as it would be then, and, if told to, writes that. Before the first change all
// that will be overwritten goes to a journal beside the image (repair_journal_path()), durably; it
// is removed when the repaired image was checked and found sound. A repair that would leave more
// damage than there is is refused.
[[nodiscard]] Result<RepairReport> repair(FileSystem& files, const RepairOptions& options);

[[nodiscard]] std::string repair_journal_path(const std::string& image);

// Fails where there is a journal of an earlier repair.
[[nodiscard]] Status refuse_unfinished_repair(FileSystem& files, const std::string& image);

// Takes a repair back, finished or broken off: every file gets the bytes and the length that it
// had. Removes the journal. A journal is not trusted: what it names is opened through `policy`.
[[nodiscard]] Status undo_repair(FileSystem& files, const OpenPolicy& policy,
                                 const std::string& image);

}  // namespace grainmill
