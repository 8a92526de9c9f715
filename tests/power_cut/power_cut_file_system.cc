// SPDX-License-Identifier: Apache-2.0
#include "tests/power_cut/power_cut_file_system.h"

#include "tests/power_cut/replay.h"
#include "tests/power_cut/state_walk.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace grainmill::testing {

// What was done. Who changes a file holds the mutex, so that the order here is the order there.
class PowerCutFileSystem::Log {
 public:
  std::mutex mutex;
  Device start;
  std::vector<Change> changes;
  std::vector<Note> notes;
};

namespace {

using Kind = Change::Kind;
using SharedLog = std::shared_ptr<PowerCutFileSystem::Log>;

class RecordedFile final : public File {
 public:
  RecordedFile(std::unique_ptr<MemoryFile> file, SharedLog log)
      : File(file->path()), owned_(std::move(file)), file_(*owned_), log_(std::move(log)) {}
  RecordedFile(MemoryFile& file, SharedLog log)
      : File(file.path()), file_(file), log_(std::move(log)) {}

  [[nodiscard]] std::uint64_t inode() const { return file_.content().inode(); }

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override {
    return file_.read_at(offset, buffer);
  }
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(file_.write_at(offset, bytes));
    if (bytes.empty()) return {};
    // The pages are shared with the file, not copied.
    log_->changes.push_back({Kind::write, path(), inode(), offset, bytes.size(),
                             file_.content().pages(offset, bytes.size())});
    return {};
  }
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override {
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(file_.zero_range(offset, length));
    if (length != 0) log_->changes.push_back({Kind::zero_range, path(), inode(), offset, length});
    return {};
  }
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override {
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(file_.resize(size_bytes));
    log_->changes.push_back({Kind::resize, path(), inode(), size_bytes});
    return {};
  }
  [[nodiscard]] Status sync() override {
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(file_.sync());
    log_->changes.push_back({Kind::sync, path(), inode()});
    return {};
  }
  [[nodiscard]] Result<FileInfo> info() const override { return file_.info(); }
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override {
    return file_.next_data(offset);
  }

 private:
  std::unique_ptr<MemoryFile> owned_;
  MemoryFile& file_;
  SharedLog log_;
};

// What MemoryFileSystem opens are MemoryFiles.
std::unique_ptr<MemoryFile> as_memory_file(std::unique_ptr<File> file) {
  return std::unique_ptr<MemoryFile>(static_cast<MemoryFile*>(file.release()));
}

class RecordedPendingFile final : public PendingFile {
 public:
  RecordedPendingFile(std::unique_ptr<PendingFile> pending, SharedLog log)
      : pending_(std::move(pending)),
        file_(static_cast<MemoryFile&>(pending_->file()), log),
        log_(std::move(log)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability durability) override {
    const std::string& path = file_.path();
    if (durability == Durability::synced) GM_CHECK(file_.sync());
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(pending_->publish(durability));
    log_->changes.push_back({Kind::publish, path, file_.inode()});
    if (durability == Durability::synced)
      log_->changes.push_back({Kind::sync_folder, folder_of(path)});
    return {};
  }

 private:
  std::unique_ptr<PendingFile> pending_;
  RecordedFile file_;
  SharedLog log_;
};

class RecordedPartialFile final : public PendingFile {
 public:
  RecordedPartialFile(std::unique_ptr<PendingFile> partial, std::string until_then, SharedLog log)
      : partial_(std::move(partial)),
        file_(static_cast<MemoryFile&>(partial_->file()), log),
        until_then_(std::move(until_then)),
        log_(std::move(log)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability durability) override {
    const std::string& path = file_.path();
    if (durability == Durability::synced) GM_CHECK(file_.sync());
    const std::lock_guard lock(log_->mutex);
    GM_CHECK(partial_->publish(durability));
    Change change{Kind::publish, path, file_.inode()};
    change.until_then = until_then_;
    log_->changes.push_back(std::move(change));
    if (durability == Durability::synced)
      log_->changes.push_back({Kind::sync_folder, folder_of(path)});
    return {};
  }

 private:
  std::unique_ptr<PendingFile> partial_;
  RecordedFile file_;
  std::string until_then_;
  SharedLog log_;
};

Result<std::unique_ptr<File>> wrap(Result<std::unique_ptr<File>> file, const SharedLog& log) {
  if (!file) return file;
  return std::make_unique<RecordedFile>(as_memory_file(*std::move(file)), log);
}

}  // namespace

