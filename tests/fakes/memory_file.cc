// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/memory_file.h"

#include "engine/base/byte_order.h"

#include <algorithm>
#include <atomic>
#include <limits>

namespace grainmill::testing {
namespace {

std::uint64_t next_inode() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

}  // namespace

MemoryContent::MemoryContent() : inode_(next_inode()) {}

MemoryContent::MemoryContent(std::span<const std::byte> bytes) : MemoryContent() { put(0, bytes); }

MemoryContent::MemoryContent(std::string_view text)
    : MemoryContent(std::as_bytes(std::span(text))) {}

std::shared_ptr<MemoryContent> MemoryContent::copy() const {
  const std::lock_guard lock(mutex_);
  auto copy = std::make_shared<MemoryContent>();
  copy->pages_ = pages_;
  copy->size_bytes_ = size_bytes_;
  return copy;
}

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
  if (size_bytes < size_bytes_)
    pages_.zero(size_bytes, std::numeric_limits<std::uint64_t>::max() - size_bytes);
  size_bytes_ = size_bytes;
}

void MemoryContent::zero(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  pages_.zero(offset, length);
}

void MemoryContent::put_pages(std::uint64_t offset, std::uint64_t length, const SparsePages& from) {
  if (length == 0) return;
  const std::lock_guard lock(mutex_);
  pages_.take(offset, length, from);
  size_bytes_ = std::max(size_bytes_, offset + length);
}

SparsePages MemoryContent::pages(std::uint64_t offset, std::uint64_t length) const {
  const std::lock_guard lock(mutex_);
  SparsePages range;
  range.take(offset, length, pages_);
  return range;
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
  pages_.read(offset, out.first(size));
  return size;
}

void MemoryContent::copy_in(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  pages_.write(offset, bytes);
  size_bytes_ = std::max(size_bytes_, offset + bytes.size());
}

DataRange MemoryContent::next_data(std::uint64_t offset) const {
  const auto [begin, end] = pages_.next_run(offset);
  if (offset >= size_bytes_ || begin == end) return {offset, offset};
  return {std::max(offset, begin), std::min(end, size_bytes_)};
}

Result<std::unique_ptr<MemoryFile>> MemoryFile::open(const std::string& path,
                                                     std::shared_ptr<MemoryContent> content,
                                                     OpenMode mode) {
  auto file = std::make_unique<MemoryFile>(path, std::move(content));
  file->read_only_ = mode == OpenMode::read;
  if (file->read_only_) return file;
  const std::lock_guard lock(file->content_->mutex_);
  if (!file->content_->writer_.expired())
    return fail(ErrorKind::busy, path, "is in use by another program");
  file->writer_ = std::make_shared<const bool>(true);
  file->content_->writer_ = file->writer_;
  return file;
}

Result<std::size_t> MemoryFile::read_at(std::uint64_t offset, std::span<std::byte> buffer) const {
  const std::lock_guard lock(content_->mutex_);
  content_->reads_.push_back({offset, buffer.size()});
  if (content_->read_fault_.hits(offset, buffer.size()))
    return fail(ErrorKind::io, path(), offset, "cannot read: made to fail");
  return content_->copy_out(offset, buffer);
}

Status MemoryFile::check_writable(std::uint64_t offset) const {
  if (read_only_) return fail(ErrorKind::io, path(), offset, "cannot write: open for reading");
  return {};
}

Status MemoryFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  GM_CHECK(check_writable(offset));
  const std::lock_guard lock(content_->mutex_);
  content_->writes_.push_back({offset, bytes.size()});
  if (content_->write_fault_.hits(offset, bytes.size()))
    return fail(ErrorKind::io, path(), offset, "cannot write: made to fail");
  content_->copy_in(offset, bytes);
  return {};
}

bool MemoryFile::write_beside(std::uint64_t offset, std::span<const std::byte> bytes) {
  constexpr std::uint64_t kPage = 4096;
  const bool whole_pages = offset % kPage == 0 && bytes.size() % kPage == 0;
  if (!whole_pages || offset + bytes.size() > content_->size_bytes()) return false;
  return write_at(offset, bytes).has_value();
}

Status MemoryFile::zero_range(std::uint64_t offset, std::uint64_t length) {
  GM_CHECK(check_writable(offset));
  content_->zero(offset, length);
  return {};
}

Status MemoryFile::resize(std::uint64_t size_bytes) {
  GM_CHECK(check_writable(size_bytes));
  content_->set_size(size_bytes);
  return {};
}

Result<FileInfo> MemoryFile::info() const {
  const std::lock_guard lock(content_->mutex_);
  if (content_->info_fails_) return fail(ErrorKind::io, path(), "cannot stat: made to fail");
  return FileInfo{.size_bytes = content_->size_bytes_,
                  .allocated_bytes = content_->pages_.stored_bytes(),
                  .inode = content_->inode_};
}

Result<DataRange> MemoryFile::next_data(std::uint64_t offset) const {
  const std::lock_guard lock(content_->mutex_);
  return content_->next_data(offset);
}

}  // namespace grainmill::testing
