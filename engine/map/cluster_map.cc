// SPDX-License-Identifier: Apache-2.0
#include "engine/map/cluster_map.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"
#include "engine/io/huge_memory.h"
#include "engine/map/entry_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <vector>

namespace grainmill {
namespace {

constexpr std::uint64_t kMaxPages = std::uint64_t{1} << 27;
constexpr std::uint64_t kMaxClusterBytes = kMiB;
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
  [[nodiscard]] Status load_window(std::uint64_t first, std::uint64_t end, ExtentList& scratch);
  [[nodiscard]] Status change(const Extent& extent);
  // What lies at an offset, as far as one page word, entry or list item tells.
  [[nodiscard]] Status piece_at(std::uint64_t guest_offset, Extent& piece);
  [[nodiscard]] Result<Extent> run_at(std::uint64_t guest_offset, std::uint64_t limit);
  [[nodiscard]] std::uint64_t memory_bytes() const;

  [[nodiscard]] std::uint64_t page_bytes() const { return std::uint64_t{1} << page_shift_; }
  [[nodiscard]] std::uint64_t page_of(std::uint64_t offset) const { return offset >> page_shift_; }
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
    return std::min((page + 1) << page_shift_, map_.size_bytes_);
  }
  [[nodiscard]] std::mutex& load_mutex(std::uint64_t page) {
    return load_mutexes_[page / window_pages_ % kStripes];
  }
  [[nodiscard]] std::shared_mutex& page_mutex(std::uint64_t page) {
    return page_mutexes_[page % kStripes];
  }

  [[nodiscard]] std::uint64_t read_ahead_end(std::uint64_t page) const;
  [[nodiscard]] Status compose_pages(std::uint64_t first, std::uint64_t end, ExtentList& scratch);
  [[nodiscard]] std::uint64_t pack(std::uint64_t page, std::span<const Extent> extents);
  [[nodiscard]] std::uint64_t pack_uniform(const Extent& extent);
  [[nodiscard]] std::uint64_t pack_home(std::uint64_t page, const PageEntries& entries);
  [[nodiscard]] std::uint64_t pack_away(const PageEntries& entries);
  [[nodiscard]] std::optional<std::uint32_t> store(const PageEntries& from, std::uint32_t* entries);
  [[nodiscard]] std::uint64_t pack_list(std::span<const Extent> extents);
  void change_page(std::uint64_t page, const Extent& change);
  [[nodiscard]] bool store_entries(std::uint64_t word, const Extent& change);
  [[nodiscard]] ExtentList unpack(std::uint64_t page, std::uint64_t word) const;
  void piece_of(std::uint64_t word, std::uint64_t guest_offset, Extent& piece) const;
  [[nodiscard]] std::uint32_t& entry_at(std::uint64_t word, std::uint64_t cluster) const {
    if (is_packed(word)) return map_.entries_[cluster];
    return entries_.away()[(word >> kAwayShift) * kPageClusters + cluster % kPageClusters];
  }
  // Of the dictionary of a packed page.
  [[nodiscard]] std::uint32_t block_of(std::uint64_t word) const {
    if (is_packed(word)) return sources_.block(dictionary_of(word));
    return static_cast<std::uint32_t>(word >> kBlockShift) & 0xffff;
  }
  [[nodiscard]] static ExtentList* list_of(std::uint64_t word) {
    return std::bit_cast<ExtentList*>(word & ~kTagMask);
  }

  const ChainMap& chain_;
  ClusterMap& map_;
  unsigned page_shift_ = 0;
  std::uint64_t window_pages_ = 1;
  HugeMemory pages_;
  EntryPages entries_;
  std::array<std::mutex, kStripes> load_mutexes_;
  // Unique for who changes a page; shared for who reads a list. Nothing else needs it.
  std::array<std::shared_mutex, kStripes> page_mutexes_;

  mutable std::mutex pack_mutex_;  // for all that follows
  SourceTable sources_;
  std::uint64_t list_bytes_ = 0;
  std::vector<std::unique_ptr<ExtentList>> lists_;
};

