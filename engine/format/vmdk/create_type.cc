// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create_type.h"

#include "engine/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <string>

namespace grainmill::vmdk {
namespace {

struct CreateType {
  std::string_view name;          // lower case
  std::string_view extent_types;  // those it may have; each between blanks
  bool single = false;            // exactly one extent
  std::string_view refusal = {};  // why it is not read
};

constexpr std::string_view kSparse = " SPARSE ZERO ";
constexpr std::string_view kFlat = " FLAT ZERO ";
constexpr std::string_view kVmfs = " VMFS FLAT ZERO ";
constexpr std::string_view kDevice =
    "its data is on a device, not in files; convert it on the machine that has the device, or copy "
    "the device";
constexpr std::string_view kSeSparse =
    "ESXi's seSparse snapshots are not supported; consolidate the snapshot first";

// Virtual Disk Format 5.0, "createType", and what newer products write.
constexpr std::array kCreateTypes = {
    CreateType{"monolithicsparse", " SPARSE ", true},
    CreateType{"streamoptimized", " SPARSE ", true},
    CreateType{"twogbmaxextentsparse", kSparse},
    CreateType{"2gbmaxextentsparse", kSparse},
    CreateType{"monolithicflat", kFlat},
    CreateType{"twogbmaxextentflat", kFlat},
    CreateType{"2gbmaxextentflat", kFlat},
    CreateType{"vmfs", kVmfs},
    CreateType{"vmfsthin", kVmfs},
    CreateType{"vmfsthick", kVmfs},
    CreateType{"vmfspreallocated", kVmfs},
    CreateType{"vmfseagerzeroedthick", kVmfs},
    CreateType{"vmfssparse", " VMFSSPARSE ZERO "},
    CreateType{"custom", " FLAT VMFS SPARSE VMFSSPARSE ZERO "},
    CreateType{"fulldevice", "", false, kDevice},
    CreateType{"partitioneddevice", "", false, kDevice},
    CreateType{"vmfsraw", "", false, kDevice},
    CreateType{"vmfsrdm", "", false, kDevice},
    CreateType{"vmfsrdmp", "", false, kDevice},
    CreateType{"vmfsrawdevicemap", "", false, kDevice},
    CreateType{"vmfspassthroughrawdevicemap", "", false, kDevice},
    CreateType{"sesparse", "", false, kSeSparse},
    CreateType{"vmfssesparse", "", false, kSeSparse},
    CreateType{"vsansparse", "", false, "a vSAN object is not in these files"},
};

// "disk-s003.vmdk" is "disk-s", 3, ".vmdk".
struct NumberedName {
  std::string prefix;
  unsigned number = 0;
  std::size_t digits = 0;
  std::string suffix;
};

std::optional<NumberedName> split_number(const std::string& name) {
  const std::size_t dot = std::min(name.find_last_of('.'), name.size());
  std::size_t first = dot;
  while (first > 0 && std::isdigit(static_cast<unsigned char>(name[first - 1])) != 0) --first;
  const std::size_t digits = dot - first;
  constexpr std::size_t kMaxDigits = 6;
  if (digits < 3 || digits > kMaxDigits || first < 2) return std::nullopt;
  const char mark = static_cast<char>(std::tolower(static_cast<unsigned char>(name[first - 1])));
  if (name[first - 2] != '-' || (mark != 's' && mark != 'f')) return std::nullopt;
  NumberedName result{
      .prefix = name.substr(0, first), .number = 0, .digits = digits, .suffix = name.substr(dot)};
  std::from_chars(name.data() + first, name.data() + dot, result.number);
  return result;
}

}  // namespace

Status check_create_type(const Descriptor& descriptor, std::string_view path,
                         std::uint64_t text_offset) {
  const auto known =
      std::ranges::find(kCreateTypes, lower(descriptor.create_type), &CreateType::name);
  if (known == kCreateTypes.end())
    return fail(ErrorKind::unsupported, path,
                fmt::format("createType '{}' is not known", descriptor.create_type));
  if (!known->refusal.empty())
    return fail(ErrorKind::unsupported, path,
                fmt::format("createType '{}' is not supported: {}", descriptor.create_type,
                            known->refusal));
  if (known->single && descriptor.extents.size() != 1)
    return fail(ErrorKind::corrupt, path,
                fmt::format("createType '{}' with {} extents; expected one", descriptor.create_type,
                            descriptor.extents.size()));
  for (const ExtentLine& extent : descriptor.extents) {
    if (extent.type == "SESPARSE")
      return fail(ErrorKind::unsupported, path, text_offset + extent.text_offset,
                  std::string(kSeSparse));
    if (extent.type.starts_with("VMFSR"))
      return fail(ErrorKind::unsupported, path, text_offset + extent.text_offset,
                  fmt::format("{} extent is not supported: {}", extent.type, kDevice));
    // Only disks put together by hand hide parts; elsewhere the word would blank out data.
    if (extent.access == Access::none && extent.type != "ZERO" && known->name != "custom")
      return fail(
          ErrorKind::corrupt, path, text_offset + extent.text_offset,
          fmt::format("extent '{}' is marked NOACCESS, which no disk of createType '{}' has",
                      extent.file, descriptor.create_type));
    if (known->extent_types.contains(" " + extent.type + " ")) continue;
    return fail(ErrorKind::corrupt, path, text_offset + extent.text_offset,
                fmt::format("extent of type '{}' in a disk of createType '{}'; expected one of:{}",
                            extent.type, descriptor.create_type, known->extent_types));
  }
  return {};
}

bool flat_files_are_exact(const Descriptor& descriptor) {
  const std::string type = lower(descriptor.create_type);
  return type.ends_with("flat") || type.starts_with("vmfs");
}

bool is_stream_optimized(const Descriptor& descriptor) {
  return lower(descriptor.create_type) == "streamoptimized";
}

Status check_numbering(const Descriptor& descriptor, std::string_view path,
                       std::uint64_t text_offset) {
  std::optional<NumberedName> last;
  for (const ExtentLine& extent : descriptor.extents) {
    std::optional<NumberedName> name = split_number(extent.file);
    if (!name) continue;
    const bool first_is_lost = !last && name->number > 1;
    const bool gap = last && name->prefix == last->prefix && name->number > last->number + 1;
    if (first_is_lost || gap)
      return fail(
          ErrorKind::corrupt, path, text_offset + extent.text_offset,
          fmt::format(
              "extent '{}' where number {} should come: an extent line is lost from the descriptor",
              extent.file, last ? last->number + 1 : 1));
    last = std::move(name);
  }
  return {};
}

std::string name_after_last(const Descriptor& descriptor) {
  const std::optional<NumberedName> last = split_number(descriptor.extents.back().file);
  if (!last) return {};
  return fmt::format("{}{:0{}}{}", last->prefix, last->number + 1, last->digits, last->suffix);
}

}  // namespace grainmill::vmdk
