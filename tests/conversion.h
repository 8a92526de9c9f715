// SPDX-License-Identifier: Apache-2.0
//
// Conversions as end-to-end tests make them: in a folder of their own, nothing synced, few threads.
#pragma once

#include "pipeline/convert.h"
#include "pipeline/verify.h"

#include <cstddef>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {

// GoogleTest prints errors by these.
inline std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << error_kind_name(error.kind) << ": " << error.to_string();
}
inline std::ostream& operator<<(std::ostream& out, ErrorKind kind) {
  return out << error_kind_name(kind);
}

}  // namespace grainmill

namespace grainmill::testing {

// Options for a conversion of `source` to `output`, with the manifest under its default name.
ConvertOptions convert_options(const std::filesystem::path& source,
                               const std::filesystem::path& output);

// What verify() returned and what it reported on the way.
struct Verification {
  Result<VerifyReport> report;
  std::vector<Difference> differences;

  bool same() const { return report && report->same() && differences.empty(); }
};
Verification verify_image(const std::filesystem::path& image, const std::filesystem::path& manifest,
                          const DiskOptions& disk = {}, FileSystem& files = posix_file_system());

// Prints what did not fit.
std::ostream& operator<<(std::ostream& out, const Verification& verification);

// The names in a folder, sorted.
std::vector<std::string> names_in(const std::filesystem::path& folder);

// Makes or replaces a file.
void write_file(const std::filesystem::path& path, std::string_view content);

// EXPECTs equal bytes; a failure names the first offset that differs, not megabytes.
void expect_same_bytes(const std::vector<std::byte>& got, const std::vector<std::byte>& want);

// EXPECTs two raw disks to hold the same. Where neither stores anything, nothing is read, so that
// terabytes of holes take no time.
void expect_same_disks(const std::filesystem::path& got, const std::filesystem::path& want);

}  // namespace grainmill::testing
