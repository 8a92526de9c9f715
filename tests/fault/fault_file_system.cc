// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/fault_file_system.h"

#include "engine/io/posix_file.h"

#include <algorithm>
#include <utility>

namespace grainmill::testing {
namespace {

// What is being called. `size` 0: a call without a range.
struct CallSite {
  FileCall call;
  const std::string& path;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// What becomes of it. `bytes` is how much of a write still goes through before it fails.
struct Verdict {
  std::optional<Error> error;
  std::uint64_t bytes = 0;
};

struct ArmedFault {
  Fault fault;
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
};

bool fits(const Fault& fault, const CallSite& site) {
  if (fault.call != site.call || !site.path.ends_with(fault.path_end)) return false;
  if (!site.path.contains(fault.within)) return false;
  return site.size == 0 ||
         (site.offset < fault.range_end && fault.range_begin < site.offset + site.size);
}

Error error_of(const Fault& fault, const CallSite& site) {
  Error error = os_error(fault.error_number, site.path, "do it");
  if (site.size != 0) error.offset = std::max(site.offset, fault.range_begin);
  return error;
}

}  // namespace

class FaultFileSystem::Faults {
 public:
  void add(Fault fault) { armed_.push_back({std::move(fault)}); }
  void clear() {
    armed_.clear();
    log_.clear();
  }
  std::uint64_t count(FileCall call, const std::string& path_end) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::uint64_t>(std::ranges::count_if(log_, [&](const auto& entry) {
      return entry.first == call && entry.second.ends_with(path_end);
    }));
  }

  Verdict meet(const CallSite& site) {
    std::vector<std::function<void()>> before;
    Verdict verdict;
    {
      const std::lock_guard lock(mutex_);
      log_.emplace_back(site.call, site.path);
      for (ArmedFault& armed : armed_) {
        if (!fits(armed.fault, site) || !is_due(armed, site)) continue;
        if (armed.fault.before) before.push_back(armed.fault.before);
        if (armed.fault.error_number == 0 || verdict.error) continue;
        verdict.error = error_of(armed.fault, site);
        if (armed.fault.room_bytes)
          verdict.bytes = site.size - (armed.bytes - *armed.fault.room_bytes);
      }
    }
    for (const auto& hook : before) hook();
    return verdict;
  }

  Status check(const CallSite& site) {
    Verdict verdict = meet(site);
    if (verdict.error) return std::unexpected(*std::move(verdict.error));
    return {};
  }

 private:
  static bool is_due(ArmedFault& armed, const CallSite& site) {
    ++armed.calls;
    armed.bytes += site.size;
    if (armed.fault.room_bytes) {
      if (armed.bytes <= *armed.fault.room_bytes) return false;
      // What does not fit is not written, and the device stays full.
      armed.bytes = std::min(armed.bytes, *armed.fault.room_bytes + site.size);
      return true;
    }
    return armed.fault.nth == 0 || armed.calls == armed.fault.nth;
  }

  mutable std::mutex mutex_;
  std::vector<ArmedFault> armed_;
  std::vector<std::pair<FileCall, std::string>> log_;
};

namespace {

using Faults = std::shared_ptr<FaultFileSystem::Faults>;

class FaultFile final : public File {
 public:
  FaultFile(std::unique_ptr<File> file, Faults faults)
      : File(file->path()), owned_(std::move(file)), file_(*owned_), faults_(std::move(faults)) {}
  FaultFile(File& file, Faults faults)
      : File(file.path()), file_(file), faults_(std::move(faults)) {}

  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset,
                                            std::span<std::byte> buffer) const override {
    GM_CHECK(faults_->check({FileCall::read, path(), offset, buffer.size()}));
    return file_.read_at(offset, buffer);
  }
  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    const Verdict verdict = faults_->meet({FileCall::write, path(), offset, bytes.size()});
    if (!verdict.error) return file_.write_at(offset, bytes);
    if (verdict.bytes != 0) GM_CHECK(file_.write_at(offset, bytes.first(verdict.bytes)));
    return std::unexpected(*verdict.error);
  }
  [[nodiscard]] Status zero_range(std::uint64_t offset, std::uint64_t length) override {
    GM_CHECK(faults_->check({FileCall::zero_range, path(), offset, length}));
    return file_.zero_range(offset, length);
  }
  [[nodiscard]] Status resize(std::uint64_t size_bytes) override {
    GM_CHECK(faults_->check({FileCall::resize, path()}));
    return file_.resize(size_bytes);
  }
  [[nodiscard]] Status sync() override {
    GM_CHECK(faults_->check({FileCall::sync, path()}));
    return file_.sync();
  }
  [[nodiscard]] Result<FileInfo> info() const override {
    GM_CHECK(faults_->check({FileCall::info, path()}));
    return file_.info();
  }
  [[nodiscard]] Result<DataRange> next_data(std::uint64_t offset) const override {
    GM_CHECK(faults_->check({FileCall::next_data, path()}));
    return file_.next_data(offset);
  }