bool PowerCut::has_note(int id) const { return std::ranges::find(notes_, id) != notes_.end(); }

PowerCutFileSystem::PowerCutFileSystem() : log_(std::make_shared<Log>()) {}
PowerCutFileSystem::~PowerCutFileSystem() = default;

void PowerCutFileSystem::add(const std::string& path, std::span<const std::byte> bytes) {
  const MemoryContent& content = live_.add(path, bytes);
  log_->start.names[path] = content.inode();
  log_->start.files[content.inode()] = content.copy();
}

void PowerCutFileSystem::add(const std::string& path, std::string_view text) {
  add(path, std::as_bytes(std::span(text)));
}

void PowerCutFileSystem::record() {
  log_->start = {};
  log_->changes.clear();
  log_->notes.clear();
  for (const std::string& path : live_.paths()) {
    const MemoryContent& content = live_.content(path);
    log_->start.names[path] = content.inode();
    log_->start.files[content.inode()] = content.copy();
  }
}

void PowerCutFileSystem::note(int id) {
  const std::lock_guard lock(log_->mutex);
  log_->notes.push_back({log_->changes.size(), id});
}

std::size_t PowerCutFileSystem::steps() const { return log_->changes.size(); }

std::size_t PowerCutFileSystem::undecided_after(std::size_t steps) const {
  Replay replay(log_->start, log_->changes);
  while (replay.steps() < steps) replay.step();
  return replay.undecided().size();
}

std::unique_ptr<MemoryFileSystem> PowerCutFileSystem::state_after(std::size_t steps,
                                                                  const Arrived& arrived) const {
  Replay replay(log_->start, log_->changes);
  while (replay.steps() < steps) replay.step();
  std::vector<Arrival> arrivals;
  for (const std::size_t step : replay.undecided())
    arrivals.push_back(Arrival::of(log_->changes[step],
                                   [&](std::size_t sector) { return arrived(step, sector); }));
  return replay.state(arrivals);
}

std::size_t PowerCutFileSystem::for_each_state(const Visit& visit,
                                               const StateOptions& options) const {
  return StateWalk(log_->start, log_->changes, log_->notes, options, visit).run();
}

Result<std::unique_ptr<File>> PowerCutFileSystem::open_read(const std::string& path) {
  const std::lock_guard lock(log_->mutex);
  return wrap(live_.open_read(path), log_);
}

Result<std::unique_ptr<File>> PowerCutFileSystem::open_write(const std::string& path) {
  const std::lock_guard lock(log_->mutex);
  return wrap(live_.open_write(path), log_);
}

Result<std::unique_ptr<File>> PowerCutFileSystem::open_beneath(const std::string& folder,
                                                               const std::string& relative,
                                                               OpenMode mode) {
  const std::lock_guard lock(log_->mutex);
  return wrap(live_.open_beneath(folder, relative, mode), log_);
}

Result<std::unique_ptr<PendingFile>> PowerCutFileSystem::create_pending(const std::string& path) {
  GM_TRY(std::unique_ptr<PendingFile> pending, live_.create_pending(path));
  return std::make_unique<RecordedPendingFile>(std::move(pending), log_);
}

Result<std::unique_ptr<PendingFile>> PowerCutFileSystem::create_partial(
    const std::string& path, const std::string& until_then, Durability durability) {
  const std::lock_guard lock(log_->mutex);
  const bool existed = live_.has(until_then);
  GM_TRY(std::unique_ptr<PendingFile> partial, live_.create_partial(path, until_then, durability));
  if (!existed)
    log_->changes.push_back({Kind::publish, until_then, live_.content(until_then).inode()});
  if (durability == Durability::synced)
    log_->changes.push_back({Kind::sync_folder, folder_of(until_then)});
  return std::make_unique<RecordedPartialFile>(std::move(partial), until_then, log_);
}

Status PowerCutFileSystem::remove(const std::string& path) {
  const std::lock_guard lock(log_->mutex);
  const bool existed = live_.has(path);
  GM_CHECK(live_.remove(path));
  if (existed) log_->changes.push_back({Kind::remove, path});
  return {};
}

Result<std::string> PowerCutFileSystem::canonical(const std::string& path) {
  const std::lock_guard lock(log_->mutex);
  return live_.canonical(path);
}

Result<std::vector<std::string>> PowerCutFileSystem::list(const std::string& folder) {
  const std::lock_guard lock(log_->mutex);
  return live_.list(folder);
}

}  // namespace grainmill::testing
