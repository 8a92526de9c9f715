// SPDX-License-Identifier: Apache-2.0
#include "tests/support/descriptor_text.h"

#include "tests/support/little_endian.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace grainmill::testing {
namespace {

std::string in_case(std::string text, TextCase wanted) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (wanted == TextCase::upper) c = static_cast<char>(std::toupper(byte));
    if (wanted == TextCase::lower) c = static_cast<char>(std::tolower(byte));
  }
  return text;
}

const char* type_word(ExtentType type) {
  switch (type) {
    case ExtentType::sparse:
      return "SPARSE";
    case ExtentType::vmfs_sparse:
      return "VMFSSPARSE";
    case ExtentType::flat:
      return "FLAT";
    case ExtentType::vmfs:
      return "VMFS";
    case ExtentType::zero:
      return "ZERO";
  }
  return "?";
}

// Collects lines in the form that the options ask for.
class Text {
 public:
  explicit Text(const DescriptorOptions& options) : options_(options) {}

  void line(const std::string& text) {
    text_ += text;
    if (options_.trailing_blanks) text_ += "  ";
    text_ += options_.crlf ? "\r\n" : "\n";
  }
  void header(const char* key, const std::string& value) {
    line(in_case(key, options_.keys) + (options_.blanks_around_equals ? " = " : "=") + value);
  }
  void ddb(const std::string& key, const std::string& value) {
    line(in_case("ddb." + key, options_.keys) + " = \"" + value + "\"");
  }
  void section_break() {
    if (options_.blank_lines) line("");
  }
  std::string take() { return std::move(text_); }

 private:
  const DescriptorOptions& options_;
  std::string text_;
};

void add_header(Text& text, const DescriptorFacts& facts, const DescriptorOptions& options) {
  text.line("# Disk DescriptorFile");
  text.header("version", std::to_string(options.version));
  if (options.encoding) text.header("encoding", '"' + *options.encoding + '"');
  text.header("CID", fmt::format("{:08x}", facts.cid));
  text.header("parentCID", fmt::format("{:08x}", facts.parent_cid));
  if (!facts.parent_hint.empty()) text.header("parentFileNameHint", '"' + facts.parent_hint + '"');
  text.header("createType", '"' + facts.create_type + '"');
  for (const std::string& line : options.extra_header_lines) text.line(line);
}

std::string extent_line(const ExtentLine& extent, TextCase words) {
  std::string line =
      fmt::format("{} {} {}", in_case(extent.access, words), extent.size_bytes / kSectorSize,
                  in_case(type_word(extent.type), words));
  if (!extent.file_name.empty()) line += " \"" + extent.file_name + '"';
  if (extent.type == ExtentType::flat) line += ' ' + std::to_string(extent.flat_offset_sectors);
  return line;
}

void add_database(Text& text, const DescriptorFacts& facts, const DescriptorOptions& options) {
  constexpr std::uint64_t kHeads = 255;
  constexpr std::uint64_t kSectors = 63;
  const std::uint64_t cylinders = facts.size_bytes / kSectorSize / (kHeads * kSectors);
  text.line("# The Disk Data Base");
  text.line("#DDB");
  text.section_break();
  text.ddb("adapterType", "lsilogic");
  text.ddb("geometry.cylinders", std::to_string(std::min<std::uint64_t>(cylinders, 65535)));
  text.ddb("geometry.heads", std::to_string(kHeads));
  text.ddb("geometry.sectors", std::to_string(kSectors));
  text.ddb("longContentID",
           fmt::format("{:016x}{:08x}{:08x}", mix(facts.cid), facts.parent_cid, facts.cid));
  text.ddb("virtualHWVersion", "4");
  for (const std::string& line : options.extra_ddb_lines) text.line(line);
}

}  // namespace

std::string descriptor_text(const DescriptorFacts& facts, const DescriptorOptions& options) {
  Text text(options);
  add_header(text, facts, options);
  text.section_break();
  text.line("# Extent description");
  for (const ExtentLine& extent : facts.extents) {
    for (int i = 0; i < options.blank_lines_before_extents; ++i) text.line("");
    text.line(extent_line(extent, options.extent_words));
  }
  text.section_break();
  add_database(text, facts, options);
  return options.edit ? options.edit(text.take()) : text.take();
}

}  // namespace grainmill::testing
