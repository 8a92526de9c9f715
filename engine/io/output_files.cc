// SPDX-License-Identifier: Apache-2.0
#include "engine/io/output_files.h"

#include <fmt/format.h>

namespace grainmill {
namespace {

File& file_of(const std::unique_ptr<PendingFile>& pending, const std::unique_ptr<File>& in_place) {
  return pending ? pending->file() : *in_place;
}

}  // namespace

Result<File*> OutputFiles::add(const std::string& path) {
  const auto older = files_.open_read(path);
  const bool replaces = older || older.error().kind != ErrorKind::not_found;
  GM_TRY(std::unique_ptr<PendingFile> pending, files_.create_pending(path));
  outputs_.push_back({path, std::move(pending), nullptr, replaces});
  return &outputs_.back().pending->file();
}

File* OutputFiles::add_in_place(std::unique_ptr<File> file) {
  outputs_.push_back({file->path(), nullptr, std::move(file), true});
  return outputs_.back().in_place.get();
}

std::vector<std::string> OutputFiles::paths() const {
  std::vector<std::string> paths;
  paths.reserve(outputs_.size());
  for (const Output& output : outputs_) paths.push_back(output.path);
  return paths;
}

Status OutputFiles::sync() {
  for (const Output& output : outputs_) GM_CHECK(file_of(output.pending, output.in_place).sync());
  return {};
}

Status OutputFiles::publish(Durability durability) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (!outputs_[i].pending) continue;
    Status status = publish_one(i, durability);
    if (!status) return take_back(i, std::move(status).error());
  }
  return {};
}

void OutputFiles::withdraw() {
  for (const Output& output : outputs_)
    if (output.pending) static_cast<void>(files_.remove(output.path));
}

Status OutputFiles::publish_one(std::size_t index, Durability durability) {
  Output& output = outputs_[index];
  const bool is_last = index + 1 == outputs_.size();
  // An older descriptor must never speak for new extents.
  if (index == 0 && !is_last && outputs_.back().replaces) {
    GM_CHECK(files_.remove(outputs_.back().path));
    outputs_.back().replaces = false;
  }
  // The names of all extents reach the device with the last one's, in one go.
  const bool with_name = index + 2 >= outputs_.size();
  if (!with_name && durability == Durability::synced) GM_CHECK(output.pending->file().sync());
  GM_CHECK(output.pending->publish(with_name ? durability : Durability::unsynced));
  return {};
}

// Takes the names away again. The file that failed may have its name already, when only syncing the
// folder failed; but one that it was to replace may still be the older one, and stays.
std::unexpected<Error> OutputFiles::take_back(std::size_t failed, Error error) {
  for (std::size_t i = 0; i <= failed; ++i) {
    if (!outputs_[i].pending || (i == failed && outputs_[i].replaces)) continue;
    if (const Status removed = files_.remove(outputs_[i].path); !removed)
      error.message += fmt::format("; {} is left behind ({}): remove it", outputs_[i].path,
                                   removed.error().message);
  }
  return std::unexpected(std::move(error));
}

}  // namespace grainmill
