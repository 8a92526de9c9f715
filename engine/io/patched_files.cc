// SPDX-License-Identifier: Apache-2.0
#include "engine/io/patched_files.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace grainmill {
namespace {

std::unexpected<Error> refuse(const std::string& path) {
  return fail(ErrorKind::unsupported, path, "is looked at as it would be: it cannot be written");
}

// By offset, none over another: there may be one for each entry of a table.
using Pieces = std::map<std::uint64_t, std::vector<std::byte>>;

void put(Pieces& pieces, const FilePatch& patch) {
  const std::uint64_t end = patch.offset + patch.bytes.size();
  auto next = pieces.lower_bound(patch.offset);
  if (next != pieces.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second.size() > patch.offset) next = before;
  }
  while (next != pieces.end() && next->first < end) {
    const std::uint64_t begin = next->first;
    std::vector<std::byte> old = std::move(next->second);
    next = pieces.erase(next);
    const std::uint64_t old_end = begin + old.size();
    if (old_end > end)
      pieces[end].assign(old.begin() + static_cast<std::ptrdiff_t>(end - begin), old.end());
    if (begin < patch.offset) {
      old.resize(patch.offset - begin);
      pieces[begin] = std::move(old);
    }
  }
  if (!patch.bytes.empty()) pieces[patch.offset] = patch.bytes;
}

class PatchedFile final : public File {
 public:
  PatchedFile(std::unique_ptr<File> file, const std::vector<FilePatch>& patches)
      : File(file->path()), file_(std::move(file)) {
    for (const FilePatch& patch : patches) put(pieces_, patch);
  }

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override {
    GM_TRY(std::size_t got, read_under(offset, buffer));
    const std::uint64_t end = offset + buffer.size();
    // Between the file's end and the last piece lie zeros.
    if (const std::uint64_t stop = std::min(end, pieces_end()); stop > offset + got) {
      std::ranges::fill(buffer.subspan(got, stop - offset - got), std::byte{0});
      got = stop - offset;
    }
    for (auto piece = first_behind(offset); piece != pieces_.end() && piece->first < end; ++piece) {
      const auto& [place, bytes] = *piece;
      const std::uint64_t begin = std::max(offset, place);
      const std::uint64_t stop = std::min(end, place + bytes.size());
      const std::size_t at = begin - offset;
      std::ranges::copy(std::span(bytes).subspan(begin - place, stop - begin),
                        buffer.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return got;
  }

  [[nodiscard]] Status write_at(std::uint64_t /*offset*/,
                                std::span<const std::byte> /*bytes*/) override {
    return refuse(path());
  }
  [[nodiscard]] Status zero_range(std::uint64_t /*offset*/, std::uint64_t /*length*/) override {
    return refuse(path());
  }
  [[nodiscard]] Status resize(std::uint64_t /*size_bytes*/) override { return refuse(path()); }
  [[nodiscard]] Status sync() override { return refuse(path()); }

  [[nodiscard]] Result<FileInfo> info() const override {
    GM_TRY(FileInfo info, file_->info());
    info.size_bytes = std::max(info.size_bytes, pieces_end());
    return info;
  }

  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override {
    GM_TRY(DataRange data, file_->next_data(offset));
    const auto piece = first_behind(offset);
    if (piece == pieces_.end()) return data;
    const DataRange more{std::max(offset, piece->first), piece->first + piece->second.size()};
    return data.begin == data.end || more.begin < data.begin ? more : data;
  }

 private:
  // What the file has; where that cannot be read, all of it that no piece replaces.
  [[nodiscard]] Result<std::size_t> read_under(std::uint64_t offset,
                                               std::span<std::byte> buffer) const {
    Result<std::size_t> whole = file_->read_at(offset, buffer);
    const std::uint64_t end = offset + buffer.size();
    auto piece = first_behind(offset);
    if (whole || piece == pieces_.end() || piece->first >= end) return whole;
    for (std::uint64_t at = offset; at < end;) {
      const bool last = piece == pieces_.end() || piece->first >= end;
      const std::uint64_t stop = last ? end : std::max(at, piece->first);
      if (stop != at) {
        GM_TRY(const std::size_t got, file_->read_at(at, buffer.subspan(at - offset, stop - at)));
        if (got < stop - at) return at - offset + got;
      }
      at = last ? end : std::min(end, piece->first + piece->second.size());
      if (!last) ++piece;
    }
    return buffer.size();
  }

  [[nodiscard]] std::uint64_t pieces_end() const {
    return pieces_.empty() ? 0 : pieces_.rbegin()->first + pieces_.rbegin()->second.size();
  }

  // The first piece that ends behind `offset`.
  [[nodiscard]] Pieces::const_iterator first_behind(std::uint64_t offset) const {
    auto piece = pieces_.upper_bound(offset);
    if (piece == pieces_.begin()) return piece;
    const auto before = std::prev(piece);
    return before->first + before->second.size() > offset ? before : piece;
  }

  std::unique_ptr<File> file_;
  Pieces pieces_;
};

}  // namespace

std::unique_ptr<File> patched_file(std::unique_ptr<File> file,
                                   const std::vector<FilePatch>& patches) {
  return std::make_unique<PatchedFile>(std::move(file), patches);
}

Status PatchedFiles::add(const std::string& path, FilePatch patch) {
  GM_TRY(const std::unique_ptr<File> file, below().open_read(path));
  GM_TRY(const FileInfo info, file->info());
  patches_[{info.device, info.inode}].push_back(std::move(patch));
  return {};
}

Result<std::unique_ptr<File>> PatchedFiles::patched(Result<std::unique_ptr<File>> file) const {
  if (!file || patches_.empty()) return file;
  GM_TRY(const FileInfo info, (*file)->info());
  const auto found = patches_.find({info.device, info.inode});
  if (found == patches_.end()) return file;
  return patched_file(std::move(*file), found->second);
}

Result<std::unique_ptr<File>> PatchedFiles::open_read(const std::string& path) {
  return patched(below().open_read(path));
}

Result<std::unique_ptr<File>> PatchedFiles::open_write(const std::string& path) {
  return refuse(path);
}

Result<std::unique_ptr<File>> PatchedFiles::open_beneath(const std::string& folder,
                                                         const std::string& relative,
                                                         OpenMode mode) {
  if (mode == OpenMode::read_write) return refuse(folder + '/' + relative);
  return patched(below().open_beneath(folder, relative, mode));
}

Result<std::unique_ptr<File>> PatchedFiles::open(const std::string& path, OpenMode mode) {
  if (mode == OpenMode::read_write) return refuse(path);
  return patched(below().open(path, mode));
}

Result<std::unique_ptr<PendingFile>> PatchedFiles::create_pending(const std::string& path) {
  return refuse(path);
}

Status PatchedFiles::remove(const std::string& path) { return refuse(path); }

}  // namespace grainmill
