// SPDX-License-Identifier: Apache-2.0
#include "pipeline/rescue_map.h"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <span>

namespace grainmill {
namespace {

constexpr std::size_t kFlushBytes = 65536;

struct StatusWords {
  char mark;  // in a map file
  std::string_view name;
};
constexpr std::array<StatusWords, 3> kWords = {
    {{'+', "finished"}, {'/', "doubtful"}, {'-', "missing"}}};

const StatusWords& words(RescueStatus status) { return kWords[static_cast<std::size_t>(status)]; }

}  // namespace

std::string_view rescue_status_name(RescueStatus status) { return words(status).name; }

Status RescueMap::add(std::uint64_t length, RescueStatus status, std::string_view why) {
  if (length == 0) return {};
  bytes_[static_cast<std::size_t>(status)] += length;
  if (range_.end != range_.begin && status != range_.status) GM_CHECK(close_range());
  if (range_.end == range_.begin) {
    range_.status = status;
    range_.why = why;
  }
  range_.end += length;
  return {};
}

Status RescueMap::close_range() {
  if (file_bytes_ == 0 && text_.empty())
    text_ =
        "# Mapfile. Created by grainmill: + read, / read but doubtful, - missing\n"
        "# current_pos  current_status  current_pass\n"
        "0x00000000     +               1\n"
        "#      pos        size  status\n";
  fmt::format_to(std::back_inserter(text_), "0x{:08X}  0x{:08X}  {}\n", range_.begin,
                 range_.end - range_.begin, words(range_.status).mark);
  if (range_.status != RescueStatus::finished && on_range_) on_range_(range_);
  range_.begin = range_.end;
  return text_.size() < kFlushBytes ? Status{} : flush();
}

Status RescueMap::flush() {
  GM_CHECK(file_.write_at(file_bytes_, std::as_bytes(std::span(text_))));
  file_bytes_ += text_.size();
  text_.clear();
  return {};
}

Status RescueMap::finish() {
  if (range_.end != range_.begin) GM_CHECK(close_range());
  return flush();
}

}  // namespace grainmill
