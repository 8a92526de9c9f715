// SPDX-License-Identifier: Apache-2.0
#include "engine/io/scratch_files.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace grainmill {
namespace {

std::unexpected<Error> refuse(const std::string& path) {
  return fail(ErrorKind::unsupported, path, "is only tried out: it cannot be kept");
}

}  // namespace

// What a file holds, and pieces of memory over it.
class ScratchFiles::Content {
 public:
  explicit Content(std::unique_ptr<PendingFile> under) : under_(std::move(under)) {}

  // REQUIRES: before all else.
  [[nodiscard]] Status begin() {
    GM_TRY(const FileInfo info, under_->file().info());
    size_ = visible_ = info.size_bytes;
    return {};
  }

  [[nodiscard]] const std::string& path() { return under_->file().path(); }

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> buffer) {
    const std::shared_lock lock(mutex_);
    if (offset >= size_) return 0;
    buffer = buffer.first(std::min<std::uint64_t>(buffer.size(), size_ - offset));
    std::size_t got = 0;
    if (offset < visible_) {
      const auto below = buffer.first(std::min<std::uint64_t>(buffer.size(), visible_ - offset));
      GM_TRY(got, under_->file().read_at(offset, below));
    }
    std::ranges::fill(buffer.subspan(got), std::byte{0});
    const std::uint64_t end = offset + buffer.size();
    for (auto piece = first_behind(offset); piece != pieces_.end() && piece->first < end; ++piece)
      copy_piece(*piece, offset, buffer);
    return buffer.size();
  }

  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::unique_lock lock(mutex_);
    if (bytes.empty()) return;
    put(offset, {offset + bytes.size(), {bytes.begin(), bytes.end()}});
    size_ = std::max(size_, offset + bytes.size());
  }
  void zero_range(std::uint64_t offset, std::uint64_t length) {
    const std::unique_lock lock(mutex_);
    if (length != 0) put(offset, {offset + length, {}});
  }
  void resize(std::uint64_t size_bytes) {
    const std::unique_lock lock(mutex_);
    if (size_bytes < size_) cut(size_bytes, size_);
    visible_ = std::min(visible_, size_bytes);
    size_ = size_bytes;
  }

  [[nodiscard]] Result<FileInfo> info() {
    GM_TRY(FileInfo info, under_->file().info());
    const std::shared_lock lock(mutex_);
    info.size_bytes = size_;
    return info;
  }

  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) {
    const std::shared_lock lock(mutex_);
    DataRange data{offset, offset};
    if (offset < visible_) {
      GM_TRY(data, under_->file().next_data(offset));
      data.end = std::min(data.end, visible_);
      if (data.begin >= data.end) data = {offset, offset};
    }
    auto piece = first_behind(offset);
    while (piece != pieces_.end() && piece->second.bytes.empty()) ++piece;
    if (piece == pieces_.end()) return data;
    const DataRange more{std::max(offset, piece->first), piece->second.end};
    return data.begin == data.end || more.begin < data.begin ? more : data;
  }

 private:
  struct Piece {
    std::uint64_t end = 0;
    std::vector<std::byte> bytes;  // empty: zeros
  };
  using Pieces = std::map<std::uint64_t, Piece>;  // by where they begin; none over another

  static void copy_piece(const Pieces::value_type& piece, std::uint64_t offset,
                         std::span<std::byte> buffer) {
    const auto& [begin, content] = piece;
    const std::uint64_t first = std::max(offset, begin);
    const std::uint64_t end = std::min(offset + buffer.size(), content.end);
    const auto out = buffer.subspan(first - offset, end - first);
    if (content.bytes.empty())
      std::ranges::fill(out, std::byte{0});
    else
      std::ranges::copy(std::span(content.bytes).subspan(first - begin, out.size()), out.begin());
  }

  // The first piece that ends behind `offset`.
  [[nodiscard]] Pieces::iterator first_behind(std::uint64_t offset) {
    const auto piece = pieces_.upper_bound(offset);
    if (piece == pieces_.begin()) return piece;
    const auto before = std::prev(piece);
    return before->second.end > offset ? before : piece;
  }

  void split(std::uint64_t offset) {
    const auto piece = first_behind(offset);
    if (piece == pieces_.end() || piece->first >= offset) return;
    Piece& left = piece->second;
    Piece right{left.end, {}};
    if (!left.bytes.empty()) {
      const auto middle = left.bytes.begin() + static_cast<std::ptrdiff_t>(offset - piece->first);
      right.bytes.assign(middle, left.bytes.end());
      left.bytes.erase(middle, left.bytes.end());
    }
    left.end = offset;
    pieces_[offset] = std::move(right);
  }

  void cut(std::uint64_t begin, std::uint64_t end) {
    split(begin);
    split(end);
    pieces_.erase(pieces_.lower_bound(begin), pieces_.lower_bound(end));
  }

  void put(std::uint64_t offset, Piece piece) {
    cut(offset, piece.end);
    pieces_[offset] = std::move(piece);
  }

  std::unique_ptr<PendingFile> under_;
  std::shared_mutex mutex_;
  std::uint64_t size_ = 0;
  std::uint64_t visible_ = 0;  // of the file below; behind it, only pieces are
  Pieces pieces_;
};

