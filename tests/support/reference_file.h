// SPDX-License-Identifier: Apache-2.0
//
// Inside the reference reader: files that refuse to be read past their end, and descriptor text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace grainmill::testing {

// Throws std::runtime_error that begins with the path.
inline void require(bool condition, const std::filesystem::path& path, const char* what) {
  if (!condition) throw std::runtime_error(path.string() + ": " + what);
}

class ReferenceFile {
 public:
  explicit ReferenceFile(const std::filesystem::path& path);

  void read(std::uint64_t offset, std::span<std::byte> out);
  std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length);
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }

 private:
  std::filesystem::path path_;
  std::ifstream stream_;
  std::uint64_t size_ = 0;
};

struct ReferenceDescriptor {
  struct ExtentLine {
    std::string access;  // upper case, as is the type
    std::uint64_t sectors = 0;
    std::string type;
    std::string file_name;
    std::uint64_t offset_sectors = 0;
  };
  std::map<std::string, std::string> values;  // keys in lower case, values without quotes
  std::vector<ExtentLine> extents;

  std::string value(const std::string& key) const;  // empty if there is none
  std::uint32_t cid(const char* key) const;         // `key`: cid or parentcid
  std::filesystem::path path;                       // for messages

  // `bytes` end with the text or with a NUL after it.
  static ReferenceDescriptor parse(std::span<const std::byte> bytes,
                                   const std::filesystem::path& path);
};

}  // namespace grainmill::testing
