// SPDX-License-Identifier: Apache-2.0
//
// Damage to the text of descriptors, embedded or not.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"

#include <algorithm>
#include <cctype>
#include <functional>

namespace grainmill::testing {
namespace {

using Lines = std::vector<std::string>;
// Changes lines of which `at` is the one meant.
using LineEdit = std::function<void(Lines&, std::size_t at)>;
using IsMeant = std::function<bool(const std::string& line)>;

Lines split_lines(const std::string& text) {
  Lines lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string join_lines(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool has_descriptor(const BuiltLink& link) { return link.path.extension() == ".vmdk"; }

// The lines of a disk that are meant, as pairs of link and line.
std::vector<std::pair<std::size_t, std::size_t>> find_lines(const BuiltDisk& disk,
                                                            const IsMeant& meant) {
  std::vector<std::pair<std::size_t, std::size_t>> found;
  for (std::size_t link = 0; link < disk.links.size(); ++link) {
    if (!has_descriptor(disk.links[link])) continue;
    const Lines lines = split_lines(read_descriptor(disk.links[link]));
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (meant(lines[i])) found.emplace_back(link, i);
  }
  return found;
}

using NoTrace = std::function<bool(const BuiltDisk&, std::size_t)>;

void add_line_kind(std::vector<DamageKind>& kinds, const char* name, const char* what,
                   const IsMeant& meant, std::vector<LineEdit> edits, NoTrace no_trace = nullptr) {
  const std::size_t ways = edits.size();
  DamageKind kind{.name = name, .what = what, .places = {}, .apply = {}};
  kind.places = [meant, ways](const BuiltDisk& disk) {
    return find_lines(disk, meant).size() * ways;
  };
  kind.apply = [meant, ways, edits = std::move(edits)](const BuiltDisk& disk, std::size_t place) {
    const auto [link, line] = find_lines(disk, meant)[place / ways];
    Lines lines = split_lines(read_descriptor(disk.links[link]));
    edits[place % ways](lines, line);
    write_descriptor(disk.links[link], join_lines(lines));
  };
  kind.leaves_no_trace = std::move(no_trace);
  kinds.push_back(std::move(kind));
}

IsMeant begins(std::string prefix) {
  return [prefix = std::move(prefix)](const std::string& line) { return line.starts_with(prefix); };
}

bool is_extent(const std::string& line) {
  return line.starts_with("RW ") || line.starts_with("RDONLY ") || line.starts_with("NOACCESS ");
}

LineEdit replace_line(std::string text) {
  return [text = std::move(text)](Lines& lines, std::size_t at) { lines[at] = text; };
}

// The nth word of a line.
LineEdit replace_word(std::size_t word, std::function<std::string(const std::string&)> change) {
  return [word, change = std::move(change)](Lines& lines, std::size_t at) {
    std::string& line = lines[at];
    std::size_t begin = 0;
    for (std::size_t i = 0; i < word; ++i) begin = line.find(' ', begin) + 1;
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    line = line.substr(0, begin) + change(line.substr(begin, end - begin)) + line.substr(end);
  };
}

LineEdit word(std::size_t index, std::string text) {
  return replace_word(index, [text = std::move(text)](const std::string&) { return text; });
}

void remove_line(Lines& lines, std::size_t at) {
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
}
void repeat_line(Lines& lines, std::size_t at) {
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), std::string(lines[at]));
}
void comment_out(Lines& lines, std::size_t at) { lines[at].insert(lines[at].begin(), '#'); }
void spoil_key(Lines& lines, std::size_t at) { lines[at][0] = static_cast<char>(lines[at][0] ^ 1); }
void swap_with_next(Lines& lines, std::size_t at) {
  if (at + 1 < lines.size() && is_extent(lines[at + 1])) std::swap(lines[at], lines[at + 1]);
}
void swap_names_with_next(Lines& lines, std::size_t at) {
  if (at + 1 >= lines.size() || !is_extent(lines[at + 1])) return;
  const auto name = [](std::string& line) {
    const std::size_t open = line.find('"');
    return open == std::string::npos ? std::string() : line.substr(open);
  };
  const std::string mine = name(lines[at]);
  const std::string other = name(lines[at + 1]);
  if (mine.empty() || other.empty()) return;
  lines[at].replace(lines[at].find('"'), std::string::npos, other);
  lines[at + 1].replace(lines[at + 1].find('"'), std::string::npos, mine);
}
void take_name_of_next(Lines& lines, std::size_t at) {
  if (at + 1 >= lines.size() || !is_extent(lines[at + 1])) return;
  if (!lines[at].contains('"') || !lines[at + 1].contains('"')) return;
  lines[at].replace(lines[at].find('"'), std::string::npos,
                    lines[at + 1].substr(lines[at + 1].find('"')));
}

std::string plus(const std::string& number, std::int64_t by) {
  return std::to_string(std::stoll(number) + by);
}

LineEdit size_by(std::int64_t by) {
  return replace_word(1, [by](const std::string& size) { return plus(size, by); });
}

bool custom_only(const BuiltDisk& disk, std::size_t) { return is_custom(disk); }
// A header may round the capacity up to whole grains, so a size that is a little smaller can be
// right; data behind it would show that it is not.
bool may_be_rounded(const BuiltDisk& disk, std::size_t) {
  return is_custom(disk) || std::ranges::any_of(disk.links, [](const BuiltLink& link) {
           return link.extents.front().type == ExtentType::sparse;
         });
}

void add_extent_lines(std::vector<DamageKind>& kinds) {
  add_line_kind(kinds, "extent-line-removed", "an extent line lost", is_extent,
                {remove_line, comment_out, replace_line("")}, custom_only);
  add_line_kind(kinds, "extent-line-repeated", "an extent line twice", is_extent, {repeat_line},
                custom_only);
  add_line_kind(kinds, "extent-lines-swapped", "two extent lines exchanged", is_extent,
                {swap_with_next}, custom_only);
  add_line_kind(kinds, "extent-names-swapped", "two extent lines with each other's file", is_extent,
                {swap_names_with_next});
  add_line_kind(kinds, "extent-name-of-next", "an extent line with the file of the next one",
                is_extent, {take_name_of_next});
  add_line_kind(kinds, "extent-size-changed", "another size in an extent line", is_extent,
                {size_by(1), size_by(-1), size_by(-8), size_by(8), word(1, "0"), word(1, "1"),
                 word(1, "99999999999999999999"), word(1, "-1"), word(1, "1099511627776"),
                 replace_word(1, [](const std::string& s) { return s + "0"; }),
                 replace_word(1, [](const std::string& s) { return s.substr(0, s.size() - 1); })},
                may_be_rounded);
  add_line_kind(kinds, "extent-type-changed", "another type in an extent line", is_extent,
                {word(2, "SPARSE"), word(2, "FLAT"), word(2, "VMFS"), word(2, "ZERO"),
                 word(2, "VMFSSPARSE"), word(2, "SESPARSE"), word(2, "VMFSRDM"), word(2, "FLAU")});
  add_line_kind(kinds, "extent-access-changed", "another access in an extent line", is_extent,
                {word(0, "RDONLY"), word(0, "NOACCESS"), word(0, "RX"), word(0, "")}, custom_only);
  add_line_kind(
      kinds, "extent-name-changed", "an extent line that names no file there is", is_extent,
      {[](Lines& lines, std::size_t at) {
         if (lines[at].contains('"')) lines[at].insert(lines[at].find('"') + 1, 1, 'x');
       },
       [](Lines& lines, std::size_t at) { lines[at] = lines[at].substr(0, lines[at].find('"')); },
       [](Lines& lines, std::size_t at) {
         lines[at] = lines[at].substr(0, lines[at].rfind('"'));
       }});
  add_line_kind(
      kinds, "extent-offset-changed", "another offset in a flat extent line",
      [](const std::string& line) { return line.contains(" FLAT "); },
      {word(4, "1"), word(4, "8"), word(4, "1000000000"), word(4, "x"), word(4, "-1")},
      custom_only);
}

void add_header_lines(std::vector<DamageKind>& kinds) {
  add_line_kind(kinds, "cid-damaged", "the content ID lost or changed", begins("CID="),
                {remove_line, spoil_key, replace_line("CID=12345678"), replace_line("CID=xyz"),
                 replace_line("CID=")});
  add_line_kind(kinds, "parent-cid-damaged", "the parent's content ID lost or changed",
                [](const std::string& line) {
                  return line.starts_with("parentCID=") && !line.contains("ffffffff");
                },
                {remove_line, spoil_key, replace_line("parentCID=12345678"),
                 replace_line("parentCID=ffffffff"), replace_line("parentCID=")});
  add_line_kind(kinds, "base-gets-parent-cid", "a base that says it has a parent",
                begins("parentCID=ffffffff"), {replace_line("parentCID=12345678")});
  add_line_kind(kinds, "parent-hint-damaged", "the parent's name lost or changed",
                begins("parentFileNameHint="),
                {remove_line, spoil_key, replace_line("parentFileNameHint=\"nothing.vmdk\""),
                 replace_line("parentFileNameHint=\"\""), replace_line("parentFileNameHint=\"x"),
                 replace_line("parentFileNameHint=\"../../../../etc/hostname\"")});
  add_line_kind(kinds, "create-type-lost", "the createType lost", begins("createType="),
                {remove_line, spoil_key, comment_out, replace_line("createType=\"\"")});
  add_line_kind(
      kinds, "create-type-changed", "another createType", begins("createType="),
      {replace_line("createType=\"monolithicSparse\""),
       replace_line("createType=\"monolithicFlat\""),
       replace_line("createType=\"streamOptimized\""),
       replace_line("createType=\"twoGbMaxExtentSparse\""),
       replace_line("createType=\"twoGbMaxExtentFlat\""), replace_line("createType=\"vmfs\""),
       replace_line("createType=\"vmfsSparse\""), replace_line("createType=\"custom\""),
       replace_line("createType=\"fullDevice\""), replace_line("createType=\"seSparse\""),
       replace_line("createType=\"monolithicSparsf\"")});
  add_line_kind(kinds, "version-changed", "another descriptor version", begins("version="),
                {replace_line("version=0"), replace_line("version=4"), replace_line("version=x")});
}

// Damage to the text as a whole, or at any byte of it.
using TextEdit = std::function<std::string(const std::string&)>;

void add_text_kind(std::vector<DamageKind>& kinds, const char* name, const char* what,
                   std::vector<TextEdit> edits, NoTrace no_trace = nullptr) {
  const std::size_t ways = edits.size();
  DamageKind kind{.name = name, .what = what, .places = {}, .apply = {}};
  kind.places = [ways](const BuiltDisk& disk) {
    return static_cast<std::size_t>(std::ranges::count_if(disk.links, has_descriptor)) * ways;
  };
  kind.apply = [ways, edits = std::move(edits)](const BuiltDisk& disk, std::size_t place) {
    const BuiltLink& link = disk.links[place / ways];
    write_descriptor(link, edits[place % ways](read_descriptor(link)));
  };
  kind.leaves_no_trace = std::move(no_trace);
  kinds.push_back(std::move(kind));
}

TextEdit put_at(double part, std::string bytes) {
  return [part, bytes = std::move(bytes)](const std::string& text) {
    std::string changed = text;
    const auto at = static_cast<std::size_t>(part * static_cast<double>(text.size()));
    return changed.replace(at, std::min(bytes.size(), text.size() - at), bytes);
  };
}

std::vector<TextEdit> everywhere(const std::string& bytes) {
  constexpr int kParts = 10;
  std::vector<TextEdit> edits;
  edits.reserve(kParts);
  for (int i = 0; i < kParts; ++i) edits.push_back(put_at(static_cast<double>(i) / kParts, bytes));
  return edits;
}

std::vector<TextEdit> cuts() {
  constexpr int kParts = 16;
  std::vector<TextEdit> edits;
  edits.reserve(kParts);
  for (int i = 0; i < kParts; ++i)
    edits.emplace_back([i](const std::string& text) {
      return text.substr(0, text.size() * static_cast<std::size_t>(i) / kParts);
    });
  return edits;
}

void add_whole_text_damage(std::vector<DamageKind>& kinds) {
  add_text_kind(kinds, "descriptor-garbage", "garbage bytes in a descriptor",
                everywhere("\xfe\x80\x13\x99\xc3\x01\x02\xf7"));
  add_text_kind(kinds, "descriptor-nul", "zero bytes in a descriptor",
                everywhere(std::string(8, '\0')), custom_only);
  add_text_kind(kinds, "descriptor-line-breaks", "line breaks in a descriptor", everywhere("\n\n"));
  add_text_kind(kinds, "descriptor-hash", "a comment mark in a descriptor", everywhere("#"));
  add_text_kind(kinds, "descriptor-cut", "a descriptor cut short", cuts(), custom_only);
  add_text_kind(kinds, "descriptor-twice", "a descriptor written twice",
                {[](const std::string& text) { return text + text; }});
  add_text_kind(kinds, "descriptor-upper-case", "a descriptor in capital letters",
                {[](const std::string& text) {
                  std::string upper = text;
                  std::ranges::transform(upper, upper.begin(), [](unsigned char c) {
                    return static_cast<char>(std::toupper(c));
                  });
                  return upper;
                }});
}

}  // namespace

void add_descriptor_damage(std::vector<DamageKind>& kinds) {
  add_extent_lines(kinds);
  add_header_lines(kinds);
  add_whole_text_damage(kinds);
}

}  // namespace grainmill::testing
