// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"
#include "engine/io/huge_memory.h"
#include "engine/map/extent.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace grainmill {

// What the packed entries of a ClusterMap have in common, so that 32 bits are enough for the rest:
// an entry is a source and a slot in it, and stands for `base + slot * unit` in the file.
struct alignas(32) ClusterSource {
  const File* file = nullptr;  // data and deflated
  std::uint64_t base = 0;      // data
  std::uint64_t unit = 1;      // data: a power of two
  std::uint32_t link = 0;      // 0 for holes
  ExtentKind kind = ExtentKind::hole;

  bool operator==(const ClusterSource&) const = default;
};

// The source for what begins `extent`, with slots of 1 << shift bytes and slot_bits for their
// number. Of all that could be, it is one that its neighbours in the file share.
[[nodiscard]] ClusterSource source_for(const Extent& extent, unsigned shift, unsigned slot_bits);

// The slot of `source` that is what begins `extent`; nullopt if there is none.
[[nodiscard]] inline std::optional<std::uint32_t> slot_in(const ClusterSource& source,
                                                          const Extent& extent,
                                                          unsigned slot_bits) {
  if (source.kind != extent.kind) return std::nullopt;
  if (extent.kind == ExtentKind::hole) return 0;
  if (source.link != extent.link) return std::nullopt;
  if (extent.kind == ExtentKind::zero) return 0;
  if (source.file != extent.file) return std::nullopt;
  if (extent.kind == ExtentKind::deflated) return 0;
  const std::uint64_t distance = extent.file_offset - source.base;  // wraps: then it is too far
  const std::uint64_t slot = distance >> std::countr_zero(source.unit);
  if ((distance & (source.unit - 1)) != 0 || slot >> slot_bits != 0) return std::nullopt;
  return static_cast<std::uint32_t>(slot);
}

// All sources, in dictionaries: neighbours of which the first is the hole. Pages that need the same
// sources share a dictionary; it grows in place, so that what refers to it stays as it is.
//
// Threads: one at a time; but what is in data() never changes, and may be read by any thread that
// was told of it.
class SourceTable {
 public:
  // How many bits of an entry are the source: usually narrow. Wide is enough for any page.
  static constexpr unsigned kNarrowBits = 7;
  static constexpr unsigned kWideBits = 10;
  static constexpr std::uint64_t kMaxBlocks = 65536;
  static constexpr std::uint64_t kBlockSources = std::uint64_t{1} << kNarrowBits;

  SourceTable() = default;
  // With room for a disk of so many pages.
  [[nodiscard]] static Result<SourceTable> make(std::uint64_t pages);

  [[nodiscard]] const ClusterSource* data() const { return sources_; }
  // The dictionary that begins with a block, and back.
  [[nodiscard]] const ClusterSource* dictionary(std::uint32_t block) const {
    return sources_ + block * kBlockSources;
  }
  [[nodiscard]] std::uint32_t block(const ClusterSource* dictionary) const {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(dictionary - sources_) /
                                      kBlockSources);
  }

  // The number of one source, in no dictionary. nullopt: the table is full.
  [[nodiscard]] std::optional<std::uint32_t> intern(const ClusterSource& source);

  // Finds, grows or makes a dictionary that has all of `wanted`; where each of them is in it goes
  // to `indices`. Returns its number of blocks from the start of the table. nullopt: the table is
  // full. REQUIRES: wanted is at most three quarters of what the bits can tell.
  [[nodiscard]] std::optional<std::uint32_t> dictionary(std::span<const ClusterSource> wanted,
                                                        unsigned bits,
                                                        std::vector<std::uint32_t>& indices);

  // The entry for what begins `extent` in a dictionary, to which its source (with slots of 1 <<
  // shift bytes) is added where there is none yet. nullopt: the dictionary is full.
  [[nodiscard]] std::optional<std::uint32_t> entry(std::uint32_t block, unsigned bits,
                                                   const Extent& extent, unsigned shift);

  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Hash {
    std::size_t operator()(const ClusterSource& source) const;
  };
  using Numbers = std::unordered_map<ClusterSource, std::uint32_t, Hash>;

  // What of a kind of dictionaries is known.
  struct Family {
    Numbers newest_with;  // the newest dictionary that has a source
    std::optional<std::uint32_t> newest;
  };

  [[nodiscard]] Family& family(unsigned bits) { return families_[bits == kWideBits ? 1 : 0]; }
  [[nodiscard]] std::span<const ClusterSource> contents(std::uint32_t block) const {
    return {sources_ + block * kBlockSources, sizes_[block]};
  }
  [[nodiscard]] std::optional<std::uint32_t> new_dictionary(unsigned bits);
  std::uint32_t append(std::uint32_t block, const ClusterSource& source);
  [[nodiscard]] bool locate(std::uint32_t block, unsigned bits,
                            std::span<const ClusterSource> wanted,
                            std::vector<std::uint32_t>& indices);

  HugeMemory memory_;
  ClusterSource* sources_ = nullptr;
  std::uint64_t max_blocks_ = 0;
  std::vector<std::uint16_t> sizes_;  // of the dictionary that begins at a block
  Numbers singles_;
  std::optional<std::uint32_t> singles_block_;
  Family families_[2];
};

}  // namespace grainmill
