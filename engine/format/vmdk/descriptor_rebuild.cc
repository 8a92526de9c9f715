// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_rebuild.h"

#include "engine/base/arith.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_edit.h"
#include "engine/format/vmdk/descriptor_text.h"
#include "engine/format/vmdk/file_names.h"
#include "engine/format/vmdk/size_witness.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grainmill::vmdk {
namespace {

// One line of the text, without its end.
struct TextLine {
  std::string text;
  std::string end;
};

std::vector<TextLine> split_lines(std::string_view text) {
  std::vector<TextLine> lines;
  while (!text.empty()) {
    const std::size_t break_at = std::min(text.find('\n'), text.size());
    const bool crlf = break_at > 0 && text[break_at - 1] == '\r';
    const std::size_t length = break_at - (crlf ? 1 : 0);
    const std::size_t next = std::min(break_at + 1, text.size());
    lines.push_back(
        {std::string(text.substr(0, length)), std::string(text.substr(length, next - length))});
    text.remove_prefix(next);
  }
  return lines;
}

std::string join_lines(const std::vector<TextLine>& lines) {
  std::string text;
  for (const TextLine& line : lines) text += line.text + line.end;
  return text;
}

// What is still to be read in a line that is, or was, an extent line.
struct FoundLine {
  std::size_t index = 0;  // among the lines
  std::optional<ExtentLine> parsed;
  std::string file;  // what stands in quotes, or behind one; may be empty
};

std::optional<ExtentLine> parse_alone(const std::string& line) {
  const Result<Descriptor> parsed =
      parse_descriptor("createType=\"custom\"\n" + line + "\n", "", 0);
  if (!parsed || parsed->extents.size() != 1) return std::nullopt;
  return parsed->extents.front();
}

std::optional<FoundLine> extent_in(const std::string& line, std::size_t index) {
  const std::string words = lower(line);
  const std::size_t first = words.find_first_not_of(" \t");
  if (first == std::string::npos || words[first] == '#') return std::nullopt;
  std::optional<ExtentLine> parsed = parse_alone(line);
  if (!parsed) {
    const bool is_assignment = words.contains('=') && !words.contains(" sparse ");
    const bool has_word = std::ranges::any_of(
        std::array<std::string_view, 6>{"rw ", "rdonly ", "noaccess ", "sparse", " flat", " vmfs"},
        [&](std::string_view word) { return words.contains(word); });
    if (is_assignment || (!has_word && !words.contains(".vmdk"))) return std::nullopt;
  }
  FoundLine found{.index = index, .parsed = std::move(parsed), .file = {}};
  if (const std::size_t quote = line.find('"'); quote != std::string::npos)
    found.file = quoted_name(std::string_view(line).substr(quote)).value_or(line.substr(quote + 1));
  return found;
}

class Rebuild {
 public:
  Rebuild(const File& file, FileSystem& files, const OpenPolicy& policy, PlacedText& placed,
          RepairPlan& plan)
      : file_(file),
        files_(files),
        policy_(policy),
        placed_(placed),
        plan_(plan),
        geometry_(placed.text),
        lines_(split_lines(placed.text)) {}

  Status run() {
    if (!may_be_known_kind()) return {};
    find_extent_lines();
    if (!name_files()) return {};
    if (!settle_extents()) return {};
    write_extents();
    settle_header();
    return finish();
  }

 private:
  // One extent as it should be.
  struct Extent {
    std::string file;
    ExtentFacts facts;
    const FoundLine* line = nullptr;  // null: it is lost
    std::string text;
  };

  [[nodiscard]] bool is_embedded() const { return placed_.offset != 0; }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] std::string create_type() const {
    return std::string(value_of(join_lines(lines_), "createType").value_or(""));
  }

  void doubt(std::string message) {
    plan_.doubts.push_back(
        fail(ErrorKind::corrupt, path(), placed_.offset, std::move(message)).error());
  }

  // Disks put together by hand, devices and kinds that are not read are for people.
  [[nodiscard]] bool may_be_known_kind() const {
    const std::string type = lower(create_type());
    return type != "custom" && !type.contains("device") && !type.contains("raw") &&
           !type.contains("rdm") && !type.contains("sesparse") && !type.contains("vsan");
  }

  void find_extent_lines() {
    for (std::size_t i = 0; i < lines_.size(); ++i)
      if (std::optional<FoundLine> found = extent_in(lines_[i].text, i))
        found_.push_back(*std::move(found));
  }

  Result<std::unique_ptr<File>> open_named(const std::string& name) const {
    const std::string encoding(value_of(placed_.text, "encoding").value_or(""));
    return open_with_encoding(files_, policy_, path(), {name, encoding}, OpenMode::read);
  }

