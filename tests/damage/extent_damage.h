// SPDX-License-Identifier: Apache-2.0
//
// What the lists of damage kinds are written with.
#pragma once

#include "tests/damage/damage.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::testing {

// One extent of a disk as a damage kind looks at it.
struct Target {
  const BuiltDisk* disk = nullptr;
  std::size_t link_index = 0;
  std::size_t extent_index = 0;

  const BuiltLink& link() const { return disk->links[link_index]; }
  const BuiltExtent& extent() const { return link().extents[extent_index]; }
  const std::filesystem::path& path() const { return extent().path; }

  bool is_cowd() const { return extent().type == ExtentType::vmfs_sparse; }
  bool is_hosted() const { return extent().type == ExtentType::sparse; }
  bool is_flat() const {
    return extent().type == ExtentType::flat || extent().type == ExtentType::vmfs;
  }
  bool has_tables() const { return is_hosted() || is_cowd(); }
  bool has_two_copies() const { return is_hosted() && extent().rgd_offset != 0; }
  bool is_stream() const;  // by the flags of the header
};

// Every extent that has a file.
std::vector<Target> targets_of(const BuiltDisk& disk);

using CountPlaces = std::function<std::size_t(const Target&)>;
using DamageAt = std::function<void(const Target&, std::size_t place)>;
using TraceAt = std::function<bool(const Target&, std::size_t place)>;

// A kind whose places are those of all extents, one after the other.
DamageKind extent_kind(std::string name, std::string what, CountPlaces count, DamageAt damage);
DamageKind extent_kind(std::string name, std::string what, CountPlaces count, DamageAt damage,
                       TraceAt leaves_no_trace, TableCopyHit copy = TableCopyHit::none);

// A few of `count` things: the first, some in between, the last.
std::vector<std::size_t> sample(std::size_t count, std::size_t most);

// The text of a link's descriptor, wherever it stands, without its padding.
std::string read_descriptor(const BuiltLink& link);
void write_descriptor(const BuiltLink& link, const std::string& text);

// A disk of parts that only the descriptor puts together: where one ends, nothing else tells.
bool is_custom(const BuiltDisk& disk);

void set_file_size(const std::filesystem::path& path, std::uint64_t size);
void fill_file(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t size,
               std::byte value);
// Bytes that mean nothing, the same for the same place.
std::vector<std::byte> garbage(std::uint64_t seed, std::size_t size);

// The lists, one file each.
void add_entry_damage(std::vector<DamageKind>& kinds);
void add_table_damage(std::vector<DamageKind>& kinds);
void add_header_damage(std::vector<DamageKind>& kinds);
void add_stream_damage(std::vector<DamageKind>& kinds);
void add_descriptor_damage(std::vector<DamageKind>& kinds);
void add_file_damage(std::vector<DamageKind>& kinds);
void add_chain_damage(std::vector<DamageKind>& kinds);

}  // namespace grainmill::testing
