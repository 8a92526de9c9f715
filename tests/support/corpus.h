// SPDX-License-Identifier: Apache-2.0
//
// Real images with the digests of their contents. They are not part of the source tree: tests look
// in the folder that GRAINMILL_CORPUS names, else in ../shared/corpus beside the workspace, and are
// skipped where neither exists.
#pragma once

#include "tests/support/temp_dir.h"

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace grainmill::testing {

struct CorpusEntry {
  std::string id;
  std::string subformat;
  std::filesystem::path file;            // as it lies there; .bz2 files are packed
  std::uint64_t virtual_size_bytes = 0;  // 0: not known, or an extent of another entry
  std::string sha256;                    // of the contents as a raw disk; empty if there is none
  std::string qemu_error;                // what qemu-img says instead
  std::string exercises;

  bool is_packed() const { return file.extension() == ".bz2"; }
};

// GoogleTest prints an entry by its name.
inline std::ostream& operator<<(std::ostream& out, const CorpusEntry& entry) {
  return out << entry.id << ' ' << entry.file.filename();
}

// Empty if there is no corpus.
std::filesystem::path corpus_folder();

// Every line of the catalogue in its order; empty if there is no corpus.
std::vector<CorpusEntry> corpus_entries();

// The entries that open as a disk and have a digest.
std::vector<CorpusEntry> corpus_disks();

// The entry's file, unpacked into `dir` by bunzip2 if it is packed.
std::filesystem::path corpus_image(const CorpusEntry& entry, const TempDir& dir);

}  // namespace grainmill::testing
