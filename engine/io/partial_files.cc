// SPDX-License-Identifier: Apache-2.0
#include "engine/io/partial_files.h"

#include <utility>

namespace grainmill {
namespace {

// The one that stays open, for one of those who make it.
class SharedPendingFile final : public PendingFile {
 public:
  explicit SharedPendingFile(std::shared_ptr<PendingFile> made) : made_(std::move(made)) {}

  [[nodiscard]] File& file() override { return made_->file(); }
  [[nodiscard]] Status publish(Durability durability) override {
    return made_->publish(durability);
  }

 private:
  std::shared_ptr<PendingFile> made_;
};

}  // namespace

std::string partial_path(const std::string& path) {
  const std::string name = name_of(path);
  return path.substr(0, path.size() - name.size()) + "." + name + ".partial";
}

Result<std::unique_ptr<PendingFile>> PartialFiles::create_pending(const std::string& path) {
  const std::string target = link_target(below(), path);
  std::shared_ptr<PendingFile>& made = made_[target];
  if (!made) {
    GM_TRY(made, below().create_partial(target, partial_path(target), Durability::unsynced));
  }
  if (!keeps_) GM_CHECK(made->file().resize(0));
  return std::make_unique<SharedPendingFile>(made);
}

void PartialFiles::remove_partials() {
  for (const auto& [path, made] : made_)
    if (made) static_cast<void>(below().remove(partial_path(path)));
}

}  // namespace grainmill