Status ClusterMap::Impl::init() {
  const std::uint64_t cluster = finest_cluster(chain_);
  map_.size_bytes_ = chain_.size_bytes();
  map_.cluster_shift_ = static_cast<unsigned>(std::countr_zero(cluster));
  map_.cluster_mask_ = cluster - 1;
  map_.page_mask_ = cluster * kPageClusters - 1;
  page_shift_ = map_.cluster_shift_ + kPageClusterBits;
  if (pages() > kMaxPages)
    return fail(ErrorKind::unsupported, "",
                fmt::format("random access to a disk of {} with grains of {}: at most {}",
                            format_size(map_.size_bytes_), format_size(cluster),
                            format_size(kMaxPages << page_shift_)));
  window_pages_ = std::max<std::uint64_t>(chain_.window_bytes() / page_bytes(), 1);
  GM_TRY(pages_, HugeMemory::reserve((pages() + 1) * sizeof(std::uint64_t)));
  GM_TRY(entries_, EntryPages::make(pages()));
  GM_TRY(sources_, SourceTable::make(pages()));
  map_.pages_ = reinterpret_cast<std::uint64_t*>(pages_.data());
  map_.entries_ = entries_.home();
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
  ExtentList scratch;
  if (end > page + 1 && compose_pages(page, end, scratch)) return {};
  return compose_pages(page, page + 1, scratch);
}

Status ClusterMap::Impl::load_window(std::uint64_t first, std::uint64_t end, ExtentList& scratch) {
  const std::lock_guard lock(load_mutex(first));
  while (first < end) {
    std::uint64_t next = first;
    while (next < end && !loaded(next)) ++next;
    if (next != first) GM_CHECK(compose_pages(first, next, scratch));
    first = next + 1;
  }
  return {};
}

// Pages are published here only, under the lock of their window, and changed only afterwards: so
// what has been changed is never composed again.
Status ClusterMap::Impl::compose_pages(std::uint64_t first, std::uint64_t end,
                                       ExtentList& scratch) {
  const std::uint64_t begin = first << page_shift_;
  GM_CHECK(chain_.compose(begin, page_end(end - 1) - begin, scratch));
  std::size_t at = 0;
  for (std::uint64_t page = first; page < end; ++page) {
    std::size_t last = at;
    while (scratch[last].guest_end() < page_end(page)) ++last;
    const Extent whole = scratch[last];
    scratch[last] = clip(whole, whole.guest_offset, page_end(page));
    word(page).store(pack(page, std::span(scratch).subspan(at, last + 1 - at)),
                     std::memory_order_release);
    at = last + 1;
    if (whole.guest_end() == page_end(page)) continue;
    at = last;
    scratch[at] = clip(whole, page_end(page), whole.guest_end());
  }
  return {};
}

// The word of a page; never that of an unknown one.
std::uint64_t ClusterMap::Impl::pack(std::uint64_t page, std::span<const Extent> extents) {
  const auto differs = [](const Extent& last, const Extent& next) { return !goes_on(last, next); };
  if (std::ranges::adjacent_find(extents, differs) == extents.end()) {
    const std::uint64_t word = pack_uniform(plain(extents.front()));
    if (word != 0) return word;
  }
  if (const auto entries = narrow_entries(extents, map_.cluster_shift_)) {
    const std::uint64_t word = pack_home(page, *entries);
    if (word != 0) return word;
  }
  if (const auto entries = wide_entries(extents, map_.cluster_shift_)) {
    const std::uint64_t word = pack_away(*entries);
    if (word != 0) return word;
  }
  return pack_list(extents);
}

// Returns 0 where it is impossible.
std::uint64_t ClusterMap::Impl::pack_uniform(const Extent& extent) {
  const std::uint64_t sectors = extent.file_offset / kSectorBytes;
  if (extent.file_offset % kSectorBytes != 0 || sectors >> (64 - kUniformShift) != 0) return 0;
  const std::lock_guard lock(pack_mutex_);
  const auto source =
      sources_.intern({.file = extent.file, .link = extent.link, .kind = extent.kind});
  if (!source) return 0;
  return sectors << kUniformShift | std::uint64_t{*source} << 3 |
         static_cast<std::uint64_t>(PageTag::uniform);
}

