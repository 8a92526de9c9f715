// SPDX-License-Identifier: Apache-2.0
//
// What conformance tests go through: the ways to store a disk that are read, and disks to store. A
// new variant joins with one line of variants().
#pragma once

#include "engine/disk/disk.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/vmdk_builder.h"

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace grainmill::testing {

// How a disk is stored: the links from the base up; the last serves for all further ones.
struct Variant {
  std::string name;
  std::vector<LinkOptions> links;
  std::vector<Qcow2Options> qcow2{};  // in place of links

  bool is_qcow2() const { return !qcow2.empty(); }
  bool is_raw() const { return !is_qcow2() && links[0].kind == Kind::raw; }
  // Nothing says that a raw file has a parent.
  bool has_chains() const { return !is_raw(); }
};

struct NamedLayout {
  std::string name;
  std::string text;
};

std::vector<Variant> variants();
std::vector<NamedLayout> layouts();
std::vector<NamedLayout> chain_layouts();
// Those that a variant can hold.
std::vector<NamedLayout> layouts_of(const Variant& variant);

// GoogleTest prints by these.
inline std::ostream& operator<<(std::ostream& out, const Variant& variant) {
  return out << variant.name;
}
inline std::ostream& operator<<(std::ostream& out, const NamedLayout& layout) {
  return out << layout.name;
}

// Stores a layout as NAME in `folder`. Of a qcow2 disk, only the paths are told.
BuiltDisk build_variant(const std::filesystem::path& folder, const std::string& name,
                        const Layout& layout, const Variant& variant);

// To open it: a raw disk must be said to be one.
DiskOptions disk_options(const Variant& variant);

}  // namespace grainmill::testing