  // Which files the disk has, in order. False: that is not known.
  bool name_files() {
    if (is_embedded()) {
      Result<ExtentFacts> facts = read_extent_facts(file_);
      // Where the header is lost, nothing tells what the descriptor should say.
      if (!facts || facts->type != "SPARSE" || found_.size() > 1) return false;
      const std::string name =
          found_.empty() || found_.front().file.empty() ? name_of(path()) : found_.front().file;
      extents_.push_back({name, *std::move(facts), found_.empty() ? nullptr : found_.data(), {}});
      return true;
    }
    for (const FoundLine& line : found_)
      if (line.parsed && line.parsed->type == "ZERO" && line.file.empty()) return false;
    std::vector<std::string> names = numbered_names();
    if (names.empty()) names = named_files();
    if (names.size() < distinct_names()) return false;
    for (const std::string& name : names) {
      const Result<std::unique_ptr<File>> file = open_named(name);
      if (!file) return false;
      Result<ExtentFacts> facts = read_extent_facts(**file);
      if (!facts) return false;
      const auto line = std::ranges::find(found_, name, &FoundLine::file);
      extents_.push_back({name, *std::move(facts), line == found_.end() ? nullptr : &*line, {}});
    }
    return !extents_.empty();
  }

  // Of the files that the lines name. Where there are not as many, some are missing.
  [[nodiscard]] std::size_t distinct_names() const {
    std::set<std::string> names;
    for (const FoundLine& line : found_)
      if (!line.file.empty()) names.insert(line.file);
    return names.size();
  }

  // Those of a split disk: all that are there, from 1 on.
  [[nodiscard]] std::vector<std::string> numbered_names() const {
    for (const FoundLine& line : found_)
      if (!name_after(line.file).empty()) return names_from(first_number(line.file));
    if (!found_.empty()) return {};
    for (const std::string_view end : {"-s001.vmdk", "-f001.vmdk"})
      if (std::vector<std::string> names = names_from(stem() + std::string(end)); !names.empty())
        return names;
    return {};
  }

  [[nodiscard]] std::vector<std::string> names_from(std::string name) const {
    std::vector<std::string> names;
    for (; open_named(name); name = name_after(name)) names.push_back(name);
    return names;
  }

  // Empty: the name has no number.
  static std::string name_after(const std::string& name) {
    Descriptor one;
    one.extents.emplace_back().file = name;
    return name_after_last(one);
  }

  [[nodiscard]] std::string stem() const {
    std::string stem = name_of(path());
    if (lower(stem).ends_with(".vmdk")) stem.resize(stem.size() - std::string_view(".vmdk").size());
    return stem;
  }

  // "disk-s003.vmdk" of "disk-s001.vmdk".
  static std::string first_number(std::string name) {
    const std::size_t end = std::min(name.find_last_of('.'), name.size());
    std::size_t begin = end;
    while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') name[--begin] = '0';
    name[end - 1] = '1';
    return name;
  }

  // Those of other disks: what the lines name, or what this one's file would be called.
  [[nodiscard]] std::vector<std::string> named_files() const {
    std::vector<std::string> names;
    for (const FoundLine& line : found_)
      if (!line.file.empty() && std::ranges::find(names, line.file) == names.end() &&
          open_named(line.file))
        names.push_back(line.file);
    if (!names.empty() || found_.size() > 1) return names;
    for (const std::string_view end : {"-flat.vmdk", "-delta.vmdk"})
      if (open_named(stem() + std::string(end))) names.push_back(stem() + std::string(end));
    if (names.size() > 1) names.clear();
    return names;
  }

  // Says for each extent what its line should be. False: it is not known.
  bool settle_extents() {
    for (Extent& extent : extents_) {
      const ExtentLine* old =
          extent.line != nullptr && extent.line->parsed ? &*extent.line->parsed : nullptr;
      ExtentLine line;
      if (old != nullptr) line = *old;
      line.file = extent.file;
      line.type = type_of(extent, old);
      const bool flat = line.type == "FLAT" || line.type == "VMFS";
      if (!flat || line.offset_sectors + line.sectors > extent.facts.sectors)
        line.offset_sectors = 0;
      if (line.access == Access::none) line.access = Access::read_write;
      if (old == nullptr) {
        line.sectors = extent.facts.sectors;
        guessed_ = true;
      } else if (!is_size_of(*old, extent.facts)) {
        const SizeVote vote =
            vote_on_size(extent.facts, old->sectors, sectors_but(extent), geometry_);
        if (vote == SizeVote::descriptor) continue;
        if (vote == SizeVote::undecided) {
          // A file that is too short is for others to report.
          if (flat && old->sectors > extent.facts.sectors) continue;
          doubt(
              fmt::format("says that {} has {} sectors, and the file says {}: one of them is "
                          "damaged, and nothing tells which",
                          extent.file, old->sectors, extent.facts.sectors));
          return false;
        }
        line.sectors = extent.facts.sectors;
      }
      const bool same = old != nullptr && old->sectors == line.sectors && old->type == line.type &&
                        old->access == line.access && old->offset_sectors == line.offset_sectors;
      if (!same) extent.text = extent_text(line);
    }
    // A size that only the file tells may be that of a file that was cut short.
    const std::optional<bool> right = geometry_.is_of(sectors_but({}));
    return !guessed_ || right.value_or(true);
  }