// Returns 0 where it is impossible: there were other entries, which someone may still be reading in
// the words of before, or a table is full.
std::uint64_t ClusterMap::Impl::pack_home(std::uint64_t page, const PageEntries& entries) {
  const std::lock_guard lock(pack_mutex_);
  if (!entries_.take_home(page)) return 0;
  const auto block = store(entries, entries_.home() + page * kPageClusters);
  if (!block) return 0;
  return std::bit_cast<std::uint64_t>(sources_.dictionary(*block)) |
         static_cast<std::uint64_t>(PageTag::packed);
}

// Returns 0 where it is impossible: a table is full.
std::uint64_t ClusterMap::Impl::pack_away(const PageEntries& entries) {
  const std::lock_guard lock(pack_mutex_);
  const auto number = entries_.take_away();
  if (!number) return 0;
  const auto block = store(entries, entries_.away() + std::uint64_t{*number} * kPageClusters);
  if (!block) return 0;
  return std::uint64_t{*number} << kAwayShift | std::uint64_t{*block} << kBlockShift |
         static_cast<std::uint64_t>(PageTag::packed_away);
}

// Returns the block of their dictionary; nullopt: there is no room for one.
std::optional<std::uint32_t> ClusterMap::Impl::store(const PageEntries& from,
                                                     std::uint32_t* entries) {
  std::vector<std::uint32_t> indices;
  const auto block = sources_.dictionary(from.sources, from.bits, indices);
  if (!block) return std::nullopt;
  indices.insert(indices.begin(), 0);
  for (std::size_t i = 0; i < kPageClusters; ++i)
    entries[i] = from.slot[i] << from.bits | indices[from.source[i]];
  return block;
}

std::uint64_t ClusterMap::Impl::pack_list(std::span<const Extent> extents) {
  auto list = std::make_unique<ExtentList>();
  for (const Extent& extent : extents) append_plain(*list, plain(extent));
  list->shrink_to_fit();
  const std::lock_guard lock(pack_mutex_);
  list_bytes_ += list->capacity() * sizeof(Extent);
  lists_.push_back(std::move(list));
  return reinterpret_cast<std::uintptr_t>(lists_.back().get()) |
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
  const bool packed = is_packed(old) || tag_of(old) == PageTag::packed_away;
  if (packed && store_entries(old, change)) return;
  ExtentList list = spliced(unpack(page, old), change);
  if (tag_of(old) != PageTag::list) {
    word(page).store(pack(page, list), std::memory_order_release);
    return;
  }
  list_of(old)->swap(list);
  const std::lock_guard pack_lock(pack_mutex_);
  list_bytes_ += (list_of(old)->capacity() - list.capacity()) * sizeof(Extent);
}

// Returns false if it cannot be told in entries of this page; some may have been stored.
bool ClusterMap::Impl::store_entries(std::uint64_t word, const Extent& change) {
  const std::uint64_t mask = map_.cluster_mask_;
  if ((change.guest_offset & mask) != 0) return false;
  if ((change.guest_end() & mask) != 0 && change.guest_end() != map_.size_bytes_) return false;
  const unsigned bits = is_packed(word) ? SourceTable::kNarrowBits : SourceTable::kWideBits;
  const std::lock_guard lock(pack_mutex_);
  Extent cluster = change;
  while (cluster.guest_offset < change.guest_end()) {
    const auto entry = sources_.entry(block_of(word), bits, cluster, map_.cluster_shift_);
    if (!entry) return false;
    std::atomic_ref(entry_at(word, cluster.guest_offset >> map_.cluster_shift_))
        .store(*entry, std::memory_order_release);
    cluster.guest_offset += map_.cluster_bytes();
    cluster.file_offset += map_.cluster_bytes();
  }
  return true;
}

ExtentList ClusterMap::Impl::unpack(std::uint64_t page, std::uint64_t word) const {
  if (tag_of(word) == PageTag::list) return *list_of(word);
  ExtentList list;
  Extent piece;
  for (std::uint64_t at = page << page_shift_; at < page_end(page); at = piece.guest_end()) {
    piece_of(word, at, piece);
    append_plain(list, piece);
  }
  return list;
}

