// SPDX-License-Identifier: Apache-2.0
#include "tests/support/reference_file.h"

#include <cctype>
#include <sstream>

namespace grainmill::testing {

namespace fs = std::filesystem;

ReferenceFile::ReferenceFile(const fs::path& path) : path_(path), stream_(path, std::ios::binary) {
  require(fs::is_regular_file(path) && stream_.good(), path, "cannot be opened");
  size_ = fs::file_size(path);
}

void ReferenceFile::read(std::uint64_t offset, std::span<std::byte> out) {
  require(offset <= size_ && out.size() <= size_ - offset, path_, "points past its end");
  stream_.seekg(static_cast<std::streamoff>(offset));
  stream_.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
  require(stream_.good(), path_, "cannot be read");
}

std::vector<std::byte> ReferenceFile::read(std::uint64_t offset, std::uint64_t length) {
  require(length <= size_, path_, "points past its end");  // before any memory is taken
  std::vector<std::byte> bytes(length);
  read(offset, bytes);
  return bytes;
}

namespace {

constexpr const char* kBlanks = " \t\r";
constexpr const char* kBlanksAndQuotes = " \t\r\"";

std::string trimmed(const std::string& text, const char* unwanted) {
  const std::size_t first = text.find_first_not_of(unwanted);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(unwanted) - first + 1);
}

std::string in_case(std::string text, int (*convert)(int)) {
  for (char& c : text) c = static_cast<char>(convert(static_cast<unsigned char>(c)));
  return text;
}

// ACCESS SIZE TYPE ["FILE" [OFFSET]]; false if the line is something else.
bool parse_extent(const std::string& line, ReferenceDescriptor::ExtentLine& extent) {
  std::istringstream words(line);
  words >> extent.access >> extent.sectors >> extent.type;
  if (!words) return false;
  extent.access = in_case(extent.access, std::toupper);
  extent.type = in_case(extent.type, std::toupper);
  const std::size_t open = line.find('"');
  if (open == std::string::npos) return true;
  const std::size_t close = line.find('"', open + 1);
  if (close == std::string::npos) return false;
  extent.file_name = line.substr(open + 1, close - open - 1);
  std::istringstream(line.substr(close + 1)) >> extent.offset_sectors;
  return true;
}

}  // namespace

std::string ReferenceDescriptor::value(const std::string& key) const {
  const auto found = values.find(key);
  return found == values.end() ? "" : found->second;
}

std::uint32_t ReferenceDescriptor::cid(const char* key) const {
  const std::string text = value(key);
  const bool is_hex = text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  require(!text.empty() && text.size() <= 8 && is_hex, path, "has no sound CID or parentCID");
  return static_cast<std::uint32_t>(std::stoul(text, nullptr, 16));
}

ReferenceDescriptor ReferenceDescriptor::parse(std::span<const std::byte> bytes,
                                               const fs::path& path) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::istringstream lines(text.substr(0, text.find('\0')));
  ReferenceDescriptor descriptor;
  descriptor.path = path;
  for (std::string line; std::getline(lines, line);) {
    line = trimmed(line, kBlanks);
    if (line.empty() || line[0] == '#') continue;
    ExtentLine extent;
    const std::size_t equals = line.find('=');
    if (parse_extent(line, extent)) {
      descriptor.extents.push_back(extent);
      continue;
    }
    require(equals != std::string::npos, path, "has a descriptor line that is nothing known");
    const std::string key = in_case(trimmed(line.substr(0, equals), kBlanks), std::tolower);
    const std::string value = trimmed(line.substr(equals + 1), kBlanksAndQuotes);
    const bool fresh = descriptor.values.emplace(key, value).second;
    require(fresh, path, "has a descriptor key twice");
  }
  const std::string version = descriptor.value("version");
  require(version == "1" || version == "2" || version == "3", path, "has an unknown version");
  require(!descriptor.extents.empty(), path, "has no extents");
  return descriptor;
}

}  // namespace grainmill::testing
