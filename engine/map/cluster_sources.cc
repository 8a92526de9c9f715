// SPDX-License-Identifier: Apache-2.0
#include "engine/map/cluster_sources.h"

#include "engine/base/arith.h"

#include <algorithm>
#include <bit>
#include <memory>

namespace grainmill {
namespace {

constexpr std::uint32_t kAbsent = 0xffffffff;

// How many dictionaries are looked at before a new one is made.
constexpr int kMaxCandidates = 4;

std::uint32_t index_of(std::span<const ClusterSource> sources, const ClusterSource& wanted) {
  const auto found = std::ranges::find(sources, wanted);
  if (found == sources.end()) return kAbsent;
  return static_cast<std::uint32_t>(found - sources.begin());
}

}  // namespace

ClusterSource source_for(const Extent& extent, unsigned shift, unsigned slot_bits) {
  ClusterSource source{.link = extent.link, .kind = extent.kind};
  if (extent.kind == ExtentKind::hole) return {};
  if (extent.kind == ExtentKind::zero) return source;
  source.file = extent.file;
  if (extent.kind == ExtentKind::deflated) return source;
  const std::uint64_t slot_mask = (std::uint64_t{1} << shift) - 1;
  const std::uint64_t window_mask = (std::uint64_t{1} << (shift + slot_bits)) - 1;
  source.base = extent.file_offset & (~window_mask | slot_mask);
  source.unit = slot_mask + 1;
  return source;
}

std::size_t SourceTable::Hash::operator()(const ClusterSource& source) const {
  const std::uint64_t parts[] = {reinterpret_cast<std::uintptr_t>(source.file), source.base,
                                 source.unit << 40 ^ std::uint64_t{source.link} << 8 ^
                                     static_cast<std::uint64_t>(source.kind)};
  std::uint64_t hash = 0;
  for (const std::uint64_t part : parts) {
    hash = (hash ^ part) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return hash;
}

Result<SourceTable> SourceTable::make(std::uint64_t pages) {
  SourceTable table;
  table.max_blocks_ = std::min(pages + 128, kMaxBlocks);
  GM_TRY(table.memory_,
         HugeMemory::reserve(table.max_blocks_ * kBlockSources * sizeof(ClusterSource)));
  table.sources_ = reinterpret_cast<ClusterSource*>(table.memory_.data());
  return table;
}

std::optional<std::uint32_t> SourceTable::new_dictionary(unsigned bits) {
  const std::size_t block = sizes_.size();
  const std::size_t blocks = std::size_t{1} << (bits - kNarrowBits);
  if (block + blocks > max_blocks_) return std::nullopt;
  sizes_.resize(block + blocks);
  append(static_cast<std::uint32_t>(block), ClusterSource{});
  return static_cast<std::uint32_t>(block);
}

std::uint32_t SourceTable::append(std::uint32_t block, const ClusterSource& source) {
  const std::uint32_t index = sizes_[block]++;
  std::construct_at(sources_ + block * kBlockSources + index, source);
  return index;
}

std::optional<std::uint32_t> SourceTable::intern(const ClusterSource& source) {
  if (const auto found = singles_.find(source); found != singles_.end()) return found->second;
  if (!singles_block_ || sizes_[*singles_block_] == kBlockSources) {
    const std::optional<std::uint32_t> block = new_dictionary(kNarrowBits);
    if (!block) return std::nullopt;
    singles_block_ = block;
  }
  const std::uint32_t number =
      static_cast<std::uint32_t>(*singles_block_ * kBlockSources) + append(*singles_block_, source);
  singles_.emplace(source, number);
  return number;
}

// Fills `indices`, adding what the dictionary lacks. Returns false, and adds nothing, if it has no
// room: a quarter is kept for what is written later.
bool SourceTable::locate(std::uint32_t block, unsigned bits, std::span<const ClusterSource> wanted,
                         std::vector<std::uint32_t>& indices) {
  const std::span<const ClusterSource> known = contents(block);
  const std::size_t limit = (std::size_t{3} << bits) / 4 + 1;
  std::size_t size = known.size();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    indices[i] = index_of(known, wanted[i]);
    if (indices[i] == kAbsent && ++size > limit) return false;
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (indices[i] == kAbsent) indices[i] = append(block, wanted[i]);
  }
  return true;
}

std::optional<std::uint32_t> SourceTable::dictionary(std::span<const ClusterSource> wanted,
                                                     unsigned bits,
                                                     std::vector<std::uint32_t>& indices) {
  Family& family = this->family(bits);
  indices.resize(wanted.size());
  std::optional<std::uint32_t> block;
  std::optional<std::uint32_t> tried;
  int candidates = 0;
  for (const ClusterSource& source : wanted) {
    const auto found = family.newest_with.find(source);
    if (found == family.newest_with.end() || tried == found->second) continue;
    tried = found->second;
    if (locate(*tried, bits, wanted, indices)) block = tried;
    if (block || ++candidates == kMaxCandidates) break;
  }
  if (!block && family.newest && locate(*family.newest, bits, wanted, indices))
    block = family.newest;
  if (!block) {
    block = family.newest = new_dictionary(bits);
    if (!block || !locate(*block, bits, wanted, indices)) return std::nullopt;
  }
  for (const ClusterSource& source : wanted) family.newest_with[source] = *block;
  return block;
}

std::optional<std::uint32_t> SourceTable::entry(std::uint32_t block, unsigned bits,
                                                const Extent& extent, unsigned shift) {
  const unsigned slot_bits = 32 - bits;
  const std::span<const ClusterSource> known = contents(block);
  for (std::uint32_t i = 0; i < known.size(); ++i)
    if (const auto slot = slot_in(known[i], extent, slot_bits)) return *slot << bits | i;
  if (known.size() == std::size_t{1} << bits) return std::nullopt;
  const ClusterSource source = source_for(extent, shift, slot_bits);
  const std::uint32_t index = append(block, source);
  return slot_in(source, extent, slot_bits).value_or(0) << bits | index;
}

std::uint64_t SourceTable::memory_bytes() const {
  // A node of a hash table is its value, a link, a hash, and what the allocator adds.
  constexpr std::uint64_t kNodeBytes = sizeof(Numbers::value_type) + 32;
  std::uint64_t bytes = sizes_.size() * kBlockSources * sizeof(ClusterSource) +
                        sizes_.capacity() * sizeof(sizes_.front());
  for (const Numbers* numbers : {&singles_, &families_[0].newest_with, &families_[1].newest_with})
    bytes += numbers->size() * kNodeBytes + numbers->bucket_count() * sizeof(void*);
  return bytes;
}

}  // namespace grainmill
