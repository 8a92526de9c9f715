// SPDX-License-Identifier: Apache-2.0
#include "engine/map/cluster_map.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"
#include "engine/io/huge_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace grainmill {
namespace {

constexpr std::uint64_t kMaxPages = std::uint64_t{1} << 27;
constexpr std::uint64_t kMaxClusterBytes = kMiB;
constexpr std::uint64_t kPageEntryBytes = kPageClusters * sizeof(std::uint32_t);
constexpr std::size_t kStripes = 64;

// A power of two that all grains are multiples of, if they are powers of two themselves; otherwise
// some pages become lists.
std::uint64_t finest_cluster(const ChainMap& chain) {
  std::uint64_t finest = kMaxClusterBytes;
  for (std::size_t i = 0; i < chain.depth(); ++i)
    finest = std::min(finest, chain.link(i).grain_bytes());
  return std::bit_floor(std::max(finest, kSectorBytes));
}

}  // namespace

// All but the fast path. Locks, in the order they are taken: that of a window of pages while it is
// composed, or that of a page while it is changed; then pack_mutex_.
class ClusterMap::Impl {
 public:
  Impl(const ChainMap& chain, ClusterMap& map) : chain_(chain), map_(map) {}

  [[nodiscard]] Status init();
  [[nodiscard]] Status load_page(std::uint64_t page);
  [[nodiscard]] Status load_window(std::uint64_t first, std::uint64_t end);
  [[nodiscard]] Status change(const Extent& extent);
  // What lies at an offset, as far as one page word, entry or list item tells.
  [[nodiscard]] Result<Extent> piece_at(std::uint64_t guest_offset);
  [[nodiscard]] std::uint64_t memory_bytes() const;

  [[nodiscard]] std::uint64_t page_bytes() const { return std::uint64_t{1} << map_.page_shift_; }
  [[nodiscard]] std::uint64_t page_of(std::uint64_t offset) const {
    return offset >> map_.page_shift_;
  }
  [[nodiscard]] std::uint64_t pages() const { return ceil_div(map_.size_bytes_, page_bytes()); }
  [[nodiscard]] std::uint64_t window_pages() const { return window_pages_; }

 private:
  [[nodiscard]] std::atomic_ref<std::uint64_t> word(std::uint64_t page) const {
    return std::atomic_ref(map_.pages_[page]);
  }
  [[nodiscard]] bool loaded(std::uint64_t page) const {
    return word(page).load(std::memory_order_acquire) != 0;
  }
  [[nodiscard]] std::uint64_t page_end(std::uint64_t page) const {
    return std::min((page + 1) << map_.page_shift_, map_.size_bytes_);
  }
  [[nodiscard]] std::mutex& load_mutex(std::uint64_t page) {
    return load_mutexes_[page / window_pages_ % kStripes];
  }
  [[nodiscard]] std::shared_mutex& page_mutex(std::uint64_t page) {
    return page_mutexes_[page % kStripes];
  }

  [[nodiscard]] std::uint64_t read_ahead_end(std::uint64_t page) const;
  [[nodiscard]] Status compose_pages(std::uint64_t first, std::uint64_t end);
  [[nodiscard]] std::uint64_t pack(const ExtentList& list);
  [[nodiscard]] std::uint64_t pack_uniform(const Extent& extent);
  [[nodiscard]] std::uint64_t pack_entries(const PageEntries& page);
  [[nodiscard]] std::uint64_t pack_list(const ExtentList& list);
  void change_page(std::uint64_t page, const Extent& change);
  [[nodiscard]] bool store_entries(std::uint64_t word, const Extent& change);
  [[nodiscard]] ExtentList unpack(std::uint64_t page, std::uint64_t word) const;
  [[nodiscard]] Extent piece_of(std::uint64_t word, std::uint64_t guest_offset) const;
  [[nodiscard]] static ExtentList* list_of(std::uint64_t word) {
    return std::bit_cast<ExtentList*>(word & ~std::uint64_t{3});
  }

  const ChainMap& chain_;
  ClusterMap& map_;
  std::uint64_t window_pages_ = 1;
  HugeMemory pages_;
  HugeMemory entries_;
  std::array<std::mutex, kStripes> load_mutexes_;
  // Unique for who changes a page; shared for who reads a list. Nothing else needs it.
  std::array<std::shared_mutex, kStripes> page_mutexes_;

