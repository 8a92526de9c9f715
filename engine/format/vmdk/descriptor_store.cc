// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_store.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace grainmill::vmdk {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

Status DescriptorStore::store(const std::string& text) {
  if (text.size() == text_.size()) {
    GM_CHECK(write_differences(text));
  } else if (owned_ == nullptr) {
    if (text.size() > room_)
      return fail(ErrorKind::unsupported, file_->path(), offset_,
                  fmt::format("the changed descriptor has {} bytes and does not fit into the {} "
                              "reserved for it: shorten its comments, or convert the disk",
                              text.size(), room_));
    std::string padded = text;
    padded.resize(room_, '\0');
    GM_CHECK(file_->write_at(offset_, bytes_of(padded)));
  } else {
    const std::string path = file_->path();
    GM_TRY(const std::unique_ptr<PendingFile> pending, files_->create_pending(path));
    GM_CHECK(pending->file().write_at(0, bytes_of(text)));
    GM_CHECK(pending->publish(Durability::synced));
    GM_TRY(owned_, files_->open_write(path));
    file_ = owned_.get();
    text_ = text;
    return {};
  }
  text_ = text;
  return file_->sync();
}

Status DescriptorStore::write_differences(const std::string& text) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t left = kSectorBytes - (offset_ + begin) % kSectorBytes;
    const std::size_t count = std::min<std::size_t>(left, text.size() - begin);
    if (text.compare(begin, count, text_, begin, count) != 0)
      GM_CHECK(file_->write_at(offset_ + begin, bytes_of(text).subspan(begin, count)));
    begin += count;
  }
  return {};
}

}  // namespace grainmill::vmdk
