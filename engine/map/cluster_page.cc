// SPDX-License-Identifier: Apache-2.0
#include "engine/map/cluster_page.h"

#include "engine/base/arith.h"

#include <algorithm>
#include <bit>

namespace grainmill {
namespace {

// Whether each cluster is of one piece. The end of the list may be that of the disk.
bool aligned(std::span<const Extent> list, unsigned cluster_shift) {
  const std::uint64_t mask = (std::uint64_t{1} << cluster_shift) - 1;
  return std::ranges::none_of(
      list, [mask](const Extent& extent) { return (extent.guest_offset & mask) != 0; });
}

class Packer {
 public:
  Packer(unsigned cluster_shift, unsigned bits, unsigned slot_shift)
      : cluster_shift_(cluster_shift), slot_bits_(32 - bits), slot_shift_(slot_shift) {
    page_.bits = bits;
  }

  // Returns false if there are too many sources.
  [[nodiscard]] bool add(std::span<const Extent> list) {
    const std::uint64_t begin = list.front().guest_offset;
    for (const Extent& extent : list) {
      if (extent.kind == ExtentKind::hole) continue;
      const std::size_t first = (extent.guest_offset - begin) >> cluster_shift_;
      const std::size_t last = (extent.guest_end() - 1 - begin) >> cluster_shift_;
      Extent cluster = extent;
      for (std::size_t i = first; i <= last; ++i) {
        if (!add_cluster(i, cluster)) return false;
        cluster.file_offset += std::uint64_t{1} << cluster_shift_;
      }
    }
    return true;
  }

  // Whether some files take many sources each: their clusters have no phase in common.
  [[nodiscard]] bool scattered() const {
    std::size_t files = 0;
    for (auto source = page_.sources.begin(); source != page_.sources.end(); ++source) {
      const auto same_file = [&](const ClusterSource& other) {
        return other.file == source->file && other.link == source->link;
      };
      files += std::none_of(page_.sources.begin(), source, same_file) ? 1 : 0;
    }
    return page_.sources.size() > 2 * files + 2;
  }

  [[nodiscard]] PageEntries take() { return std::move(page_); }

 private:
  bool add_cluster(std::size_t index, const Extent& cluster) {
    // Links mostly have one source each.
    std::uint16_t& hint = hints_[cluster.link % hints_.size()];
    if (!fits(hint, index, cluster)) {
      hint = find(index, cluster);
      if (hint == 0) return false;
    }
    page_.source[index] = hint;
    return true;
  }

  [[nodiscard]] bool fits(std::uint16_t number, std::size_t index, const Extent& cluster) {
    if (number == 0) return false;
    const auto slot = slot_in(page_.sources[number - 1U], cluster, slot_bits_);
    if (slot) page_.slot[index] = *slot;
    return slot.has_value();
  }

  // The number of a source that fits, or a new one; 0 if there is no room for it.
  [[nodiscard]] std::uint16_t find(std::size_t index, const Extent& cluster) {
    const auto size = static_cast<std::uint16_t>(page_.sources.size());
    for (std::uint16_t number = 1; number <= size; ++number)
      if (fits(number, index, cluster)) return number;
    if (size == (3U << page_.bits) / 4) return 0;
    page_.sources.push_back(source_for(cluster, slot_shift_, slot_bits_));
    const auto number = static_cast<std::uint16_t>(size + 1);
    return fits(number, index, cluster) ? number : std::uint16_t{0};
  }

  unsigned cluster_shift_;
  unsigned slot_bits_;
  unsigned slot_shift_;
  PageEntries page_;
  std::array<std::uint16_t, 256> hints_{};
};

// The largest power of two that all places in files are multiples of.
unsigned common_shift(std::span<const Extent> list, unsigned cluster_shift) {
  std::uint64_t bits = std::uint64_t{1} << cluster_shift;
  for (const Extent& extent : list)
    if (extent.kind == ExtentKind::data) bits |= extent.file_offset;
  return static_cast<unsigned>(std::countr_zero(bits));
}

}  // namespace

Extent plain(const Extent& extent) {
  Extent out{.guest_offset = extent.guest_offset, .length = extent.length, .kind = extent.kind};
  if (extent.kind != ExtentKind::hole) out.link = extent.link;
  if (!extent.reads_as_zero()) out.file = extent.file;
  if (extent.kind == ExtentKind::data) out.file_offset = extent.file_offset;
  return out;
}

void append_plain(ExtentList& list, const Extent& next) {
  if (!list.empty() && goes_on(list.back(), next))
    list.back().length += next.length;
  else
    list.push_back(next);
}

ExtentList spliced(const ExtentList& list, const Extent& change) {
  ExtentList out;
  out.reserve(list.size() + 2);
  bool done = false;
  for (const Extent& extent : list) {
    if (extent.guest_offset < change.guest_offset)
      append_plain(out, plain(clip(extent, extent.guest_offset, change.guest_offset)));
    if (!done && extent.guest_end() >= change.guest_end()) {
      append_plain(out, change);
      done = true;
    }
    if (extent.guest_end() > change.guest_end())
      append_plain(out, plain(clip(extent, change.guest_end(), extent.guest_end())));
  }
  return out;
}

std::optional<PageEntries> narrow_entries(std::span<const Extent> list, unsigned cluster_shift) {
  if (!aligned(list, cluster_shift)) return std::nullopt;
  // Slots as large as clusters reach furthest and are shared by most. Where the places of clusters
  // have nothing in common, smaller slots save sources; in the end every cluster may have its own.
  Packer coarse(cluster_shift, SourceTable::kNarrowBits, cluster_shift);
  const bool coarse_fits = coarse.add(list);
  if (coarse_fits && !coarse.scattered()) return coarse.take();
  const unsigned shift = common_shift(list, cluster_shift);
  Packer fine(cluster_shift, SourceTable::kNarrowBits, shift);
  if (shift != cluster_shift && fine.add(list)) return fine.take();
  if (coarse_fits) return coarse.take();
  return std::nullopt;
}

std::optional<PageEntries> wide_entries(std::span<const Extent> list, unsigned cluster_shift) {
  if (!aligned(list, cluster_shift)) return std::nullopt;
  Packer wide(cluster_shift, SourceTable::kWideBits, cluster_shift);
  if (wide.add(list)) return wide.take();
  return std::nullopt;
}

}  // namespace grainmill
