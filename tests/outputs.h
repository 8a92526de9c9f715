// SPDX-License-Identifier: Apache-2.0
//
// The kinds of disk that can be written. A new one joins with one line of outputs(): it then goes
// through all tests of writers.
#pragma once

#include "tests/conversion.h"

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {

struct Output {
  std::string name;
  std::string format = "vmdk";
  std::string settings{};  // as after -o
  bool compress = false;
  std::string level{};
  std::string mark{};  // of the first of its extents' names; none: all is in one file
  bool sparse = true;  // what is zero takes no room, not even as a hole

  bool is_vmdk() const { return format == "vmdk"; }
  bool is_qcow2() const { return format == "qcow2"; }
  bool is_raw() const { return format == "raw"; }
  bool is_stream() const { return is_vmdk() && compress; }
  // One file with grain tables in front: what programs read that do not know descriptors.
  bool is_hosted_sparse() const { return is_vmdk() && sparse && !compress; }
};

std::vector<Output> outputs();
// REQUIRES: there is one of this name.
Output output_named(std::string_view name);

inline std::ostream& operator<<(std::ostream& out, const Output& output) {
  return out << output.name;
}

// The file to open of an output NAME in `folder`.
std::filesystem::path output_path(const Output& output, const std::filesystem::path& folder,
                                  const std::string& name = "out");
// All files that it leaves, with its manifest, sorted. REQUIRES: a disk of less than 2047 MiB.
std::vector<std::string> output_names(const Output& output, const std::string& name = "out");

// A conversion of `source` to this output.
ConvertOptions convert_options(const std::filesystem::path& source, const Output& output,
                               const std::filesystem::path& folder);
// The same for the program: from "convert" on, without source and output.
std::vector<std::string> convert_arguments(const Output& output);

// To read it back.
DiskOptions disk_options(const Output& output);

// The bytes of a file of one, with what a conversion makes up blotted out of a VMDK's descriptor.
std::vector<std::byte> without_random_numbers(std::vector<std::byte> bytes);

// Opens an output with the format it should have, has all its tables checked, and EXPECTs it to
// hold these bytes.
void expect_disk_holds(const std::filesystem::path& path, const Output& output,
                       const std::vector<std::byte>& want);

}  // namespace grainmill::testing
