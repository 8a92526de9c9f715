// SPDX-License-Identifier: Apache-2.0
#include "tests/damage/extent_damage.h"

#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kFlagsOffset = 8;
constexpr std::uint32_t kCompressedFlag = 1U << 16;

// The extent that a place of the whole disk lies in, and the place within it.
std::pair<Target, std::size_t> locate(const BuiltDisk& disk, std::size_t place,
                                      const CountPlaces& count) {
  for (const Target& target : targets_of(disk)) {
    const std::size_t here = count(target);
    if (place < here) return {target, place};
    place -= here;
  }
  throw std::out_of_range("no such place");
}

}  // namespace

bool Target::is_stream() const {
  return is_hosted() && (file_word(path(), kFlagsOffset) & kCompressedFlag) != 0;
}

std::vector<Target> targets_of(const BuiltDisk& disk) {
  std::vector<Target> targets;
  for (std::size_t link = 0; link < disk.links.size(); ++link)
    for (std::size_t i = 0; i < disk.links[link].extents.size(); ++i)
      if (!disk.links[link].extents[i].path.empty()) targets.push_back({&disk, link, i});
  return targets;
}

DamageKind extent_kind(std::string name, std::string what, CountPlaces count, DamageAt damage) {
  return extent_kind(std::move(name), std::move(what), std::move(count), std::move(damage),
                     nullptr);
}

DamageKind extent_kind(std::string name, std::string what, CountPlaces count, DamageAt damage,
                       TraceAt leaves_no_trace, TableCopyHit copy) {
  DamageKind kind{.name = std::move(name), .what = std::move(what), .places = {}, .apply = {}};
  kind.copy = copy;
  kind.places = [count](const BuiltDisk& disk) {
    std::size_t places = 0;
    for (const Target& target : targets_of(disk)) places += count(target);
    return places;
  };
  kind.apply = [count, damage = std::move(damage)](const BuiltDisk& disk, std::size_t place) {
    const auto [target, here] = locate(disk, place, count);
    damage(target, here);
  };
  if (leaves_no_trace) {
    kind.leaves_no_trace = [count = std::move(count), trace = std::move(leaves_no_trace)](
                               const BuiltDisk& disk, std::size_t place) {
      const auto [target, here] = locate(disk, place, count);
      return trace(target, here);
    };
  }
  return kind;
}

std::vector<std::size_t> sample(std::size_t count, std::size_t most) {
  std::vector<std::size_t> picked;
  const std::size_t wanted = std::min(count, most);
  picked.reserve(wanted);
  for (std::size_t i = 0; i < wanted; ++i)
    picked.push_back(wanted == 1 ? 0 : i * (count - 1) / (wanted - 1));
  return picked;
}

std::string read_descriptor(const BuiltLink& link) {
  const BuiltExtent& extent = link.extents.front();
  const bool embedded = extent.path == link.path && extent.descriptor_offset != 0;
  const std::vector<std::byte> bytes =
      embedded ? file_bytes(link.path, extent.descriptor_offset, extent.descriptor_bytes)
               : file_bytes(link.path);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

void write_descriptor(const BuiltLink& link, const std::string& text) {
  const BuiltExtent& extent = link.extents.front();
  if (extent.path == link.path && extent.descriptor_offset != 0) {
    std::string padded = text;
    padded.resize(extent.descriptor_bytes, '\0');
    patch_file(link.path, extent.descriptor_offset, padded);
    return;
  }
  set_file_size(link.path, 0);
  patch_file(link.path, 0, text);
}

bool is_custom(const BuiltDisk& disk) {
  return read_descriptor(disk.links.front()).contains("\"custom\"");
}

void set_file_size(const std::filesystem::path& path, std::uint64_t size) {
  std::filesystem::resize_file(path, size);
}

void fill_file(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t size,
               std::byte value) {
  patch_file(path, offset, std::vector<std::byte>(size, value));
}

std::vector<std::byte> garbage(std::uint64_t seed, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(mix(seed * 1000003 + i) & 0xff);
  return bytes;
}

}  // namespace grainmill::testing
