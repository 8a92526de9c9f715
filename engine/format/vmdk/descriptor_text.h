// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/geometry.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace grainmill::vmdk {

// The disk data base at the end of a descriptor: what virtual machines are told of the disk. Fields
// that are empty are left out.
struct DiskDatabase {
  std::string adapter_type = "ide";
  Geometry geometry;
  std::uint32_t hardware_version = 4;        // every product opens a disk of version 4
  std::uint32_t tools_version = 2147483647;  // VMware Tools are not VMware's to manage
  std::string uuid;
  std::string long_content_id;
  bool thin_provisioned = false;
};

// A descriptor as VMware's tools write it. parse_descriptor() gives `descriptor` back; its version
// is written as 1, and its text offsets do not matter. REQUIRES: may_be_quoted() for every text.
[[nodiscard]] std::string descriptor_text(const Descriptor& descriptor,
                                          const DiskDatabase& database);

// One extent line, without its end.
[[nodiscard]] std::string extent_text(const ExtentLine& extent);

// Whether a text can stand between quotes in a descriptor, which knows no escapes.
[[nodiscard]] bool may_be_quoted(std::string_view text);

// 32 random bits a call.
using RandomSource = std::function<std::uint32_t()>;

// The operating system's.
[[nodiscard]] RandomSource system_random();

// A content ID that means nothing else: ffffffff is "no parent", fffffffe "not set yet".
[[nodiscard]] std::uint32_t random_content_id(const RandomSource& random);

// A ddb.longContentID that goes with this content ID: its last 8 digits.
[[nodiscard]] std::string random_long_content_id(const RandomSource& random,
                                                 std::uint32_t content_id);

// A ddb.uuid, with the bytes in front that VMware's disks have.
[[nodiscard]] std::string random_uuid(const RandomSource& random);

}  // namespace grainmill::vmdk
