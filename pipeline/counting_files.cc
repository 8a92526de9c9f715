// SPDX-License-Identifier: Apache-2.0
#include "pipeline/counting_files.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"

#include <utility>

namespace grainmill {
namespace {

constexpr std::uint64_t kBlockBytes = 4 * kKiB;

Error nothing_there(const std::string& path) {
  return {ErrorKind::not_found, path, std::nullopt, "there are no files here"};
}

void raise_to(std::atomic<std::uint64_t>& value, std::uint64_t least) {
  std::uint64_t now = value.load(std::memory_order_relaxed);
  while (now < least && !value.compare_exchange_weak(now, least, std::memory_order_relaxed)) {
  }
}

class CountingFile final : public File {
 public:
  CountingFile(std::string path, std::shared_ptr<FileTally> tally)
      : File(std::move(path)), tally_(std::move(tally)) {}

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> /*buffer*/) const override {
    return fail(ErrorKind::unsupported, path(), offset, "is only measured: nothing is stored");
  }
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    tally_->write(offset, bytes.size());
    return {};
  }
  [[nodiscard]] Status zero_range(std::uint64_t /*offset*/, std::uint64_t /*length*/) override {
    return {};
  }
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override {
    tally_->resize(size_bytes);
    return {};
  }
  [[nodiscard]] Status sync() override { return {}; }
  [[nodiscard]] Result<FileInfo> info() const override { return FileInfo{}; }
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override {
    return DataRange{offset, offset};
  }

 private:
  std::shared_ptr<FileTally> tally_;
};

class CountingPendingFile final : public PendingFile {
 public:
  CountingPendingFile(const std::string& path, std::shared_ptr<FileTally> tally)
      : file_(path, std::move(tally)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability /*durability*/) override { return {}; }

 private:
  CountingFile file_;
};

}  // namespace

void FileTally::write(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  written_ += align_up(end, kBlockBytes) - align_down(offset, kBlockBytes);
  raise_to(write_end_, end);
}

void FileTally::resize(std::uint64_t size_bytes) { raise_to(made_long_, size_bytes); }

std::uint64_t FileTally::space_bytes() const {
  return write_end_ > made_long_ ? write_end_.load() : written_.load();
}

std::uint64_t CountingFiles::space_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& tally : tallies_) bytes += tally->space_bytes();
  return bytes;
}

Result<std::unique_ptr<PendingFile>> CountingFiles::create_pending(const std::string& path) {
  tallies_.push_back(std::make_shared<FileTally>());
  return std::make_unique<CountingPendingFile>(path, tallies_.back());
}

Result<std::unique_ptr<File>> CountingFiles::open_read(const std::string& path) {
  return std::unexpected(nothing_there(path));
}

Result<std::unique_ptr<File>> CountingFiles::open_write(const std::string& path) {
  return std::unexpected(nothing_there(path));
}

Result<std::unique_ptr<File>> CountingFiles::open_beneath(const std::string& folder,
                                                          const std::string& relative,
                                                          OpenMode /*mode*/) {
  return std::unexpected(nothing_there(folder + "/" + relative));
}

Status CountingFiles::remove(const std::string& /*path*/) { return {}; }

Result<std::string> CountingFiles::canonical(const std::string& path) {
  return std::unexpected(nothing_there(path));
}

Result<std::vector<std::string>> CountingFiles::list(const std::string& /*folder*/) {
  return std::vector<std::string>{};
}

}  // namespace grainmill
