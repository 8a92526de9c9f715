// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/disk/disk.h"
#include "engine/io/file_system.h"
#include "pipeline/verify.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

struct HealOptions {
  VerifyOptions verify;  // the image and its manifest; on_difference hears what is not as it was
  std::string from;      // another image of the same disk
  DiskOptions from_disk;
  bool write = false;  // false: nothing is changed
  // A range that is, or would be, as it was; and one that is not, with the reason. In guest order
  // within what is found at a time.
  std::function<void(const GuestRange&, const std::string& how)> on_healed;
  std::function<void(const GuestRange&, const std::string& why)> on_left;
};

struct HealReport {
  VerifyReport before;
  std::uint64_t healed_bytes = 0;  // in whole digest grains; not written: that would be
  std::uint64_t left_bytes = 0;
  bool written = false;
  // All was written, and the cryptographic root is not the manifest's: `from` was made to deceive.
  bool root_differs = false;

  // Whether the image is as it was when its manifest was made.
  [[nodiscard]] bool whole() const {
    return before.same() || (written && left_bytes == 0 && !root_differs);
  }
};

// Finds what of an image is not as its manifest says, fetches it from another image of the same
// disk, and writes it back where it is stored, in whichever link of the chain that is; what the
// tables lost is allocated anew in the top link. Nothing is written that has not the digest of the
// manifest, nor before it was tried; what it overwrites goes first to a journal beside the image
// (repair_journal_path(), 64 MiB of it at a time), which is removed when the healed ranges were
// read back right. Where the manifest has a cryptographic root, the whole disk is read once more to
// prove that too. Content IDs stay what they are, for the contents are what they were. Fails, with
// nothing changed, where the image's structure is damaged (for check --repair), where either disk
// has another size than the manifest, or where an earlier repair left its journal.
[[nodiscard]] Result<HealReport> heal(FileSystem& files, const HealOptions& options);

}  // namespace grainmill