// REQUIRES: the page is known, and no list.
void ClusterMap::Impl::piece_of(std::uint64_t word, std::uint64_t guest_offset,
                                Extent& piece) const {
  const bool uniform = tag_of(word) == PageTag::uniform;
  const auto packed_place = [&] {
    std::uint32_t& entry = entry_at(word, guest_offset >> map_.cluster_shift_);
    const ClusterSource* const dictionary = sources_.dictionary(block_of(word));
    return is_packed(word)
               ? map_.packed_place(dictionary, entry, guest_offset)
               : map_.packed_place<SourceTable::kWideBits>(dictionary, entry, guest_offset);
  };
  const Place place = uniform ? map_.uniform_place(word, guest_offset) : packed_place();
  const std::uint64_t mask = uniform ? map_.page_mask_ : map_.cluster_mask_;
  // Field by field: copies of a whole would wait until its parts have been stored.
  piece.guest_offset = guest_offset;
  piece.length = std::min((guest_offset | mask) + 1, map_.size_bytes_) - guest_offset;
  piece.kind = place.kind;
  piece.link = place.link;
  piece.file = place.file;
  piece.file_offset = place.kind == ExtentKind::data ? place.file_offset : 0;
}

Status ClusterMap::Impl::piece_at(std::uint64_t guest_offset, Extent& piece) {
  std::uint64_t word = map_.page_word(guest_offset);
  if (tag_of(word) == PageTag::unknown) {
    GM_CHECK(load_page(page_of(guest_offset)));
    word = map_.page_word(guest_offset);
  }
  if (tag_of(word) != PageTag::list) {
    piece_of(word, guest_offset, piece);
    return {};
  }
  const std::shared_lock lock(page_mutex(page_of(guest_offset)));
  const Extent& extent = find_extent(*list_of(word), guest_offset);
  piece = plain(clip(extent, guest_offset, extent.guest_end()));
  return {};
}

Result<Extent> ClusterMap::Impl::run_at(std::uint64_t guest_offset, std::uint64_t limit) {
  limit = std::min(limit, map_.size_bytes_ - guest_offset);
  Extent run;
  Extent next;
  GM_CHECK(piece_at(guest_offset, run));
  // What cannot be read ends the run; who asks for it is told why.
  while (run.length < limit && piece_at(run.guest_end(), next) && goes_on(run, next))
    run.length += next.length;
  run.length = std::min(run.length, limit);
  return run;
}

std::uint64_t ClusterMap::Impl::memory_bytes() const {
  const std::lock_guard lock(pack_mutex_);
  return sizeof(ClusterMap) + sizeof(Impl) + pages_.bytes() + entries_.memory_bytes() +
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
  Extent piece;
  GM_CHECK(impl_->piece_at(guest_offset, piece));
  return Place{piece.kind, piece.link, piece.file, piece.file_offset};
}

Status ClusterMap::find_many(std::span<const std::uint64_t> guest_offsets,
                             std::span<Place> places) const {
  // Entries are asked for so far ahead that as many are on their way as the processor can wait for.
  constexpr std::size_t kAhead = 32;
  const auto prefetch = [this](std::uint64_t guest_offset) {
    __builtin_prefetch(&entries_[guest_offset >> cluster_shift_]);
  };
  const std::size_t count = guest_offsets.size();
  for (std::size_t i = 0; i < std::min(kAhead, count); ++i) prefetch(guest_offsets[i]);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) prefetch(guest_offsets[i + kAhead]);
    const std::uint64_t cluster = guest_offsets[i] >> cluster_shift_;
    const std::uint64_t word = word_of_page(cluster >> kPageClusterBits);
    if (is_packed(word)) [[likely]] {
      places[i] = packed_place(dictionary_of(word), entries_[cluster], guest_offsets[i]);
    } else {
      GM_TRY(places[i], find(guest_offsets[i]));
    }
  }
  return {};
}

Result<Extent> ClusterMap::find_run(std::uint64_t guest_offset, std::uint64_t limit) const {
  return impl_->run_at(guest_offset, limit);
}

Status ClusterMap::load(std::uint64_t guest_offset, std::uint64_t length) const {
  const std::uint64_t end = ceil_div(guest_offset + length, impl_->page_bytes());
  const std::uint64_t window = impl_->window_pages();
  ExtentList scratch;  // new memory for every window would cost more than to compose it
  for (std::uint64_t page = impl_->page_of(guest_offset); page < end;) {
    const std::uint64_t window_end = std::min(end, (page / window + 1) * window);
    GM_CHECK(impl_->load_window(page, window_end, scratch));
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
