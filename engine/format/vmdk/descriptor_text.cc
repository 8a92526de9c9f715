// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_text.h"

#include "engine/format/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>

namespace grainmill::vmdk {
namespace {

constexpr std::uint32_t kNotSetYet = 0xfffffffeU;

const char* access_word(Access access) {
  switch (access) {
    case Access::read_write:
      return "RW";
    case Access::read_only:
      return "RDONLY";
    case Access::none:
      return "NOACCESS";
  }
  return "RW";
}

// qemu renews a content ID by replacing all between "CID=" and "parentCID": nothing may stand
// there.
std::string header_text(const Descriptor& descriptor) {
  std::string text = "# Disk DescriptorFile\nversion=1\n";
  text +=
      fmt::format("encoding=\"{}\"\n", descriptor.encoding.empty() ? "UTF-8" : descriptor.encoding);
  text += fmt::format("CID={:08x}\nparentCID={:08x}\ncreateType=\"{}\"\n",
                      descriptor.content_id.value_or(kNotSetYet),
                      descriptor.parent_content_id.value_or(kNoContentId), descriptor.create_type);
  if (!descriptor.parent_hint.empty())
    text += fmt::format("parentFileNameHint=\"{}\"\n", descriptor.parent_hint);
  return text;
}

std::string database_text(const DiskDatabase& database) {
  std::string text = "# The Disk Data Base\n#DDB\n\n";
  const auto add = [&text](std::string_view key, const auto& value) {
    const std::string shown = fmt::format("{}", value);
    if (!shown.empty()) text += fmt::format("ddb.{} = \"{}\"\n", key, shown);
  };
  add("adapterType", database.adapter_type);
  add("geometry.cylinders", database.geometry.cylinders);
  add("geometry.heads", database.geometry.heads);
  add("geometry.sectors", database.geometry.sectors);
  add("longContentID", database.long_content_id);
  if (database.thin_provisioned) add("thinProvisioned", 1);
  add("toolsVersion", database.tools_version);
  add("uuid", database.uuid);
  add("virtualHWVersion", database.hardware_version);
  return text;
}

}  // namespace

std::string extent_text(const ExtentLine& extent) {
  std::string text =
      fmt::format("{} {} {}", access_word(extent.access), extent.sectors, extent.type);
  if (!extent.file.empty()) text += fmt::format(" \"{}\"", extent.file);
  // qemu refuses a FLAT line without an offset, and a VMFS line with one.
  if (extent.type == "FLAT" || extent.offset_sectors != 0)
    text += fmt::format(" {}", extent.offset_sectors);
  return text;
}

std::string descriptor_text(const Descriptor& descriptor, const DiskDatabase& database) {
  std::string text = header_text(descriptor);
  // An empty line right before an extent makes qemu count that extent twice.
  text += "\n# Extent description\n";
  for (const ExtentLine& extent : descriptor.extents) text += extent_text(extent) + '\n';
  return text + '\n' + database_text(database);
}

bool may_be_quoted(std::string_view text) {
  return std::ranges::none_of(
      text, [](char c) { return c == '"' || c == '\x7f' || static_cast<unsigned char>(c) < 0x20; });
}

RandomSource system_random() {
  // Shared, because what a std::function holds is copied.
  return [device = std::make_shared<std::random_device>()] { return (*device)(); };
}

std::uint32_t random_content_id(const RandomSource& random) {
  std::uint32_t id = random();
  while (id == kNoContentId || id == kNotSetYet) id = random();
  return id;
}

std::string random_long_content_id(const RandomSource& random, std::uint32_t content_id) {
  std::string digits;
  for (int i = 0; i < 3; ++i) digits += fmt::format("{:08x}", random());
  return digits + fmt::format("{:08x}", content_id);
}

std::string random_uuid(const RandomSource& random) {
  std::array<std::uint32_t, 16> bytes{};
  for (std::uint32_t& byte : bytes) byte = random() & 0xff;
  bytes[0] = 0x60;
  bytes[1] = 0x00;
  bytes[2] = 0xc2;
  bytes[3] = 0x90 | (bytes[3] & 0x0f);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i != 0) text += i == 8 ? '-' : ' ';
    text += fmt::format("{:02x}", bytes.at(i));
  }
  return text;
}

}  // namespace grainmill::vmdk
