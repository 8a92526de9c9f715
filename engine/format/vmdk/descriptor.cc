// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor.h"

#include "engine/base/arith.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/format/format.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

namespace grainmill::vmdk {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
// qemu reads 4096 lines at most of anything; a 62 TiB disk in 2 GiB extents has 31,744.
constexpr std::size_t kMaxExtents = 65536;

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string upper(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return result;
}

template <typename T>
std::optional<T> parse_number(std::string_view text, int base) {
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Cuts the next blank-separated token off `rest`; a token that begins with a quote goes to the
// closing one and comes back without both. nullopt when a quote is not closed.
std::optional<std::string_view> next_token(std::string_view& rest) {
  rest = trim(rest);
  if (rest.starts_with('"')) {
    const std::size_t close = rest.find('"', 1);
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view token = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
    return token;
  }
  const std::size_t end = std::min(rest.find_first_of(kBlanks), rest.size());
  const std::string_view token = rest.substr(0, end);
  rest.remove_prefix(end);
  return token;
}

// Nothing, or a sector number, and behind it whatever words devices have.
bool may_follow_name(std::string_view rest) {
  constexpr int kMostWords = 16;
  rest = trim(rest);
  if (rest.empty()) return true;
  const std::optional<std::string_view> number = next_token(rest);
  if (!number || !parse_number<std::uint64_t>(*number, 10)) return false;
  for (int i = 0; i < kMostWords && !(rest = trim(rest)).empty(); ++i) {
    const bool quoted = rest.starts_with('"');
    const std::optional<std::string_view> word = next_token(rest);
    if (!word || word->contains('"')) return false;
    if (quoted && !rest.empty() && !kBlanks.contains(rest.front())) return false;
  }
  return true;
}

std::optional<Access> parse_access(std::string_view token) {
  const std::string word = upper(token);
  if (word == "RW") return Access::read_write;
  if (word == "RDONLY") return Access::read_only;
  if (word == "NOACCESS") return Access::none;
  return std::nullopt;
}

// Cuts the last word off `text`.
std::string_view last_word(std::string_view& text) {
  text = trim(text);
  const std::size_t blank = text.find_last_of(kBlanks);
  const std::size_t begin = blank == std::string_view::npos ? 0 : blank + 1;
  const std::string_view word = text.substr(begin);
  text = text.substr(0, begin);
  return word;
}

// Whether the name of another extent line begins in this one: where the line break is damaged.
bool has_line_inside(std::string_view name) {
  for (std::size_t at = name.find('"'); at != std::string_view::npos; at = name.find('"', at + 1)) {
    std::string_view before = name.substr(0, at);
    const std::string type = upper(last_word(before));
    if ((type.ends_with("SPARSE") || type == "FLAT" || type.starts_with("VMFS")) &&
        parse_number<std::uint64_t>(last_word(before), 10))
      return true;
  }
  return false;
}

class Parser {
 public:
  Parser(std::string_view path, std::uint64_t text_offset)
      : path_(path), text_offset_(text_offset) {}

  Status line(std::string_view raw, std::size_t at) {
    const std::string_view text = trim(raw);
    if (text.empty() || text.starts_with('#')) return {};
    std::string_view rest = text;
    const std::optional<std::string_view> first = next_token(rest);
    if (const std::optional<Access> access = first ? parse_access(*first) : std::nullopt)
      return extent_line(*access, rest, at);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos)
      return corrupt(
          at, fmt::format("descriptor line '{}' is neither a comment, a key=value nor an extent",
                          shorten(text)));
    return assignment(lower(trim(text.substr(0, equals))), trim(text.substr(equals + 1)), at);
  }

  Result<Descriptor> finish() {
    if (result_.create_type.empty())
      return corrupt(0, "descriptor has no createType: it is damaged or cut short");
    if (result_.extents.empty())
      return corrupt(0, "descriptor names no extents: it is damaged or cut short");
    std::uint64_t total = 0;
    for (const ExtentLine& extent : result_.extents) {
      const std::optional<std::uint64_t> sum = checked_add(total, extent.sectors);
      if (!sum || *sum > kMaxSectors)
        return corrupt(extent.text_offset, "the sizes of the extents add up to an impossible disk");
      total = *sum;
    }
    if (!result_.parent_hint.empty() && !result_.parent_content_id)
      return corrupt(0, "descriptor has a parentFileNameHint but no parentCID: it is damaged");
    return std::move(result_);
  }

 private:
  static constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 50;

  [[nodiscard]] std::unexpected<Error> corrupt(std::size_t at, std::string message) const {
    return fail(ErrorKind::corrupt, path_, text_offset_ + at, std::move(message));
  }

  static std::string shorten(std::string_view text) {
    constexpr std::size_t kShown = 60;
    std::string shown;
    for (const char c : text.substr(0, kShown))
      shown += std::isprint(static_cast<unsigned char>(c)) != 0 ? c : '?';
    return shown;
  }

  Status extent_line(Access access, std::string_view rest, std::size_t at) {
    ExtentLine extent;
    extent.access = access;
    extent.text_offset = at;
    const auto size = next_token(rest);
    const std::optional<std::uint64_t> sectors =
        size ? parse_number<std::uint64_t>(*size, 10) : std::nullopt;
    const auto type = next_token(rest);
    if (!sectors || !type || type->empty())
      return corrupt(at,
                     "extent line without a size in sectors and a type: expected 'RW 4192256 "
                     "SPARSE \"name\"'");
    extent.sectors = *sectors;
    extent.type = upper(*type);
    GM_TRY(extent.file, file_name(rest, at));
    if (const auto offset = next_token(rest); offset && !offset->empty()) {
      const std::optional<std::uint64_t> value = parse_number<std::uint64_t>(*offset, 10);
      if (!value || *value > kMaxSectors)
        return corrupt(at,
                       fmt::format("extent offset '{}' is not a sector number", shorten(*offset)));
      extent.offset_sectors = *value;
    }
    // What devices have behind that is not looked at; but not two lines in one.
    if (const auto more = next_token(rest); more && parse_access(*more)) return two_lines(at);
    if (extent.file.empty() && extent.type != "ZERO")
      return corrupt(at, fmt::format("{} extent without a file", extent.type));
    if (!extent.file.empty() && extent.type == "ZERO")
      return corrupt(at, fmt::format("ZERO extent with a file, '{}': its type is damaged",
                                     shorten(extent.file)));
    if (result_.extents.size() == kMaxExtents)
      return corrupt(at, fmt::format("more than {} extents", kMaxExtents));
    result_.extents.push_back(std::move(extent));
    return {};
  }

  // Cuts it off `rest`; empty: there is none.
  Result<std::string> file_name(std::string_view& rest, std::size_t at) const {
    rest = trim(rest);
    if (!rest.starts_with('"')) return std::string(*next_token(rest));
    const std::optional<std::string_view> name = quoted_name(rest);
    if (!name) return corrupt(at, "extent line with an unclosed quote");
    if (has_line_inside(*name)) return two_lines(at);
    rest.remove_prefix(name->size() + 2);
    return std::string(*name);
  }

  [[nodiscard]] std::unexpected<Error> two_lines(std::size_t at) const {
    return corrupt(at, "two extent lines without a line break between them: one is damaged");
  }

  Status assignment(const std::string& key, std::string_view value, std::size_t at) {
    const bool opens = value.starts_with('"');
    if (opens && (value.size() < 2 || !value.ends_with('"')))
      return corrupt(at, fmt::format("the value of {} has an unclosed quote", key));
    if (opens) value = value.substr(1, value.size() - 2);
    if (is_header_key(key)) {
      const auto [seen, fresh] = header_.emplace(key, value);
      if (!fresh && seen->second != value)
        return corrupt(at, fmt::format("{} is given twice, as '{}' and as '{}'", key,
                                       shorten(seen->second), shorten(value)));
    }
    return set(key, value, at);
  }

  static bool is_header_key(const std::string& key) {
    return key == "cid" || key == "parentcid" || key == "createtype" ||
           key == "parentfilenamehint" || key == "version";
  }

  Status set(const std::string& key, std::string_view value, std::size_t at) {
    if (key == "cid" || key == "parentcid") {
      const std::optional<std::uint32_t> id = parse_number<std::uint32_t>(value, 16);
      if (!id)
        return corrupt(at,
                       fmt::format("{} '{}' is not a hexadecimal content ID", key, shorten(value)));
      (key == "cid" ? result_.content_id : result_.parent_content_id) = id;
    } else if (key == "createtype") {
      result_.create_type = value;
    } else if (key == "parentfilenamehint") {
      result_.parent_hint = value;
    } else if (key == "encoding" || key == "ddb.encoding") {
      if (result_.encoding.empty()) result_.encoding = value;
    } else if (key == "version") {
      const std::optional<std::uint32_t> version = parse_number<std::uint32_t>(value, 10);
      if (!version) return corrupt(at, fmt::format("version '{}' is not a number", shorten(value)));
      if (*version < 1 || *version > 3)
        refuse(fmt::format("descriptor version {}; versions 1, 2 and 3 are known", *version));
      result_.version = *version;
    } else {
      set_refusal(key, value);
    }
    return {};
  }

  // Features that would read as wrong bytes.
  void set_refusal(const std::string& key, std::string_view value) {
    if (key == "encryptionkeys" || key == "keyid" || key.starts_with("encryption."))
      refuse("the disk is encrypted; decrypt it with VMware's tools first");
    if (key == "ddb.iofilters" && lower(value).contains("crypt"))
      refuse(fmt::format("the disk is encrypted by the I/O filter '{}'; decrypt it first",
                         shorten(value)));
    if (key == "isnativesnapshot" && lower(value) == "yes")
      refuse("the disk is a native (array-side) snapshot; its data is not in these files");
  }

  void refuse(std::string reason) {
    if (result_.refusal.empty()) result_.refusal = std::move(reason);
  }

  std::string_view path_;
  std::uint64_t text_offset_;
  std::map<std::string, std::string> header_;
  Descriptor result_;
};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// With zero bytes at its end at most.
bool is_all_text(std::string_view text) {
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  return std::ranges::all_of(text, [](unsigned char c) {
    return c >= 0x20 || c == '\n' || kBlanks.contains(static_cast<char>(c));
  });
}

}  // namespace

