// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/sparse_pages.h"

#include <algorithm>
#include <cstring>

namespace grainmill::testing {
namespace {

// Calls `body(page number, place in the page, place in the range, bytes)` for each page of a range.
template <typename Body>
void for_each_page(std::uint64_t offset, std::uint64_t length, const Body& body) {
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t at = offset + done;
    const std::size_t within = at % SparsePages::kPageBytes;
    const std::size_t count =
        std::min<std::uint64_t>(length - done, SparsePages::kPageBytes - within);
    body(at / SparsePages::kPageBytes, within, done, count);
    done += count;
  }
}

}  // namespace

void SparsePages::read(std::uint64_t offset, std::span<std::byte> out) const {
  for_each_page(offset, out.size(),
                [&](std::uint64_t number, std::size_t within, std::size_t at, std::size_t count) {
                  if (const std::shared_ptr<Page>* page = find(number))
                    std::memcpy(out.data() + at, (*page)->data() + within, count);
                  else
                    std::ranges::fill(out.subspan(at, count), std::byte{0});
                });
}

void SparsePages::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  for_each_page(offset, bytes.size(),
                [&](std::uint64_t number, std::size_t within, std::size_t at, std::size_t count) {
                  std::memcpy(own_page(number).data() + within, bytes.data() + at, count);
                });
}

void SparsePages::zero(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end;) {
    // Holes are skipped, a chunk at a time: a range may be far longer than what is stored.
    const auto chunk = chunks_.lower_bound(at / kPageBytes / kChunkPages);
    if (chunk == chunks_.end()) return;
    const std::uint64_t chunk_begin = chunk->first * kChunkPages * kPageBytes;
    const std::uint64_t begin = std::max(at, chunk_begin);
    const std::uint64_t stop = std::min(end, chunk_begin + kChunkPages * kPageBytes);
    if (begin >= stop) return;
    for_each_page(begin, stop - begin,
                  [&](std::uint64_t number, std::size_t within, std::size_t, std::size_t count) {
                    if (count == kPageBytes)
                      set_page(number, nullptr);
                    else if (find(number) != nullptr)
                      std::memset(own_page(number).data() + within, 0, count);
                  });
    at = stop;
  }
}

void SparsePages::take(std::uint64_t offset, std::uint64_t length, const SparsePages& from) {
  for_each_page(offset, length,
                [&](std::uint64_t number, std::size_t within, std::size_t, std::size_t count) {
                  const std::shared_ptr<Page>* page = from.find(number);
                  if (count == kPageBytes)
                    set_page(number, page == nullptr ? nullptr : *page);
                  else if (page != nullptr)
                    std::memcpy(own_page(number).data() + within, (*page)->data() + within, count);
                  else if (find(number) != nullptr)
                    std::memset(own_page(number).data() + within, 0, count);
                });
}

std::pair<std::uint64_t, std::uint64_t> SparsePages::next_run(std::uint64_t offset) const {
  const std::uint64_t first = offset / kPageBytes;
  for (auto chunk = chunks_.lower_bound(first / kChunkPages); chunk != chunks_.end(); ++chunk) {
    const std::uint64_t base = chunk->first * kChunkPages;
    for (std::uint64_t begin = std::max(first, base); begin < base + kChunkPages; ++begin) {
      if (!chunk->second->pages.at(begin - base)) continue;
      std::uint64_t end = begin;
      while (find(end) != nullptr) ++end;
      return {begin * kPageBytes, end * kPageBytes};
    }
  }
  return {offset, offset};
}

std::uint64_t SparsePages::stored_bytes() const {
  std::uint64_t pages = 0;
  for (const auto& [number, chunk] : chunks_) pages += chunk->stored;
  return pages * kPageBytes;
}

const std::shared_ptr<SparsePages::Page>* SparsePages::find(std::uint64_t page) const {
  const auto chunk = chunks_.find(page / kChunkPages);
  if (chunk == chunks_.end()) return nullptr;
  const std::shared_ptr<Page>& found = chunk->second->pages.at(page % kChunkPages);
  return found ? &found : nullptr;
}

SparsePages::Chunk& SparsePages::own_chunk(std::uint64_t page) {
  std::shared_ptr<Chunk>& chunk = chunks_[page / kChunkPages];
  if (!chunk)
    chunk = std::make_shared<Chunk>();
  else if (chunk.use_count() > 1)
    chunk = std::make_shared<Chunk>(*chunk);
  return *chunk;
}

SparsePages::Page& SparsePages::own_page(std::uint64_t page) {
  Chunk& chunk = own_chunk(page);
  std::shared_ptr<Page>& place = chunk.pages.at(page % kChunkPages);
  if (!place) {
    place = std::make_shared<Page>();
    ++chunk.stored;
  } else if (place.use_count() > 1) {
    place = std::make_shared<Page>(*place);
  }
  return *place;
}

void SparsePages::set_page(std::uint64_t page, std::shared_ptr<Page> content) {
  if (!content && find(page) == nullptr) return;
  Chunk& chunk = own_chunk(page);
  std::shared_ptr<Page>& place = chunk.pages.at(page % kChunkPages);
  if (place) --chunk.stored;
  if (content) ++chunk.stored;
  place = std::move(content);
  if (chunk.stored == 0) chunks_.erase(page / kChunkPages);
}

}  // namespace grainmill::testing
