// SPDX-License-Identifier: Apache-2.0
//
// Writes the VMDK files of a ChainLayout: real monolithicSparse images with all their tables, and
// holes where the grains would be, so that a chain of 32 over 1 TiB takes 2 GiB of memory.
#pragma once

#include "bench/workloads/chain_layout.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace grainmill::bench {

// A folder of its own below `parent`, removed with all it holds.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& parent);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes the chain into `folder` and returns its paths, the top link first. Throws on failure.
[[nodiscard]] std::vector<std::string> write_chain(const ChainLayout& layout,
                                                   const std::filesystem::path& folder);

// What write_chain() stores in a grain where the spec says that it stores data.
void fill_grain(std::uint64_t grain, std::span<std::byte> out);

}  // namespace grainmill::bench
