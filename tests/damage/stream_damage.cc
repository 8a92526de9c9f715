// SPDX-License-Identifier: Apache-2.0
//
// Damage to the blocks of stream-optimised extents: grains, markers, footer, end of stream.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"
#include "tests/support/little_endian.h"

#include <algorithm>

namespace grainmill::testing {
namespace {

constexpr std::size_t kGrainsTried = 3;
constexpr std::uint64_t kSizeField = 8;
constexpr std::uint64_t kTypeField = 12;
constexpr std::uint64_t kStreamStart = 12;
constexpr std::uint64_t kAdlerBytes = 4;

using GrainDamage = std::function<void(const Target&, const GrainPlace&)>;

std::vector<std::size_t> tried(const Target& target) {
  return target.is_stream() ? sample(target.extent().grains.size(), kGrainsTried)
                            : std::vector<std::size_t>();
}

void add_grain_kind(std::vector<DamageKind>& kinds, const char* name, const char* what,
                    std::vector<GrainDamage> damages) {
  const std::size_t ways = damages.size();
  kinds.push_back(extent_kind(
      name, what, [ways](const Target& t) { return tried(t).size() * ways; },
      [ways, damages = std::move(damages)](const Target& t, std::size_t place) {
        const std::size_t grain = tried(t)[place / ways];
        damages[place % ways](t, t.extent().grains[grain]);
      }));
}

GrainDamage new_address(std::function<std::uint64_t(const Target&, std::uint64_t)> change) {
  return [change = std::move(change)](const Target& t, const GrainPlace& grain) {
    const std::uint64_t old = file_dword(t.path(), grain.data_offset);
    patch_dword(t.path(), grain.data_offset, change(t, old));
  };
}

GrainDamage new_size(std::function<std::uint64_t(std::uint32_t)> change) {
  return [change = std::move(change)](const Target& t, const GrainPlace& grain) {
    const std::uint32_t old = file_word(t.path(), grain.data_offset + kSizeField);
    patch_word(t.path(), grain.data_offset + kSizeField, static_cast<std::uint32_t>(change(old)));
  };
}

void add_block_header_damage(std::vector<DamageKind>& kinds) {
  const auto grain_sectors = [](const Target& t) { return t.extent().grain_bytes / kSectorSize; };
  add_grain_kind(
      kinds, "block-address", "a grain marked with another address",
      {new_address(
           [grain_sectors](const Target& t, std::uint64_t old) { return old + grain_sectors(t); }),
       new_address([](const Target&, std::uint64_t old) { return old + 1; }),
       new_address([](const Target&, std::uint64_t old) { return old ^ (std::uint64_t{1} << 63); }),
       new_address([](const Target&, std::uint64_t old) { return old ^ (std::uint64_t{1} << 55); }),
       new_address([](const Target&, std::uint64_t) { return ~std::uint64_t{0}; })});
  add_grain_kind(kinds, "block-size-bigger", "a grain block that claims more bytes",
                 {new_size([](std::uint32_t old) { return old + 1; }),
                  new_size([](std::uint32_t old) { return old + 512; }),
                  new_size([](std::uint32_t old) { return std::uint64_t{old} * 16; }),
                  new_size([](std::uint32_t) { return 0xffffffffU; })});
  add_grain_kind(kinds, "block-size-smaller", "a grain block that claims fewer bytes",
                 {new_size([](std::uint32_t old) { return old - 1; }),
                  new_size([](std::uint32_t old) { return old / 2; }),
                  new_size([](std::uint32_t) { return 1; })});
  add_grain_kind(kinds, "block-size-zero", "a grain block that looks like a marker",
                 {new_size([](std::uint32_t) { return 0; })});
}

void add_payload_damage(std::vector<DamageKind>& kinds) {
  const auto flip_at = [](double part) -> GrainDamage {
    return [part](const Target& t, const GrainPlace& grain) {
      const std::uint64_t stream = grain.stored_bytes - kStreamStart - kAdlerBytes;
      const auto skip = static_cast<std::uint64_t>(part * static_cast<double>(stream - 1));
      flip_bits(t.path(), grain.data_offset + kStreamStart + skip, 0x10);
    };
  };
  add_grain_kind(kinds, "deflate-bit-flip", "one bit of a compressed grain turned over",
                 {flip_at(0), flip_at(0.1), flip_at(0.5), flip_at(0.9), flip_at(1)});
  const auto flip_adler = [](std::uint64_t byte) -> GrainDamage {
    return [byte](const Target& t, const GrainPlace& grain) {
      flip_bits(t.path(), grain.data_offset + grain.stored_bytes - kAdlerBytes + byte);
    };
  };
  add_grain_kind(kinds, "adler-bit-flip", "one bit of an Adler-32 turned over",
                 {flip_adler(0), flip_adler(3)});
  add_grain_kind(kinds, "block-sector-zeroed", "one sector of a grain block zeroed",
                 {[](const Target& t, const GrainPlace& grain) {
                    fill_file(t.path(), grain.data_offset, kSectorSize, std::byte{0});
                  },
                  [](const Target& t, const GrainPlace& grain) {
                    const std::uint64_t last = (grain.stored_bytes - 1) / kSectorSize * kSectorSize;
                    fill_file(t.path(), grain.data_offset + last, kSectorSize, std::byte{0});
                  }});
  add_grain_kind(kinds, "block-zeroed", "a whole grain block zeroed",
                 {[](const Target& t, const GrainPlace& grain) {
                   fill_file(t.path(), grain.data_offset, grain.stored_bytes, std::byte{0});
                 }});
}

// A block stands elsewhere than the tables say.
void add_moved_blocks(std::vector<DamageKind>& kinds) {
  add_grain_kind(kinds, "block-moved", "a grain block at the end of the file, its place zeroed",
                 {[](const Target& t, const GrainPlace& grain) {
                   const auto bytes = file_bytes(t.path(), grain.data_offset, grain.stored_bytes);
                   fill_file(t.path(), grain.data_offset, grain.stored_bytes, std::byte{0});
                   patch_file(t.path(), t.extent().file_size, bytes);
                 }});
  add_grain_kind(kinds, "block-shifted", "a grain block one sector further than it was",
                 {[](const Target& t, const GrainPlace& grain) {
                   const auto bytes = file_bytes(t.path(), grain.data_offset, grain.stored_bytes);
                   patch_file(t.path(), grain.data_offset + kSectorSize, bytes);
                 }});
  add_grain_kind(kinds, "block-overwritten", "a grain block with another one written over it",
                 {[](const Target& t, const GrainPlace& grain) {
                   const GrainPlace& first = t.extent().grains.front();
                   const GrainPlace& last = t.extent().grains.back();
                   const GrainPlace& other = &grain == &first ? last : first;
                   patch_file(t.path(), grain.data_offset,
                              file_bytes(t.path(), other.data_offset, other.stored_bytes));
                 }});
}

using MarkerDamage = std::function<void(const Target&, const MarkerPlace&)>;

void add_marker_kind(std::vector<DamageKind>& kinds, const char* name, const char* what,
                     std::vector<MarkerDamage> damages) {
  const std::size_t ways = damages.size();
  kinds.push_back(extent_kind(
      name, what, [ways](const Target& t) { return t.extent().markers.size() * ways; },
      [ways, damages = std::move(damages)](const Target& t, std::size_t place) {
        damages[place % ways](t, t.extent().markers[place / ways]);
      }));
}

void add_marker_damage(std::vector<DamageKind>& kinds) {
  const auto type = [](std::uint32_t value) -> MarkerDamage {
    return [value](const Target& t, const MarkerPlace& marker) {
      patch_word(t.path(), marker.offset + kTypeField, value);
    };
  };
  add_marker_kind(kinds, "marker-type", "a marker of another type",
                  {type(0), type(1), type(3), type(4), type(5), type(0xffffffff)});
  const auto payload = [](std::uint64_t value) -> MarkerDamage {
    return [value](const Target& t, const MarkerPlace& marker) {
      patch_dword(t.path(), marker.offset, value);
    };
  };
  add_marker_kind(kinds, "marker-payload", "a marker with another number of sectors",
                  {payload(0), payload(3), payload(1000), payload(~std::uint64_t{0})});
  add_marker_kind(kinds, "marker-size", "a marker that looks like a grain",
                  {[](const Target& t, const MarkerPlace& marker) {
                     patch_word(t.path(), marker.offset + kSizeField, 1);
                   },
                   [](const Target& t, const MarkerPlace& marker) {
                     patch_word(t.path(), marker.offset + kSizeField, 0x10000);
                   }});
  add_marker_kind(kinds, "marker-zeroed", "a marker of zeros",
                  {[](const Target& t, const MarkerPlace& marker) {
                    fill_file(t.path(), marker.offset, kSectorSize, std::byte{0});
                  }});
}

void add_end_damage(std::vector<DamageKind>& kinds) {
  const auto with_footer = [](const Target& t) -> std::size_t {
    return t.extent().footer_offset != 0 ? 1 : 0;
  };
  const auto with_end = [](const Target& t) -> std::size_t {
    return t.extent().end_of_stream_offset != 0 ? 1 : 0;
  };
  kinds.push_back(extent_kind("footer-lost", "the file ends before the footer", with_footer,
                              [](const Target& t, std::size_t) {
                                set_file_size(t.path(), t.extent().footer_offset - kSectorSize);
                              }));
  kinds.push_back(extent_kind(
      "footer-zeroed", "a footer of zeros", with_footer, [](const Target& t, std::size_t) {
        fill_file(t.path(), t.extent().footer_offset, kSectorSize, std::byte{0});
      }));
  kinds.push_back(extent_kind("end-of-stream-lost", "the end of the stream cut off", with_end,
                              [](const Target& t, std::size_t) {
                                set_file_size(t.path(), t.extent().end_of_stream_offset);
                              }));
  kinds.push_back(extent_kind("end-of-stream-garbage", "garbage where the stream ends", with_end,
                              [](const Target& t, std::size_t) {
                                patch_file(t.path(), t.extent().end_of_stream_offset,
                                           garbage(7, kSectorSize));
                              }));
}

}  // namespace

void add_stream_damage(std::vector<DamageKind>& kinds) {
  add_block_header_damage(kinds);
  add_payload_damage(kinds);
  add_moved_blocks(kinds);
  add_marker_damage(kinds);
  add_end_damage(kinds);
}

}  // namespace grainmill::testing
