// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/memory_file_system.h"

#include <filesystem>

namespace grainmill::testing {

class MemoryFileSystem::Pending final : public PendingFile {
 public:
  Pending(MemoryFileSystem& files, std::string path)
      : files_(files),
        content_(std::make_shared<MemoryContent>()),
        file_(path, content_),
        path_(std::move(path)) {}

  [[nodiscard]] File& file() override { return file_; }
  [[nodiscard]] Status publish(Durability /*durability*/) override {
    files_.files_[path_] = content_;
    return {};
  }

 private:
  MemoryFileSystem& files_;
  std::shared_ptr<MemoryContent> content_;
  MemoryFile file_;
  std::string path_;
};

class MemoryFileSystem::Partial final : public PendingFile {
 public:
  Partial(MemoryFileSystem& files, std::string path, std::string until_then,
          std::unique_ptr<MemoryFile> file)
      : files_(files),
        path_(std::move(path)),
        until_then_(std::move(until_then)),
        file_(std::move(file)) {}

  [[nodiscard]] File& file() override { return *file_; }
  [[nodiscard]] Status publish(Durability /*durability*/) override {
    auto node = files_.files_.extract(until_then_);
    if (node.empty()) return fail(ErrorKind::io, path_, "is no longer there");
    files_.files_[path_] = node.mapped();
    return {};
  }

 private:
  MemoryFileSystem& files_;
  std::string path_;
  std::string until_then_;
  std::unique_ptr<MemoryFile> file_;
};

MemoryContent& MemoryFileSystem::add(const std::string& path, std::span<const std::byte> bytes) {
  return *(files_[path] = std::make_shared<MemoryContent>(bytes));
}

MemoryContent& MemoryFileSystem::add(const std::string& path, std::string_view text) {
  return add(path, std::as_bytes(std::span(text)));
}

MemoryContent& MemoryFileSystem::add(const std::string& path,
                                     std::shared_ptr<MemoryContent> content) {
  return *(files_[path] = std::move(content));
}

std::vector<std::string> MemoryFileSystem::paths() const {
  std::vector<std::string> paths;
  paths.reserve(files_.size());
  for (const auto& [path, content] : files_) paths.push_back(path);
  return paths;
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_read(const std::string& path) {
  return open_as(path, OpenMode::read);
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_write(const std::string& path) {
  return open_as(path, OpenMode::read_write);
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_as(const std::string& path,
                                                        OpenMode mode) const {
  const auto found = files_.find(path);
  if (found == files_.end()) return fail(ErrorKind::not_found, path, "cannot open: no such file");
  return MemoryFile::open(path, found->second, mode);
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_beneath(const std::string& folder,
                                                             const std::string& relative,
                                                             OpenMode mode) {
  const std::string root = folder.ends_with('/') ? folder : folder + "/";
  const std::string path = std::filesystem::path(root + relative).lexically_normal().string();
  if (relative.starts_with('/') || !path.starts_with(root))
    return fail(ErrorKind::denied, path, "lies outside the folder " + folder);
  return open(path, mode);
}

Result<std::unique_ptr<PendingFile>> MemoryFileSystem::create_pending(const std::string& path) {
  return std::make_unique<Pending>(*this, path);
}

Result<std::unique_ptr<PendingFile>> MemoryFileSystem::create_partial(const std::string& path,
                                                                      const std::string& until_then,
                                                                      Durability /*durability*/) {
  std::shared_ptr<MemoryContent>& content = files_[until_then];
  if (!content) content = std::make_shared<MemoryContent>();
  GM_TRY(std::unique_ptr<MemoryFile> file, MemoryFile::open(path, content, OpenMode::read_write));
  return std::make_unique<Partial>(*this, path, until_then, std::move(file));
}

Status MemoryFileSystem::remove(const std::string& path) {
  files_.erase(path);
  return {};
}

Result<std::string> MemoryFileSystem::canonical(const std::string& path) { return path; }

Result<std::vector<std::string>> MemoryFileSystem::list(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& [path, content] : files_)
    if (folder_of(path) == folder) names.push_back(name_of(path));
  return names;
}

}  // namespace grainmill::testing
