// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/map/chain_map.h"
#include "engine/map/cluster_page.h"
#include "engine/map/cluster_sources.h"
#include "engine/map/extent.h"

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>

namespace grainmill {

// Where one byte of the guest disk is.
struct Place {
  ExtentKind kind = ExtentKind::hole;
  std::uint32_t link = 0;         // which link of the chain says so; of holes not meaningful
  const File* file = nullptr;     // data and deflated
  std::uint64_t file_offset = 0;  // data: of the byte that was asked for. else: not meaningful
};

// Random access to what a ChainMap composes: guest offset -> where the byte is, through the whole
// chain and at the same cost for any depth, kept up to date while the top link is written.
//
// A cluster is the finest grain of the chain. A page is 512 clusters, and one 64-bit word says all
// of it that is of one piece; otherwise where its 512 entries of 32 bits are, or, for what is not
// aligned to clusters, its list of extents. Pages are composed when they are first asked for.
//
// Threads: all methods may be called from several threads at once. find() takes no lock (but for
// pages with a list, and on the first touch).
class ClusterMap {
 public:
  // `chain` must outlive this object. Nothing is read yet. Refuses disks of more than 2^27 pages.
  [[nodiscard]] static Result<std::unique_ptr<ClusterMap>> make(const ChainMap& chain);
  ~ClusterMap();
  ClusterMap(const ClusterMap&) = delete;
  ClusterMap& operator=(const ClusterMap&) = delete;

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] std::uint64_t cluster_bytes() const { return cluster_mask_ + 1; }

  // REQUIRES: guest_offset < size_bytes().
  [[nodiscard]] Result<Place> find(std::uint64_t guest_offset) const {
    const std::uint64_t cluster = guest_offset >> cluster_shift_;
    const std::uint64_t word = word_of_page(cluster >> kPageClusterBits);
    if (is_packed(word)) [[likely]]
      return packed_place(dictionary_of(word), entries_[cluster], guest_offset);
    if (tag_of(word) == PageTag::uniform) return uniform_place(word, guest_offset);
    return find_slowly(guest_offset);
  }

  // find() for many at once: with many to wait for at the same time, it takes less than half the
  // time where they are far apart. REQUIRES: both spans are of one size.
  [[nodiscard]] Status find_many(std::span<const std::uint64_t> guest_offsets,
                                 std::span<Place> places) const;

  // The longest extent that begins at guest_offset and is all of one piece (see append_merged()),
  // at most `limit` bytes. Deflated extents tell no more than their kind, link, file and length,
  // and may be many grains. REQUIRES: guest_offset < size_bytes(), limit != 0.
  [[nodiscard]] Result<Extent> find_run(std::uint64_t guest_offset, std::uint64_t limit) const;

  // Composes what of a range is not yet known, in large windows, so that no find() has to.
  // REQUIRES: the range lies in the disk; also of what follows.
  [[nodiscard]] Status load(std::uint64_t guest_offset, std::uint64_t length) const;

  // Says that a range of the top link has changed: it is data at `file_offset` of `file`, or zeros.
  // Every find() that begins after this returns says so too. After an error it may say so of a
  // part.
  [[nodiscard]] Status set_data(std::uint64_t guest_offset, std::uint64_t length, const File& file,
                                std::uint64_t file_offset);
  [[nodiscard]] Status set_zero(std::uint64_t guest_offset, std::uint64_t length);

  // What has been allocated. Of address space that was only reserved, what is in use.
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  class Impl;

  // A page word, from its lowest bit on:
  //   unknown: 0.
  //   packed: tag (1) and all other bits of the pointer to its dictionary. Its entries are narrow,
  //       and at home.
  //   packed_away: tag (12), block of the dictionary (16; times 4 KiB it is where it lies), 0 (4),
  //       number of the page of entries (32). Its entries are wide.
  //   uniform: tag (3), source (23), offset in the file of the page's first byte, in sectors (38).
  //   list: tag (3) and all other bits of a pointer.
  // Most pages are packed, and one bit of the tag is enough to tell.
  enum class PageTag : std::uint8_t {
    unknown = 0,
    packed = 1,
    uniform = 2,
    packed_away = 4,
    list = 6
  };
  static constexpr std::uint64_t kTagMask = 7;
  static constexpr unsigned kUniformSourceBits = 23;
  static constexpr unsigned kUniformShift = 3 + kUniformSourceBits;
  static constexpr unsigned kBlockShift = 12;
  static constexpr unsigned kAwayShift = 32;
  static_assert(SourceTable::kBlockSources * sizeof(ClusterSource) == 1U << kBlockShift);
  static_assert(SourceTable::kMaxBlocks * SourceTable::kBlockSources == 1U << kUniformSourceBits);

  ClusterMap() = default;

  [[nodiscard]] static PageTag tag_of(std::uint64_t word) {
    return static_cast<PageTag>(word & kTagMask);
  }
  [[nodiscard]] static bool is_packed(std::uint64_t word) {
    return (word & static_cast<std::uint64_t>(PageTag::packed)) != 0;
  }
  [[nodiscard]] std::uint64_t word_of_page(std::uint64_t page) const {
    return std::atomic_ref(pages_[page]).load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t page_word(std::uint64_t guest_offset) const {
    return word_of_page(guest_offset >> cluster_shift_ >> kPageClusterBits);
  }
  [[nodiscard]] static const ClusterSource* dictionary_of(std::uint64_t packed_word) {
    return std::bit_cast<const ClusterSource*>(packed_word - 1);
  }
  template <unsigned SourceBits = SourceTable::kNarrowBits>
  [[nodiscard]] Place packed_place(const ClusterSource* dictionary, std::uint32_t& stored_entry,
                                   std::uint64_t guest_offset) const {
    // Acquire: with a source that was added for it, where it was written later than the page.
    const std::uint32_t entry = std::atomic_ref(stored_entry).load(std::memory_order_acquire);
    const ClusterSource& source = dictionary[entry & ((1U << SourceBits) - 1)];
    return {source.kind, source.link, source.file,
            source.base + (entry >> SourceBits) * source.unit + (guest_offset & cluster_mask_)};
  }
  [[nodiscard]] Place uniform_place(std::uint64_t word, std::uint64_t guest_offset) const {
    const ClusterSource& source = sources_[(word >> 3) & ((1U << kUniformSourceBits) - 1)];
    const std::uint64_t in_page = guest_offset & page_mask_;
    return {source.kind, source.link, source.file,
            (word >> kUniformShift) * kSectorBytes + in_page};
  }
  [[nodiscard, gnu::cold]] Result<Place> find_slowly(std::uint64_t guest_offset) const;

  std::uint64_t* pages_ = nullptr;
  std::uint32_t* entries_ = nullptr;  // at home
  const ClusterSource* sources_ = nullptr;
  std::uint64_t cluster_mask_ = 0;  // in a cluster
  std::uint64_t page_mask_ = 0;     // in a page
  unsigned cluster_shift_ = 0;
  std::uint64_t size_bytes_ = 0;
  std::unique_ptr<Impl> impl_;
};

}  // namespace grainmill