namespace {

class ScratchFile final : public File {
 public:
  explicit ScratchFile(std::shared_ptr<ScratchFiles::Content> content)
      : File(content->path()), content_(std::move(content)) {}

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override {
    return content_->read_at(offset, buffer);
  }
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    content_->write_at(offset, bytes);
    return {};
  }
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override {
    content_->zero_range(offset, length);
    return {};
  }
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override {
    content_->resize(size_bytes);
    return {};
  }
  [[nodiscard]] Status sync() override { return refuse(path()); }
  [[nodiscard]] Result<FileInfo> info() const override { return content_->info(); }
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override {
    return content_->next_data(offset);
  }

 private:
  std::shared_ptr<ScratchFiles::Content> content_;
};

class ScratchPendingFile final : public PendingFile {
 public:
  explicit ScratchPendingFile(std::shared_ptr<ScratchFiles::Content> content)
      : file_(std::move(content)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability /*durability*/) override { return refuse(file_.path()); }

 private:
  ScratchFile file_;
};

}  // namespace

ScratchFiles::ScratchFiles(FileSystem& files) : FileSystemLayer(files) {}
ScratchFiles::~ScratchFiles() = default;

// One name for a file, however it is written, whether it is there or not.
std::string ScratchFiles::place_of(const std::string& path) {
  const std::string target = link_target(below(), path);
  return below().canonical(folder_of(target)).value_or(folder_of(target)) + '/' + name_of(target);
}

Result<std::unique_ptr<File>> ScratchFiles::open_beneath(const std::string& folder,
                                                         const std::string& relative,
                                                         OpenMode mode) {
  const auto made = made_.find(place_of(folder + '/' + relative));
  if (made == made_.end()) return below().open_beneath(folder, relative, mode);
  return std::make_unique<ScratchFile>(made->second);
}

Result<std::unique_ptr<File>> ScratchFiles::open(const std::string& path, OpenMode mode) {
  const auto made = made_.find(place_of(path));
  if (made == made_.end()) return below().open(path, mode);
  return std::make_unique<ScratchFile>(made->second);
}

Result<std::unique_ptr<PendingFile>> ScratchFiles::create_pending(const std::string& path) {
  GM_TRY(std::unique_ptr<PendingFile> under, below().create_pending(path));
  auto content = std::make_shared<Content>(std::move(under));
  GM_CHECK(content->begin());
  made_[place_of(path)] = content;
  return std::make_unique<ScratchPendingFile>(content);
}

Status ScratchFiles::remove(const std::string& path) { return refuse(path); }

}  // namespace grainmill
