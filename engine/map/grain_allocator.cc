// SPDX-License-Identifier: Apache-2.0
#include "engine/map/grain_allocator.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace grainmill {
namespace {

constexpr std::uint32_t kZeroed = 1;
// Entries hold 32-bit sector numbers.
constexpr std::uint64_t kMaxFileBytes = (std::uint64_t{1} << 32) * kSectorBytes;
// The file grows by this much at a time: a resize for every grain would cost more than the grain.
constexpr std::uint64_t kGrowBytes = 16 * kMiB;
// Entries in memory at most, 16 bytes each; then the tables are written whether asked or not.
constexpr std::size_t kMaxChanges = 262144;
// A table that changes in more pieces than this is read, changed and written as a whole.
constexpr std::size_t kMaxPieces = 4;
// Tables that are made together.
constexpr std::uint64_t kTableGroup = 16;

// A stable sort by a number, digit by digit from the lowest: for the 262,144 changes of a full list
// in random order it takes a tenth of the time of std::sort.
template <typename T, typename Key>
void sort_by_grain(std::vector<T>& items, const Key& key) {
  constexpr unsigned kDigitBits = 11;
  constexpr std::uint64_t kDigits = std::uint64_t{1} << kDigitBits;
  if (std::ranges::is_sorted(items, {}, key)) return;
  if (items.size() < kDigits) {
    std::ranges::stable_sort(items, {}, key);
    return;
  }
  const std::uint64_t largest = key(*std::ranges::max_element(items, {}, key));
  std::vector<T> sorted(items.size());
  for (unsigned shift = 0; shift < 64 && (largest >> shift) != 0; shift += kDigitBits) {
    std::array<std::size_t, kDigits + 1> begins{};
    for (const T& item : items) ++begins[(key(item) >> shift) % kDigits + 1];
    std::partial_sum(begins.begin(), begins.end(), begins.begin());
    for (const T& item : items) sorted[begins[(key(item) >> shift) % kDigits]++] = item;
    items.swap(sorted);
  }
}

}  // namespace

Result<std::unique_ptr<GrainAllocator>> GrainAllocator::open(File& file,
                                                             const AllocatorLayout& layout) {
  std::unique_ptr<GrainAllocator> allocator(new GrainAllocator(file, layout));
  GM_TRY(const FileInfo info, file.info());
  std::vector<std::uint64_t> directories = {layout.directory_offset};
  if (layout.redundant_directory_offset) directories.push_back(*layout.redundant_directory_offset);
  for (const std::uint64_t offset : directories) {
    Copy copy{offset, std::vector<std::uint32_t>(layout.shape.tables()), {}};
    GM_CHECK(file.read_exact_at(offset, std::as_writable_bytes(std::span(copy.directory))));
    for (std::uint32_t& word : copy.directory) word = swap_if(word, std::endian::little);
    allocator->copies_.push_back(std::move(copy));
  }
  const std::uint64_t used = std::max(info.size_bytes, layout.data_begin) - layout.data_begin;
  allocator->next_ = layout.data_begin + align_up(used, layout.shape.grain_bytes);
  allocator->length_ = info.size_bytes;
  return allocator;
}

Result<std::uint64_t> GrainAllocator::take(std::uint64_t count) {
  if (count == 1 && any_returned_.load(std::memory_order_relaxed)) {
    const std::lock_guard lock(space_mutex_);
    if (!returned_.empty()) {
      const std::uint64_t offset = returned_.back();
      returned_.pop_back();
      return offset;
    }
    any_returned_ = false;
  }
  const std::uint64_t bytes = count * grain_bytes();
  // Not added and taken back: between the two, others would take what lies behind.
  std::uint64_t offset = next_.load(std::memory_order_relaxed);
  do {
    if (offset + bytes > kMaxFileBytes)
      return fail(ErrorKind::unsupported, file_.path(), offset,
                  fmt::format("is full: its tables cannot point beyond {}; convert the disk to a "
                              "split one (twoGbMaxExtentSparse)",
                              format_size(kMaxFileBytes)));
  } while (!next_.compare_exchange_weak(offset, offset + bytes, std::memory_order_relaxed));
  const std::uint64_t end = offset + bytes;
  if (end > length_.load(std::memory_order_acquire)) GM_CHECK(ensure_length(end));
  return offset;
}

Status GrainAllocator::ensure_length(std::uint64_t end) {
  const std::lock_guard lock(space_mutex_);
  if (end <= length_.load(std::memory_order_relaxed)) return {};
  const std::uint64_t length = std::min(kMaxFileBytes, end + kGrowBytes);
  GM_CHECK(file_.resize(length));
  length_.store(length, std::memory_order_release);
  return {};
}

void GrainAllocator::give_back(std::uint64_t file_offset, std::uint64_t count) {
  // What cannot be zeroed is not used again: it would show through a grain written in part.
  if (!file_.zero_range(file_offset, count * grain_bytes())) return;
  const std::lock_guard lock(space_mutex_);
  for (std::uint64_t i = 0; i < count; ++i) returned_.push_back(file_offset + i * grain_bytes());
  any_returned_ = true;
}

Status GrainAllocator::put(std::uint64_t grain, std::uint64_t file_offset) {
  return put_entry({grain, static_cast<std::uint32_t>(file_offset / kSectorBytes)});
}

Status GrainAllocator::put_zeros(std::uint64_t grain) { return put_entry({grain, kZeroed}); }

Status GrainAllocator::put_entry(const Change& change) {
  {
    const std::lock_guard lock(changes_mutex_);
    changes_.push_back(change);
    if (changes_.size() < kMaxChanges) return {};
  }
  return flush();
}