  mutable std::mutex pack_mutex_;  // for all that follows
  SourceTable sources_;
  // Entries of pages that became something else stay: someone may be reading them. Few do.
  std::uint64_t entry_pages_ = 0;
  std::uint64_t list_bytes_ = 0;
  std::vector<std::unique_ptr<ExtentList>> lists_;
};

Status ClusterMap::Impl::init() {
  const std::uint64_t cluster = finest_cluster(chain_);
  map_.size_bytes_ = chain_.size_bytes();
  map_.cluster_shift_ = static_cast<unsigned>(std::countr_zero(cluster));
  map_.page_shift_ = map_.cluster_shift_ + kPageClusterBits;
  if (pages() > kMaxPages)
    return fail(ErrorKind::unsupported, "",
                fmt::format("random access to a disk of {} with grains of {}: at most {}",
                            format_size(map_.size_bytes_), format_size(cluster),
                            format_size(kMaxPages << map_.page_shift_)));
  window_pages_ = std::max<std::uint64_t>(chain_.window_bytes() / page_bytes(), 1);
  GM_TRY(pages_, HugeMemory::reserve((pages() + 1) * sizeof(std::uint64_t)));
  // Every page once, and some that change their shape.
  GM_TRY(entries_, HugeMemory::reserve((pages() + pages() / 4 + 512) * kPageEntryBytes));
  entries_.prefer_huge_pages_from(HugeMemory::kHugePageBytes);
  GM_TRY(sources_, SourceTable::make(pages()));
  map_.pages_ = reinterpret_cast<std::uint64_t*>(pages_.data());
  map_.entries_ = reinterpret_cast<std::uint32_t*>(entries_.data());
  map_.sources_ = sources_.data();
  return {};
}

// Composing a page alone costs a multiple of what it costs among others. Where the pages before are
// there already, someone probably reads on: as many again, up to the end of the window.
std::uint64_t ClusterMap::Impl::read_ahead_end(std::uint64_t page) const {
  std::uint64_t before = 0;
  while (before < window_pages_ && before < page && loaded(page - before - 1)) ++before;
  const std::uint64_t window_end = (page / window_pages_ + 1) * window_pages_;
  const std::uint64_t limit =
      std::min({page + std::max<std::uint64_t>(before, 1), window_end, pages()});
  std::uint64_t end = page + 1;
  while (end < limit && !loaded(end)) ++end;
  return end;
}

Status ClusterMap::Impl::load_page(std::uint64_t page) {
  const std::lock_guard lock(load_mutex(page));
  if (loaded(page)) return {};
  const std::uint64_t end = read_ahead_end(page);
  // What nobody asked for may fail.
  if (end > page + 1 && compose_pages(page, end)) return {};
  return compose_pages(page, page + 1);
}

Status ClusterMap::Impl::load_window(std::uint64_t first, std::uint64_t end) {
  const std::lock_guard lock(load_mutex(first));
  while (first < end) {
    std::uint64_t next = first;
    while (next < end && !loaded(next)) ++next;
    if (next != first) GM_CHECK(compose_pages(first, next));
    first = next + 1;
  }
  return {};
}

// Pages are published here only, under the lock of their window, and changed only afterwards: so
// what has been changed is never composed again.
Status ClusterMap::Impl::compose_pages(std::uint64_t first, std::uint64_t end) {
  const std::uint64_t begin = first << map_.page_shift_;
  ExtentList composed;
  GM_CHECK(chain_.compose(begin, page_end(end - 1) - begin, composed));
  ExtentList list;
  auto extent = composed.begin();
  for (std::uint64_t page = first; page < end; ++page) {
    list.clear();
    const std::uint64_t page_begin = page << map_.page_shift_;
    while (extent != composed.end() && extent->guest_offset < page_end(page)) {
      append_plain(list, plain(clip(*extent, page_begin, page_end(page))));
      if (extent->guest_end() > page_end(page)) break;
      ++extent;
    }
    word(page).store(pack(list), std::memory_order_release);
  }
  return {};
}

// The word of a page, from plain extents; never that of an unknown one.
std::uint64_t ClusterMap::Impl::pack(const ExtentList& list) {
  if (list.size() == 1) {
    const std::uint64_t word = pack_uniform(list.front());
    if (word != 0) return word;
  }
  if (const auto page = page_entries(list, map_.cluster_shift_)) {
    const std::uint64_t word = pack_entries(*page);
    if (word != 0) return word;
  }
  return pack_list(list);
}