std::uint64_t Descriptor::total_sectors() const {
  std::uint64_t total = 0;
  for (const ExtentLine& extent : extents) total += extent.sectors;
  return total;
}

bool looks_like_descriptor(std::span<const std::byte> head) {
  std::string_view text = as_text(head);
  text = text.substr(0, text.find('\0'));
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const std::string words = lower(text);
  // Any line may come first; what no other text has is an assignment to createType or a CID at the
  // start of a line.
  for (const std::string_view key : {"createtype", "parentcid", "# disk descriptorfile"}) {
    for (std::size_t at = words.find(key); at != std::string::npos; at = words.find(key, at + 1)) {
      const std::size_t line = words.find_last_of("\n\r", at);
      const std::string_view before = std::string_view(words).substr(line + 1, at - (line + 1));
      if (trim(before).empty()) return true;
    }
  }
  return false;
}

std::optional<std::string_view> quoted_name(std::string_view text) {
  // No file has a longer one.
  constexpr std::size_t kMostBytes = 4096;
  std::optional<std::string_view> name;
  text = trim(text);
  for (std::size_t end = text.find('"', 1); end != std::string_view::npos && end <= kMostBytes;
       end = text.find('"', end + 1)) {
    name = text.substr(1, end - 1);
    if (may_follow_name(text.substr(end + 1))) break;
  }
  return name;
}

bool has_lost_header(std::span<const std::byte> head) {
  // Where all writers put it, behind the header.
  constexpr std::string_view kEmbedded = "# Disk DescriptorFile";
  const std::string_view text = as_text(head);
  if (text.size() < kSectorBytes || !text.substr(kSectorBytes).starts_with(kEmbedded)) return false;
  if (has_hosted_magic(head) || has_cowd_magic(head)) return false;
  if (looks_like_descriptor(head.first(kSectorBytes))) return false;
  // A short file that is nothing but text: one's own comments may stand before the first words.
  return head.size() >= kProbeBytes || !is_all_text(text);
}

Result<Descriptor> parse_descriptor(std::string_view text, std::string_view path,
                                    std::uint64_t text_offset) {
  text = text.substr(0, text.find('\0'));
  Parser parser(path, text_offset);
  std::size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  while (at < text.size()) {
    // A lone CR ends a line too: old Mac editors wrote those.
    const std::size_t end = std::min(text.find_first_of("\n\r", at), text.size());
    GM_CHECK(parser.line(text.substr(at, end - at), at));
    at = end + 1;
  }
  return parser.finish();
}

}  // namespace grainmill::vmdk
