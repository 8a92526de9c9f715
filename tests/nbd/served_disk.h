// SPDX-License-Identifier: Apache-2.0
//
// What the tests of served disks share: disks to write to, the stress client, and everything that
// must be true of an image once nobody writes to it any more.
#pragma once

#include "tests/support/run_command.h"
#include "tests/support/vmdk_builder.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace grainmill::testing {

// A chain of which the top is to be written.
struct WritableCase {
  std::string name;
  std::vector<LinkOptions> links;  // base first; the last serves for all further ones
  std::size_t depth = 1;
  bool is_new = false;  // the top stores nothing yet

  bool is_raw() const { return links.front().kind == Kind::raw; }
};

inline std::ostream& operator<<(std::ostream& out, const WritableCase& test) {
  return out << test.name;
}

class ServedDisk {
 public:
  // Builds the chain in `folder`, each link with contents of its own, and its raw copy.
  ServedDisk(const std::filesystem::path& folder, const WritableCase& test,
             std::uint64_t size_bytes);

  std::filesystem::path path() const { return built_.path(); }
  std::filesystem::path shadow() const { return folder_ / "shadow.raw"; }
  // For the plugin.
  std::vector<std::string> parameters() const;

  // EXPECTs the image to be sound, closed cleanly, and to hold what the shadow holds, by us, by the
  // reference reader and by qemu; the parents are what they were, the content ID is not.
  void expect_written_well() const;
  // EXPECTs the image to open and to be sound, and copies it to `raw`.
  void expect_sound(const std::filesystem::path& raw) const;

 private:
  std::string parent_digests() const;
  std::optional<std::uint32_t> content_id() const;
  void expect_qemu_agrees() const;

  std::filesystem::path folder_;
  BuiltDisk built_;
  bool is_raw_;
  bool is_sparse_;
  std::string digests_before_;
  std::optional<std::uint32_t> content_id_before_;
};

// Debian's Python with libnbd. Whatever other Python is on PATH does not have it.
inline constexpr const char* kPython = "/usr/bin/python3";
bool has_stress_client();
// stress.py ARGUMENTS...
CommandResult run_stress(const std::vector<std::string>& arguments, double seconds = 0);

}  // namespace grainmill::testing
