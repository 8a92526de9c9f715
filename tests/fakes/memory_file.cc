// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/memory_file.h"

#include "engine/base/byte_order.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace grainmill::testing {
namespace {

std::uint64_t next_inode() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

// Calls `body(page number, place in the page, place in the range, bytes)` for each page of a range.
template <typename Body>
void for_each_page(std::uint64_t offset, std::size_t size, const Body& body) {
  for (std::size_t done = 0; done < size;) {
    const std::uint64_t at = offset + done;
    const std::size_t within = at % MemoryContent::kPageBytes;
    const std::size_t count =
        std::min<std::size_t>(size - done, MemoryContent::kPageBytes - within);
    body(at / MemoryContent::kPageBytes, within, done, count);
    done += count;
  }
}

}  // namespace

MemoryContent::MemoryContent() : inode_(next_inode()) {}

MemoryContent::MemoryContent(std::span<const std::byte> bytes) : MemoryContent() { put(0, bytes); }

MemoryContent::MemoryContent(std::string_view text)
    : MemoryContent(std::as_bytes(std::span(text))) {}

void MemoryContent::put(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  copy_in(offset, bytes);
}

void MemoryContent::put_words(std::uint64_t offset, std::span<const std::uint32_t> words) {
  std::vector<std::byte> bytes(words.size_bytes());
  for (std::size_t i = 0; i < words.size(); ++i) store_le(bytes.data() + i * 4, words[i]);
  put(offset, bytes);
}

void MemoryContent::set_size(std::uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  if (size_bytes < size_bytes_) {
    pages_.erase(pages_.lower_bound((size_bytes + kPageBytes - 1) / kPageBytes), pages_.end());
    const auto last = pages_.find(size_bytes / kPageBytes);
    if (last != pages_.end())
      std::ranges::fill(std::span(*last->second).subspan(size_bytes % kPageBytes), std::byte{0});
  }
  size_bytes_ = size_bytes;
}

void MemoryContent::zero(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  for (auto page = pages_.lower_bound(offset / kPageBytes);
       page != pages_.end() && page->first * kPageBytes < offset + length;) {
    const std::uint64_t begin = page->first * kPageBytes;
    const std::uint64_t from = std::max(offset, begin) - begin;
    const std::uint64_t to = std::min(offset + length, begin + kPageBytes) - begin;
    if (from == 0 && to == kPageBytes) {
      page = pages_.erase(page);
      continue;
    }
    std::ranges::fill(std::span(*page->second).subspan(from, to - from), std::byte{0});
    ++page;
  }
}

std::uint64_t MemoryContent::size_bytes() const {
  const std::lock_guard lock(mutex_);
  return size_bytes_;
}

std::vector<std::byte> MemoryContent::bytes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::byte> all(size_bytes_);
  (void)copy_out(0, all);
  return all;
}

std::vector<Call> MemoryContent::reads() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}

std::vector<Call> MemoryContent::writes() const {
  const std::lock_guard lock(mutex_);
  return writes_;
}

void MemoryContent::forget_calls() {
  const std::lock_guard lock(mutex_);
  reads_.clear();
  writes_.clear();
}

void MemoryContent::fail_reads(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  read_fault_ = {offset, offset + length};
}

void MemoryContent::fail_writes(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  write_fault_ = {offset, offset + length};
}

void MemoryContent::fail_info() {
  const std::lock_guard lock(mutex_);
  info_fails_ = true;
}

std::size_t MemoryContent::copy_out(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_bytes_) return 0;
  const std::size_t size = std::min<std::uint64_t>(out.size(), size_bytes_ - offset);
  for_each_page(offset, size,
                [&](std::uint64_t number, std::size_t within, std::size_t at, std::size_t count) {
                  const auto page = pages_.find(number);
                  if (page == pages_.end())
                    std::ranges::fill(out.subspan(at, count), std::byte{0});
                  else
                    std::memcpy(out.data() + at, page->second->data() + within, count);
                });
  return size;
}

void MemoryContent::copy_in(std::uint64_t offset, std::span<const std::byte> bytes) {
  for_each_page(offset, bytes.size(),
                [&](std::uint64_t number, std::size_t within, std::size_t at, std::size_t count) {
                  std::unique_ptr<Page>& page = pages_[number];
                  if (!page) page = std::make_unique<Page>();
                  std::memcpy(page->data() + within, bytes.data() + at, count);
                });
  size_bytes_ = std::max(size_bytes_, offset + bytes.size());
}

DataRange MemoryContent::next_data(std::uint64_t offset) const {
  auto page = pages_.lower_bound(offset / kPageBytes);
  if (offset >= size_bytes_ || page == pages_.end()) return {offset, offset};
  const std::uint64_t first = page->first;
  std::uint64_t next = first;
  for (; page != pages_.end() && page->first == next; ++page) ++next;
  return {std::max(offset, first * kPageBytes), std::min(next * kPageBytes, size_bytes_)};
}

Result<std::size_t> MemoryFile::read_at(std::uint64_t offset, std::span<std::byte> buffer) const {
  const std::lock_guard lock(content_->mutex_);
  content_->reads_.push_back({offset, buffer.size()});
  if (content_->read_fault_.hits(offset, buffer.size()))
    return fail(ErrorKind::io, path(), offset, "cannot read: made to fail");
  return content_->copy_out(offset, buffer);
}

Status MemoryFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::lock_guard lock(content_->mutex_);
  content_->writes_.push_back({offset, bytes.size()});
  if (content_->write_fault_.hits(offset, bytes.size()))
    return fail(ErrorKind::io, path(), offset, "cannot write: made to fail");
  content_->copy_in(offset, bytes);
  return {};
}

Status MemoryFile::zero_range(std::uint64_t offset, std::uint64_t length) {
  content_->zero(offset, length);
  return {};
}

Status MemoryFile::resize(std::uint64_t size_bytes) {
  content_->set_size(size_bytes);
  return {};
}

Result<FileInfo> MemoryFile::info() const {
  const std::lock_guard lock(content_->mutex_);
  if (content_->info_fails_) return fail(ErrorKind::io, path(), "cannot stat: made to fail");
  return FileInfo{.size_bytes = content_->size_bytes_,
                  .allocated_bytes = content_->pages_.size() * MemoryContent::kPageBytes,
                  .inode = content_->inode_};
}

Result<DataRange> MemoryFile::next_data(std::uint64_t offset) const {
  const std::lock_guard lock(content_->mutex_);
  return content_->next_data(offset);
}

}  // namespace grainmill::testing