// Returns 0 where it is impossible.
std::uint64_t ClusterMap::Impl::pack_uniform(const Extent& extent) {
  const std::uint64_t sectors = extent.file_offset / kSectorBytes;
  if (extent.file_offset % kSectorBytes != 0 || sectors >> 39 != 0) return 0;
  const std::lock_guard lock(pack_mutex_);
  const auto source = sources_.intern(
      {.file = extent.file, .base = 0, .link = extent.link, .kind = extent.kind, .shift = 0});
  if (!source) return 0;
  return sectors << 25 | std::uint64_t{*source} << 2 | static_cast<std::uint64_t>(PageTag::uniform);
}

// Returns 0 where it is impossible: tables are full.
std::uint64_t ClusterMap::Impl::pack_entries(const PageEntries& page) {
  const std::lock_guard lock(pack_mutex_);
  if (entry_pages_ == entries_.bytes() / kPageEntryBytes) return 0;
  std::vector<std::uint32_t> indices;
  const auto block = sources_.dictionary(page.sources, page.bits, indices);
  if (!block) return 0;
  indices.insert(indices.begin(), 0);
  std::uint32_t* const entries = map_.entries_ + entry_pages_ * kPageClusters;
  for (std::size_t i = 0; i < kPageClusters; ++i)
    entries[i] = page.slot[i] << page.bits | indices[page.source[i]];
  return entry_pages_++ << 32 | std::uint64_t{*block} << 16 | std::uint64_t{page.bits} << 2 |
         static_cast<std::uint64_t>(PageTag::packed);
}

std::uint64_t ClusterMap::Impl::pack_list(const ExtentList& list) {
  const std::lock_guard lock(pack_mutex_);
  lists_.push_back(std::make_unique<ExtentList>(list));
  list_bytes_ += lists_.back()->capacity() * sizeof(Extent);
  return std::bit_cast<std::uint64_t>(lists_.back().get()) |
         static_cast<std::uint64_t>(PageTag::list);
}

Status ClusterMap::Impl::change(const Extent& extent) {
  for (std::uint64_t at = extent.guest_offset; at < extent.guest_end();) {
    const std::uint64_t page = page_of(at);
    if (!loaded(page)) GM_CHECK(load_page(page));
    change_page(page, clip(extent, at, page_end(page)));
    at = page_end(page);
  }
  return {};
}

void ClusterMap::Impl::change_page(std::uint64_t page, const Extent& change) {
  const std::lock_guard lock(page_mutex(page));
  const std::uint64_t old = word(page).load(std::memory_order_acquire);
  if (tag_of(old) == PageTag::packed && store_entries(old, change)) return;
  ExtentList list = spliced(unpack(page, old), change);
  if (tag_of(old) != PageTag::list) {
    word(page).store(pack(list), std::memory_order_release);
    return;
  }
  list_of(old)->swap(list);
  const std::lock_guard pack_lock(pack_mutex_);
  list_bytes_ += (list_of(old)->capacity() - list.capacity()) * sizeof(Extent);
}

// Returns false if it cannot be told in entries of this page; some may have been stored.
bool ClusterMap::Impl::store_entries(std::uint64_t word, const Extent& change) {
  const std::uint64_t mask = map_.cluster_bytes() - 1;
  if ((change.guest_offset & mask) != 0) return false;
  if ((change.guest_end() & mask) != 0 && change.guest_end() != map_.size_bytes_) return false;
  const std::lock_guard lock(pack_mutex_);
  Extent cluster = change;
  while (cluster.guest_offset < change.guest_end()) {
    const auto entry =
        sources_.entry(static_cast<std::uint32_t>(word >> 16) & 0xffff,
                       static_cast<unsigned>(word >> 2) & 31, cluster, map_.cluster_shift_);
    if (!entry) return false;
    std::atomic_ref(*map_.entry_at(word, cluster.guest_offset))
        .store(*entry, std::memory_order_release);
    cluster.guest_offset += map_.cluster_bytes();
    cluster.file_offset += map_.cluster_bytes();
  }
  return true;
}

ExtentList ClusterMap::Impl::unpack(std::uint64_t page, std::uint64_t word) const {
  if (tag_of(word) == PageTag::list) return *list_of(word);
  ExtentList list;
  for (std::uint64_t at = page << map_.page_shift_; at < page_end(page);) {
    append_plain(list, piece_of(word, at));
    at = list.back().guest_end();
  }
  return list;
}

