// SPDX-License-Identifier: Apache-2.0
//
// A healthy image that can be damaged, converted and healed again, any number of times.
#pragma once

#include "engine/base/error.h"
#include "engine/format/format.h"
#include "pipeline/check.h"
#include "pipeline/repair.h"
#include "pipeline/salvage.h"
#include "tests/damage/image_forms.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace grainmill::testing {

enum class Outcome {
  refused,   // an error, and nothing written
  harmless,  // exactly the bytes of the healthy disk
  wrong,     // success with other bytes: what must never be
  faulty,    // neither: a half-written output, an error that names no file
};

struct Verdict {
  Outcome outcome = Outcome::faulty;
  std::string detail;  // the error, or what is wrong
};

class Victim {
 public:
  explicit Victim(const ImageForm& form);

  const BuiltDisk& disk() const { return disk_; }
  // Of the healthy disk.
  const std::vector<std::byte>& contents() const { return contents_; }
  std::filesystem::path manifest() const { return dir_ / "healthy.manifest"; }
  // Puts every file back as it was.
  void heal();
  // Converts the image as it is now and looks at what came of it.
  Verdict convert_now(TableChoice tables = TableChoice::agreeing);
  // What check() makes of the image as it is now.
  CheckReport check_now();
  // Lets repair() undo what it can, and write that. `log` gets what it does, a line each.
  Result<RepairReport> repair_now(std::string& log);
  // Lets salvage() save what can be saved. `ranges` gets what is not finished, `saved` the raw
  // disk.
  Result<SalvageReport> salvage_now(std::vector<RescuedRange>& ranges,
                                    std::vector<std::byte>& saved);
  // Whether verify() with the manifest of the healthy disk sees what is wrong.
  bool manifest_tells();
  // Every sparse extent has two copies of its tables.
  bool has_two_copies() const;

 private:
  std::filesystem::path source() const { return dir_ / "source"; }
  std::filesystem::path output() const { return dir_ / "output" / "disk.raw"; }
  Verdict judge_failure(const Error& error) const;
  Verdict judge_success() const;

  TempDir dir_;
  BuiltDisk disk_;
  std::map<std::filesystem::path, std::vector<std::byte>> files_;
  std::vector<std::byte> contents_;
};

}  // namespace grainmill::testing
