// SPDX-License-Identifier: Apache-2.0
#include "pipeline/undo_journal.h"

#include "engine/base/byte_order.h"
#include "engine/codec/digest.h"

#include <algorithm>
#include <span>
#include <string_view>

namespace grainmill {
namespace {

constexpr std::string_view kMagic = "GMUNDO 2";

class Writer {
 public:
  template <typename Word>
  void word(Word value) {
    bytes_.resize(bytes_.size() + sizeof value);
    store_le(bytes_.data() + bytes_.size() - sizeof value, value);
  }
  void append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  [[nodiscard]] std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Gives zeros behind the end; ok() tells.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename Word>
  Word word() {
    const std::span<const std::byte> bytes = take(sizeof(Word));
    return bytes.empty() ? Word{} : load_le<Word>(bytes.data());
  }
  std::span<const std::byte> take(std::uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::span<const std::byte> taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace

Status write_undo_journal(FileSystem& files, const std::string& path,
                          const std::vector<UndoEntry>& entries) {
  Writer out;
  out.append(std::as_bytes(std::span(kMagic)));
  out.word<std::uint64_t>(entries.size());
  for (const UndoEntry& entry : entries) {
    out.word(static_cast<std::uint32_t>(entry.path.size()));
    out.append(std::as_bytes(std::span(entry.path)));
    out.word(entry.file_bytes);
    out.word(entry.most_bytes);
    out.word(entry.old.offset);
    out.word<std::uint64_t>(entry.old.bytes.size());
    out.append(entry.old.bytes);
  }
  std::vector<std::byte> digest(kDigest128Bytes);
  store_digest(digest.data(), xxh3_128(out.bytes()));
  out.append(digest);
  GM_TRY(const std::unique_ptr<PendingFile> pending, files.create_pending(path));
  GM_CHECK(pending->file().write_at(0, out.bytes()));
  return pending->publish(Durability::synced);
}

Status retire_undo_journal(FileSystem& files, const std::string& path) {
  GM_CHECK(write_undo_journal(files, path, {}));
  return files.remove(path);
}

Result<std::vector<UndoEntry>> read_undo_journal(FileSystem& files, const std::string& path) {
  GM_TRY(const std::unique_ptr<File> file, files.open_read(path));
  GM_TRY(const FileInfo info, file->info());
  constexpr std::uint64_t kLargest = std::uint64_t{4} << 30;
  std::vector<std::byte> bytes(std::min(info.size_bytes, kLargest));
  GM_CHECK(file->read_exact_at(0, bytes));
  const auto damaged = fail(ErrorKind::corrupt, path,
                            "is no whole undo journal of a repair: nothing was changed by it");
  if (bytes.size() < kMagic.size() + kDigest128Bytes) return damaged;
  const std::span body = std::span(bytes).first(bytes.size() - kDigest128Bytes);
  if (load_digest(bytes.data() + body.size()) != xxh3_128(body)) return damaged;
  Reader in(body);
  if (!std::ranges::equal(in.take(kMagic.size()), std::as_bytes(std::span(kMagic)))) return damaged;
  std::vector<UndoEntry> entries;
  for (auto left = in.word<std::uint64_t>(); left > 0 && in.ok(); --left) {
    UndoEntry entry;
    const auto name = in.take(in.word<std::uint32_t>());
    entry.path.assign(reinterpret_cast<const char*>(name.data()), name.size());
    entry.file_bytes = in.word<std::uint64_t>();
    entry.most_bytes = in.word<std::uint64_t>();
    entry.old.offset = in.word<std::uint64_t>();
    const auto old = in.take(in.word<std::uint64_t>());
    entry.old.bytes.assign(old.begin(), old.end());
    entries.push_back(std::move(entry));
  }
  if (!in.ok()) return damaged;
  return entries;
}

}  // namespace grainmill