// REQUIRES: a word that is uniform or packed.
Extent ClusterMap::Impl::piece_of(std::uint64_t word, std::uint64_t guest_offset) const {
  const bool packed = tag_of(word) == PageTag::packed;
  const Place place =
      packed ? map_.packed_place(word, guest_offset) : map_.uniform_place(word, guest_offset);
  const unsigned shift = packed ? map_.cluster_shift_ : map_.page_shift_;
  const std::uint64_t end = std::min(((guest_offset >> shift) + 1) << shift, map_.size_bytes_);
  return plain({.guest_offset = guest_offset,
                .length = end - guest_offset,
                .kind = place.kind,
                .link = place.link,
                .file = place.file,
                .file_offset = place.file_offset});
}

Result<Extent> ClusterMap::Impl::piece_at(std::uint64_t guest_offset) {
  std::uint64_t word = map_.page_word(guest_offset);
  if (tag_of(word) == PageTag::unknown) {
    GM_CHECK(load_page(page_of(guest_offset)));
    word = map_.page_word(guest_offset);
  }
  if (tag_of(word) != PageTag::list) return piece_of(word, guest_offset);
  const std::shared_lock lock(page_mutex(page_of(guest_offset)));
  const Extent& extent = find_extent(*list_of(word), guest_offset);
  return plain(clip(extent, guest_offset, extent.guest_end()));
}

std::uint64_t ClusterMap::Impl::memory_bytes() const {
  const std::lock_guard lock(pack_mutex_);
  const std::uint64_t entry_bytes = entry_pages_ * kPageEntryBytes;
  const std::uint64_t unit =
      entry_bytes > HugeMemory::kHugePageBytes ? HugeMemory::kHugePageBytes : kPageEntryBytes;
  return sizeof(ClusterMap) + sizeof(Impl) + pages_.bytes() + align_up(entry_bytes, unit) +
         sources_.memory_bytes() + list_bytes_ + lists_.capacity() * sizeof(lists_.front()) +
         lists_.size() * sizeof(ExtentList);
}

Result<std::unique_ptr<ClusterMap>> ClusterMap::make(const ChainMap& chain) {
  std::unique_ptr<ClusterMap> map(new ClusterMap);
  map->impl_ = std::make_unique<Impl>(chain, *map);
  GM_CHECK(map->impl_->init());
  return map;
}

ClusterMap::~ClusterMap() = default;

Result<Place> ClusterMap::find_slowly(std::uint64_t guest_offset) const {
  GM_TRY(const Extent piece, impl_->piece_at(guest_offset));
  return Place{piece.kind, piece.link, piece.file, piece.file_offset};
}

Status ClusterMap::find_many(std::span<const std::uint64_t> guest_offsets,
                             std::span<Place> places) const {
  for (std::size_t i = 0; i < guest_offsets.size(); ++i) {
    GM_TRY(places[i], find(guest_offsets[i]));
  }
  return {};
}

Result<Extent> ClusterMap::find_run(std::uint64_t guest_offset, std::uint64_t limit) const {
  limit = std::min(limit, size_bytes_ - guest_offset);
  GM_TRY(Extent run, impl_->piece_at(guest_offset));
  while (run.length < limit) {
    // What cannot be read ends the run; who asks for it is told why.
    const Result<Extent> next = impl_->piece_at(run.guest_end());
    if (!next || !goes_on(run, *next)) break;
    run.length += next->length;
  }
  run.length = std::min(run.length, limit);
  return run;
}

Status ClusterMap::load(std::uint64_t guest_offset, std::uint64_t length) const {
  const std::uint64_t end = ceil_div(guest_offset + length, impl_->page_bytes());
  const std::uint64_t window = impl_->window_pages();
  for (std::uint64_t page = impl_->page_of(guest_offset); page < end;) {
    const std::uint64_t window_end = std::min(end, (page / window + 1) * window);
    GM_CHECK(impl_->load_window(page, window_end));
    page = window_end;
  }
  return {};
}

Status ClusterMap::set_data(std::uint64_t guest_offset, std::uint64_t length, const File& file,
                            std::uint64_t file_offset) {
  return impl_->change({.guest_offset = guest_offset,
                        .length = length,
                        .kind = ExtentKind::data,
                        .link = 0,
                        .file = &file,
                        .file_offset = file_offset});
}

Status ClusterMap::set_zero(std::uint64_t guest_offset, std::uint64_t length) {
  return impl_->change(
      {.guest_offset = guest_offset, .length = length, .kind = ExtentKind::zero, .link = 0});
}

std::uint64_t ClusterMap::memory_bytes() const { return impl_->memory_bytes(); }

}  // namespace grainmill
