// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/fakes/memory_file.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace grainmill::testing {

// One step of what was done to files.
struct Change {
  enum class Kind : std::uint8_t {
    write,
    zero_range,
    resize,
    sync,         // of one file
    publish,      // a name begins to mean a file
    remove,       // a name ends
    sync_folder,  // of the names in it
  };

  Kind kind = Kind::write;
  std::string path;          // of the file, or the name; sync_folder: of the folder
  std::uint64_t inode = 0;   // of the file; 0 where it is about names alone
  std::uint64_t offset = 0;  // resize: the new size
  std::uint64_t length = 0;
  SparsePages pages{};       // write: what was written, in its place
  std::string until_then{};  // publish: the name that ends with that, in one step; empty: none

  // A device writes a sector wholly or not at all.
  static constexpr std::uint64_t kSectorBytes = 512;

  [[nodiscard]] bool is_sync() const { return kind == Kind::sync || kind == Kind::sync_folder; }
  [[nodiscard]] bool is_of_names() const { return kind == Kind::publish || kind == Kind::remove; }
  // In how many pieces it can arrive.
  [[nodiscard]] std::size_t sectors() const;
  // Whether `sync` makes sure that this arrives.
  [[nodiscard]] bool is_covered_by(const Change& sync) const;
  // "write /disk.vmdk 0x200+4"
  [[nodiscard]] std::string to_string() const;
};

// How much of a change a power cut let through.
struct Arrival {
  enum class Fate : std::uint8_t { lost, whole, torn };

  Fate fate = Fate::lost;
  std::vector<bool> sectors{};  // torn: which ones arrived

  // From the answers for each sector.
  [[nodiscard]] static Arrival of(const Change& change,
                                  const std::function<bool(std::size_t sector)>& arrived);
  // "whole", "lost", "sectors 0-3,7 of 8"
  [[nodiscard]] std::string to_string() const;
};

// Does to a file what arrived of a change. REQUIRES: it is a change of bytes or size.
void apply(const Change& change, const Arrival& arrival, MemoryContent& content);

}  // namespace grainmill::testing
