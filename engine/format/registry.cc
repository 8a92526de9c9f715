// SPDX-License-Identifier: Apache-2.0
#include "engine/format/format.h"
#include "engine/format/qcow2/open.h"
#include "engine/format/qcow2/sink.h"
#include "engine/format/raw/open.h"
#include "engine/format/raw/sink.h"
#include "engine/format/strangers.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_repair.h"
#include "engine/format/vmdk/open.h"
#include "engine/format/vmdk/options.h"
#include "engine/format/vmdk/repair.h"
#include "engine/format/vmdk/sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {
namespace {

// The one table of formats. A new format is a folder beside this file and a line here.
const std::array<Format, 3> kFormats = {{
    {"vmdk", "VMware virtual disk, any kind, with its snapshots", &vmdk::probe, &vmdk::open,
     &vmdk::make_sink, &vmdk::plan_repair, &vmdk::plan_parent_id, vmdk::kSettingsHelp, true},
    {"qcow2", "QEMU's disk image, version 2 or 3, with its backing files", &qcow2::probe,
     &qcow2::open, &qcow2::make_sink, nullptr, nullptr, qcow2::kSettingsHelp, true},
    {"raw", "the guest disk byte by byte", nullptr, &raw::open, &raw::make_sink, nullptr, nullptr,
     ""},
}};

Result<std::vector<std::byte>> read_head(const File& file) {
  std::vector<std::byte> head(kProbeBytes);
  GM_TRY(const std::size_t size, file.read_at(0, head));
  head.resize(size);
  return head;
}

}  // namespace

std::span<const Format> formats() { return kFormats; }

const Format* format_by_name(std::string_view name) {
  const auto found = std::ranges::find(kFormats, name, &Format::name);
  return found == kFormats.end() ? nullptr : &*found;
}

Status check_format(const File& file, const Format& said) {
  if (said.probe == nullptr) return {};
  GM_TRY(const std::vector<std::byte> head, read_head(file));
  if (said.probe(head)) return {};
  for (const Format& format : kFormats)
    if (format.probe != nullptr && format.probe(head))
      return fail(ErrorKind::invalid_argument, file.path(),
                  fmt::format("is of the format {}, not {}: leave the format out, or say -f {}",
                              format.name, said.name, format.name));
  return {};
}

Result<const Format*> detect_format(const File& file, FileSystem& files) {
  GM_TRY(const std::vector<std::byte> head, read_head(file));
  for (const Format& format : kFormats)
    if (format.probe != nullptr && format.probe(head)) return &format;
  // An unfinished one has its own name below.
  if (vmdk::has_lost_header(head) && !is_unfinished(head))
    return vmdk::refuse_lost_header(file.path());
  if (const std::optional<std::string> owner = vmdk::find_owner(files, file.path()))
    return fail(ErrorKind::unsupported, file.path(),
                fmt::format("is part of a VMDK disk: open its descriptor, {}", *owner));
  if (const std::string_view stranger = name_stranger(head); !stranger.empty())
    return fail(ErrorKind::unsupported, file.path(),
                fmt::format("not a disk image that is read here: {}", stranger));
  return fail(ErrorKind::unsupported, file.path(),
              "not recognised as a disk image of any known format; if it is a raw disk, say so "
              "with -f raw");
}

Result<const Format*> detect_damaged_format(const File& file, FileSystem& files) {
  GM_TRY(const std::vector<std::byte> head, read_head(file));
  if (vmdk::has_lost_header(head)) return format_by_name("vmdk");
  return detect_format(file, files);
}

}  // namespace grainmill
