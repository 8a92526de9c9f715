// SPDX-License-Identifier: Apache-2.0
//
// A folder for one test, removed with all it holds.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace grainmill::testing {

// Under TEST_TMPDIR where the test runner sets it, else in the system's folder for temporary files.
class TempDir {
 public:
  TempDir() {
    const char* base = std::getenv("TEST_TMPDIR");
    const std::filesystem::path parent =
        base != nullptr ? std::filesystem::path(base) : std::filesystem::temp_directory_path();
    std::string name = (parent / "grainmill-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "mkdtemp " + name);
    }
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace grainmill::testing