 private:
  std::unique_ptr<File> owned_;
  File& file_;
  Faults faults_;
};

class FaultPendingFile final : public PendingFile {
 public:
  FaultPendingFile(std::unique_ptr<PendingFile> pending, Faults faults)
      : pending_(std::move(pending)), file_(pending_->file(), faults), faults_(std::move(faults)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability durability) override {
    if (durability == Durability::synced) GM_CHECK(faults_->check({FileCall::sync, file_.path()}));
    GM_CHECK(faults_->check({FileCall::publish, file_.path()}));
    return pending_->publish(durability);
  }

 private:
  std::unique_ptr<PendingFile> pending_;
  FaultFile file_;
  Faults faults_;
};

Result<std::unique_ptr<File>> wrap(Result<std::unique_ptr<File>> file, const Faults& faults) {
  if (!file) return file;
  return std::make_unique<FaultFile>(*std::move(file), faults);
}

}  // namespace

FaultFileSystem::FaultFileSystem(FileSystem& files)
    : files_(files), faults_(std::make_shared<class Faults>()) {}
FaultFileSystem::~FaultFileSystem() = default;

void FaultFileSystem::add(Fault fault) { faults_->add(std::move(fault)); }
void FaultFileSystem::clear() { faults_->clear(); }
std::uint64_t FaultFileSystem::count(FileCall call, const std::string& path_end) const {
  return faults_->count(call, path_end);
}

Result<std::unique_ptr<File>> FaultFileSystem::open_read(const std::string& path) {
  GM_CHECK(faults_->check({FileCall::open, path}));
  return wrap(files_.open_read(path), faults_);
}

Result<std::unique_ptr<File>> FaultFileSystem::open_write(const std::string& path) {
  GM_CHECK(faults_->check({FileCall::open, path}));
  return wrap(files_.open_write(path), faults_);
}

Result<std::unique_ptr<File>> FaultFileSystem::open_beneath(const std::string& folder,
                                                            const std::string& relative,
                                                            OpenMode mode) {
  GM_CHECK(faults_->check({FileCall::open, relative}));
  return wrap(files_.open_beneath(folder, relative, mode), faults_);
}

Result<std::unique_ptr<PendingFile>> FaultFileSystem::create_pending(const std::string& path) {
  GM_CHECK(faults_->check({FileCall::create, path}));
  GM_TRY(std::unique_ptr<PendingFile> pending, files_.create_pending(path));
  return std::make_unique<FaultPendingFile>(std::move(pending), faults_);
}

Result<std::unique_ptr<PendingFile>> FaultFileSystem::create_partial(const std::string& path,
                                                                     const std::string& until_then,
                                                                     Durability durability) {
  GM_CHECK(faults_->check({FileCall::create, path}));
  GM_TRY(std::unique_ptr<PendingFile> partial, files_.create_partial(path, until_then, durability));
  return std::make_unique<FaultPendingFile>(std::move(partial), faults_);
}

Status FaultFileSystem::remove(const std::string& path) {
  GM_CHECK(faults_->check({FileCall::remove, path}));
  return files_.remove(path);
}

Result<std::string> FaultFileSystem::canonical(const std::string& path) {
  return files_.canonical(path);
}

Result<std::vector<std::string>> FaultFileSystem::list(const std::string& folder) {
  return files_.list(folder);
}

Result<std::vector<FolderEntry>> FaultFileSystem::entries(const std::string& folder) {
  return files_.entries(folder);
}

}  // namespace grainmill::testing