Status GrainAllocator::flush() {
  const std::uint64_t begun = flushes_begun_.load();
  const std::lock_guard lock(flush_mutex_);
  if (!failure_) return failure_;
  // One that began while this one waited has done all that this one was called for.
  if (flushes_begun_.load() > begun) return {};
  ++flushes_begun_;
  failure_ = flush_now();
  return failure_;
}

Status GrainAllocator::flush_now() {
  const bool unsynced = unsynced_.exchange(false, std::memory_order_acq_rel);
  std::vector<Change> changes;
  {
    const std::lock_guard lock(changes_mutex_);
    changes.swap(changes_);
  }
  if (changes.empty()) return unsynced ? file_.sync() : Status{};

  // Zeroed first, then stored: of two changes of one grain the further one counts, which is last.
  sort_by_grain(changes, [](const Change& change) { return change.grain; });
  const auto kept =
      std::unique(changes.rbegin(), changes.rend(),
                  [](const Change& a, const Change& b) { return a.grain == b.grain; });
  changes.erase(changes.begin(), kept.base());

  GM_CHECK(make_tables(changes));
  GM_CHECK(file_.sync());
  GM_CHECK(write_changes(changes));
  for (Copy& copy : copies_) GM_CHECK(name_tables(copy));
  return file_.sync();
}

// New tables are written before the first sync, when nothing points to them yet.
Status GrainAllocator::make_tables(std::span<const Change> changes) {
  for (const Change& change : changes) {
    const std::uint64_t table = change.grain / layout_.shape.entries_per_table;
    for (Copy& copy : copies_)
      if (copy.directory[table] == 0) GM_CHECK(make_table_group(copy, table));
  }
  return {};
}

// Makes `table`, and its neighbours that are missing too, side by side: tables that stood a whole
// grain apart each would look like tables with more entries than the header says.
Status GrainAllocator::make_table_group(Copy& copy, std::uint64_t table) {
  const std::uint64_t begin = align_down(table, kTableGroup);
  const std::uint64_t end = std::min(begin + kTableGroup, layout_.shape.tables());
  const std::uint64_t table_bytes = layout_.shape.table_bytes();
  const std::uint64_t room = align_up(table_bytes, kSectorBytes);
  const auto missing = std::count(copy.directory.begin() + static_cast<std::ptrdiff_t>(begin),
                                  copy.directory.begin() + static_cast<std::ptrdiff_t>(end), 0U);
  std::vector<std::byte> bytes(static_cast<std::uint64_t>(missing) * room);
  GM_TRY(const std::uint64_t offset, take(ceil_div(bytes.size(), grain_bytes())));
  std::uint64_t at = 0;
  for (std::uint64_t i = begin; i < end; ++i) {
    if (copy.directory[i] != 0) continue;
    // Where only one copy lacks the table, the other one has its entries.
    for (const Copy& other : copies_)
      if (other.directory[i] != 0)
        GM_CHECK(file_.read_exact_at(other.directory[i] * kSectorBytes,
                                     std::span(bytes).subspan(at, table_bytes)));
    copy.directory[i] = static_cast<std::uint32_t>((offset + at) / kSectorBytes);
    copy.new_tables.push_back(i);
    at += room;
  }
  return file_.write_at(offset, bytes);
}

Status GrainAllocator::write_changes(std::span<const Change> changes) {
  const std::uint64_t entries = layout_.shape.entries_per_table;
  for (std::size_t begin = 0; begin < changes.size();) {
    const std::uint64_t table = changes[begin].grain / entries;
    std::size_t end = begin;
    while (end < changes.size() && changes[end].grain / entries == table) ++end;
    GM_CHECK(write_to_tables(table, changes.subspan(begin, end - begin)));
    begin = end;
  }
  return {};
}

// All changes are of one table. Many pieces of it are written as one, with what lies between them:
// both copies say the same.
Status GrainAllocator::write_to_tables(std::uint64_t table, std::span<const Change> changes) {
  std::size_t pieces = 1;
  for (std::size_t i = 1; i < changes.size(); ++i)
    pieces += changes[i].grain == changes[i - 1].grain + 1 ? 0 : 1;
  const std::uint64_t first = changes.front().grain;
  std::vector<std::byte> bytes((changes.back().grain - first + 1) * 4);
  const std::uint64_t place = first % layout_.shape.entries_per_table * 4;
  if (pieces > kMaxPieces)
    GM_CHECK(file_.read_exact_at(copies_.front().directory[table] * kSectorBytes + place, bytes));
  for (const Change& change : changes)
    store_le(bytes.data() + (change.grain - first) * 4, change.entry);

  for (std::size_t begin = 0; begin < changes.size();) {
    std::size_t end = begin + 1;
    while (end < changes.size() &&
           (pieces > kMaxPieces || changes[end].grain == changes[end - 1].grain + 1))
      ++end;
    const std::uint64_t skip = (changes[begin].grain - first) * 4;
    const std::uint64_t size = (changes[end - 1].grain - changes[begin].grain + 1) * 4;
    for (const Copy& copy : copies_)
      GM_CHECK(file_.write_at(copy.directory[table] * kSectorBytes + place + skip,
                              std::span(bytes).subspan(skip, size)));
    begin = end;
  }
  return {};
}

Status GrainAllocator::name_tables(Copy& copy) {
  std::array<std::byte, 4> word{};
  for (const std::uint64_t table : copy.new_tables) {
    store_le(word.data(), copy.directory[table]);
    GM_CHECK(file_.write_at(copy.directory_offset + table * 4, word));
  }
  copy.new_tables.clear();
  return {};
}

Status GrainAllocator::close() {
  GM_CHECK(flush());
  if (length_ <= next_) return {};
  GM_CHECK(file_.resize(next_));
  length_ = next_.load();
  return {};
}

}  // namespace grainmill