  static bool is_size_of(const ExtentLine& line, const ExtentFacts& facts) {
    return line.sectors == facts.sectors || (line.sectors != 0 && facts.grain_sectors > 1 &&
                                             align_up(line.sectors, facts.grain_sectors) ==
                                                 align_up(facts.sectors, facts.grain_sectors));
  }

  std::string type_of(const Extent& extent, const ExtentLine* old) const {
    if (extent.facts.type != "FLAT") return extent.facts.type;
    if (old != nullptr && (old->type == "FLAT" || old->type == "VMFS")) return old->type;
    return lower(create_type()).starts_with("vmfs") ? "VMFS" : "FLAT";
  }

  // Of all extents but this one, by their files.
  [[nodiscard]] std::uint64_t sectors_but(const Extent& one) const {
    std::uint64_t sum = 0;
    for (const Extent& extent : extents_)
      if (&extent != &one) sum += extent.facts.sectors;
    return sum;
  }

  // Leaves lines alone that are right, in their order.
  void write_extents() {
    bool in_order = found_.size() == extents_.size();
    for (std::size_t i = 0; in_order && i < found_.size(); ++i)
      in_order = extents_[i].line == nullptr || extents_[i].line == &found_[i];
    if (in_order) {
      for (std::size_t i = 0; i < found_.size(); ++i)
        if (!extents_[i].text.empty()) replace_line(found_[i].index, extents_[i].text);
      return;
    }
    std::vector<TextLine> fresh;
    fresh.reserve(extents_.size());
    for (const Extent& extent : extents_)
      fresh.push_back({extent.text.empty() ? lines_[extent.line->index].text : extent.text,
                       lines_.empty() || lines_.front().end.empty() ? "\n" : lines_.front().end});
    const std::size_t at = found_.empty() ? place_for_extents() : found_.front().index;
    for (std::size_t i = found_.size(); i-- > 0;)
      lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(found_[i].index));
    // qemu takes an extent line behind an empty one twice.
    if (at == 0 || lines_[at - 1].text.empty())
      fresh.insert(fresh.begin(), {"# Extent description", fresh.front().end});
    lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(at), fresh.begin(), fresh.end());
    said_ = "extent lines";
  }

  void replace_line(std::size_t index, const std::string& text) {
    said_ = fmt::format("extent line '{}' instead of '{}'", text, lines_[index].text);
    lines_[index].text = text;
  }

  [[nodiscard]] std::size_t place_for_extents() const {
    for (std::size_t i = 0; i < lines_.size(); ++i)
      if (lower(lines_[i].text).starts_with("# extent desc")) return i + 1;
    for (std::size_t i = 0; i < lines_.size(); ++i)
      if (lower(lines_[i].text).starts_with("ddb.")) return i;
    return lines_.size();
  }

  // Header lines that follow from what is there.
  void settle_header() {
    std::string text = join_lines(lines_);
    const std::string before = text;
    settle_version(text);
    settle_content_id(text);
    settle_create_type(text);
    if (text != before) said_ += said_.empty() ? "header lines" : " and header lines";
    rebuilt_ = std::move(text);
  }

  static void settle_version(std::string& text) {
    const std::optional<std::string_view> value = value_of(text, "version");
    if (value && *value != "1" && *value != "2" && *value != "3")
      text = with_value(text, "version", "1").value_or(text);
  }

  static bool is_id(const std::optional<std::string_view>& value) {
    return value && !value->empty() && value->size() <= 8 &&
           value->find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  }

  // The long content ID ends in the short one.
  static void settle_content_id(std::string& text) {
    constexpr std::size_t kDigits = 8;
    const std::optional<std::string_view> value = value_of(text, "CID");
    const std::optional<std::string_view> known = value_of(text, "ddb.longContentID");
    if (!value || is_id(value) || !known || known->size() < kDigits) return;
    const std::string tail(known->substr(known->size() - kDigits));
    if (is_id(tail)) text = with_value(text, "CID", tail).value_or(text);
  }

  void settle_create_type(std::string& text) const {
    if (const Result<Descriptor> parsed = parse_descriptor(text, path(), placed_.offset)) {
      const Status fits = check_create_type(*parsed, path(), placed_.offset);
      const bool damaged = parsed->create_type.empty() || !fits;
      if (!damaged && (!is_embedded() || fits_header(parsed->create_type))) return;
    } else if (value_of(text, "createType").value_or("") != "") {
      return;
    }
    const std::string type = usual_type();
    if (std::optional<std::string> changed = with_value(text, "createType", type)) {
      text = *std::move(changed);
      return;
    }
    // Behind the parent's content ID, as every writer has it.
    const std::size_t key = lower(text).find("parentcid");
    const std::size_t line = text.find('\n', key == std::string::npos ? 0 : key);
    if (line != std::string::npos) text.insert(line + 1, fmt::format("createType=\"{}\"\n", type));
  }

  [[nodiscard]] bool fits_header(const std::string& create_type) const {
    return (lower(create_type) == "streamoptimized") <= extents_.front().facts.compressed;
  }

  [[nodiscard]] std::string usual_type() const {
    const Extent& first = extents_.front();
    if (is_embedded()) return first.facts.compressed ? "streamOptimized" : "monolithicSparse";
    if (first.facts.type == "SPARSE") return "twoGbMaxExtentSparse";
    if (first.facts.type == "VMFSSPARSE") return "vmfsSparse";
    const bool vmfs =
        first.line != nullptr && first.line->parsed && first.line->parsed->type == "VMFS";
    if (vmfs) return "vmfs";
    return first.file.ends_with("-flat.vmdk") ? "monolithicFlat" : "twoGbMaxExtentFlat";
  }

  Status finish() {
    if (rebuilt_ == placed_.text) return {};
    const Result<Descriptor> parsed = parse_descriptor(rebuilt_, path(), placed_.offset);
    if (!parsed || !check_create_type(*parsed, path(), placed_.offset)) return {};
    GM_TRY(std::optional<FilePatch> patch, patch_for_text());
    if (!patch) {
      doubt("the descriptor can be put right, but there is no room for the longer text");
      return {};
    }
    plan_.corrections.push_back({path(), *std::move(patch),
                                 fmt::format("descriptor: {}, by the files that it names", said_)});
    placed_.text = rebuilt_;
    return {};
  }

  // From the first byte that differs on; a text that gets shorter leaves blank lines, or inside an
  // extent zeros.
  Result<std::optional<FilePatch>> patch_for_text() const {
    std::string after = rebuilt_;
    if (after.size() < placed_.text.size())
      after.resize(placed_.text.size(), is_embedded() ? '\0' : '\n');
    if (is_embedded() && after.size() > placed_.text.size()) {
      GM_TRY(const bool fits, has_room(after.size()));
      if (!fits) return std::nullopt;
    }
    const auto same =
        static_cast<std::size_t>(std::ranges::mismatch(placed_.text, after).in2 - after.begin());
    FilePatch patch{placed_.offset + same, {}};
    const auto rest = std::as_bytes(std::span(after).subspan(same));
    patch.bytes.assign(rest.begin(), rest.end());
    return patch;
  }

  [[nodiscard]] Result<bool> has_room(std::size_t length) const {
    const std::size_t sectors = ceil_div(placed_.text.size(), kSectorBytes) * kSectorBytes;
    std::vector<std::byte> behind(std::max(length, sectors) - placed_.text.size());
    GM_CHECK(file_.read_exact_at(placed_.offset + placed_.text.size(), behind));
    return length < sectors &&
           std::ranges::all_of(behind, [](std::byte byte) { return byte == std::byte{0}; });
  }

  const File& file_;
  FileSystem& files_;
  const OpenPolicy& policy_;
  PlacedText& placed_;
  RepairPlan& plan_;
  StatedGeometry geometry_;
  std::vector<TextLine> lines_;
  std::vector<FoundLine> found_;
  std::vector<Extent> extents_;
  bool guessed_ = false;  // a size that only the file tells
  std::string said_;
  std::string rebuilt_;
};

}  // namespace

Status rebuild_descriptor(const File& file, FileSystem& files, const OpenPolicy& policy,
                          PlacedText& placed, RepairPlan& plan) {
  return Rebuild(file, files, policy, placed, plan).run();
}

}  // namespace grainmill::vmdk
