// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_edit.h"

#include "engine/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::vmdk {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

// Where the value of a line is in the text, without its quotes.
struct ValuePlace {
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::optional<ValuePlace> value_in_line(std::string_view line, std::string_view key) {
  const std::size_t first = line.find_first_not_of(kBlanks);
  const std::size_t equals = line.find('=');
  if (first == std::string_view::npos || equals == std::string_view::npos || line[first] == '#')
    return std::nullopt;
  const std::string_view name = line.substr(first, equals - first);
  if (lower(name.substr(0, name.find_last_not_of(kBlanks) + 1)) != lower(key)) return std::nullopt;
  ValuePlace place{line.find_first_not_of(kBlanks, equals + 1), line.find_last_not_of(kBlanks) + 1};
  if (place.begin == std::string_view::npos) return ValuePlace{equals + 1, equals + 1};
  const bool quoted = place.end - place.begin >= 2 && line[place.begin] == '"';
  return quoted ? ValuePlace{place.begin + 1, place.end - 1} : place;
}

std::optional<ValuePlace> find_value(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (const auto place = value_in_line(text.substr(at, end - at), key))
      return ValuePlace{at + place->begin, at + place->end};
    at = end + 1;
  }
  return std::nullopt;
}

std::string replace(std::string_view text, const ValuePlace& place, std::string_view value) {
  return fmt::format("{}{}{}", text.substr(0, place.begin), value, text.substr(place.end));
}

// Adds a line behind the one with `key`, or behind the first one.
std::string with_line_behind(std::string_view text, std::string_view key, std::string_view line) {
  const auto place = find_value(text, key);
  const std::size_t end = std::min(text.find('\n', place ? place->end : 0), text.size());
  const bool crlf = end > 0 && text[end - 1] == '\r';
  return fmt::format("{}\n{}{}{}", text.substr(0, end), line, crlf ? "\r" : "",
                     end == text.size() ? std::string_view("\n") : text.substr(end));
}

std::string without_parent(std::string_view text) {
  std::string result = with_value(text, "parentCID", "ffffffff").value_or(std::string(text));
  if (const auto place = find_value(result, "parentFileNameHint")) {
    const std::size_t before = result.rfind('\n', place->begin);
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    result.erase(begin, std::min(result.find('\n', place->end), result.size() - 1) + 1 - begin);
  }
  return result;
}

}  // namespace

std::optional<std::string_view> value_of(std::string_view text, std::string_view key) {
  const auto place = find_value(text, key);
  if (!place) return std::nullopt;
  return text.substr(place->begin, place->end - place->begin);
}

std::optional<std::string> with_value(std::string_view text, std::string_view key,
                                      std::string_view value) {
  const auto place = find_value(text, key);
  if (!place) return std::nullopt;
  return replace(text, *place, value);
}

std::size_t content_id_digits(std::string_view text) {
  return value_of(text, "CID").value_or("").size();
}

std::string with_content_id(std::string_view text, std::uint32_t id) {
  const std::string digits = fmt::format("{:0{}x}", id, content_id_digits(text));
  std::string result =
      with_value(text, "CID", digits)
          .value_or(with_line_behind(text, "version", fmt::format("CID={}", digits)));
  const auto place = find_value(result, "ddb.longContentID");
  constexpr std::size_t kTail = 8;
  if (place && place->end - place->begin >= kTail)
    result.replace(place->end - kTail, kTail, fmt::format("{:08x}", id));
  return result;
}

std::string with_parent(std::string_view text, std::string_view hint, std::uint32_t content_id) {
  if (hint.empty()) return without_parent(text);
  const std::string id = fmt::format("{:08x}", content_id);
  const std::string linked =
      with_value(text, "parentCID", id).value_or(with_line_behind(text, "CID", "parentCID=" + id));
  return with_value(linked, "parentFileNameHint", hint)
      .value_or(
          with_line_behind(linked, "createType", fmt::format("parentFileNameHint=\"{}\"", hint)));
}

}  // namespace grainmill::vmdk
