// SPDX-License-Identifier: Apache-2.0
//
// The classic scheme: each link of a chain has its directory in memory and a small cache of its
// tables, and a lookup walks from link to link until one has the grain.
#pragma once

#include "bench/classic/table_cache.h"
#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/io/file.h"
#include "engine/map/grain_tables.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::bench::classic {

// What the header of a sparse extent says.
struct Geometry {
  GrainTableShape shape;
  std::uint64_t directory_offset = 0;            // bytes
  std::uint64_t redundant_directory_offset = 0;  // bytes; 0: there is none
};

// The directory of table offsets, in bytes.
[[nodiscard]] Result<std::vector<std::uint64_t>> read_directory(const File& file,
                                                                const GrainTableShape& shape,
                                                                std::uint64_t directory_offset);

template <typename Cache>
class Link {
 public:
  [[nodiscard]] static Result<Link> open(std::unique_ptr<File> file, const Geometry& geometry) {
    GM_TRY(std::vector<std::uint64_t> tables,
           read_directory(*file, geometry.shape, geometry.directory_offset));
    return Link(std::move(file), geometry, std::move(tables));
  }

  // The sector where a grain is stored; 0: it is not.
  [[nodiscard]] Result<std::uint32_t> entry(std::uint64_t grain) {
    const EntryPlace place = place_of(grain);
    if (place.table_offset == 0) return 0;
    return cache_.entry(*file_, place);
  }

  [[nodiscard]] EntryPlace place_of(std::uint64_t grain) const {
    const std::uint64_t entries = geometry_.shape.entries_per_table;
    return {grain, tables_[grain / entries], grain % entries};
  }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  [[nodiscard]] File& file() { return *file_; }
  [[nodiscard]] Cache& cache() { return cache_; }

 private:
  Link(std::unique_ptr<File> file, const Geometry& geometry, std::vector<std::uint64_t> tables)
      : file_(std::move(file)), geometry_(geometry), tables_(std::move(tables)) {}

  std::unique_ptr<File> file_;
  Geometry geometry_;
  std::vector<std::uint64_t> tables_;
  Cache cache_;
};

// What a lookup finds. link: 0 is the top.
struct Found {
  bool stored = false;
  std::uint32_t link = 0;
  std::uint64_t file_offset = 0;
};

template <typename Cache>
class Chain {
 public:
  // Top link first. REQUIRES: not empty, and all of one grain size.
  explicit Chain(std::vector<Link<Cache>> links)
      : links_(std::move(links)), grain_bytes_(links_.front().geometry().shape.grain_bytes) {}

  [[nodiscard]] Result<Found> find(std::uint64_t guest_offset) {
    const std::uint64_t grain = guest_offset / grain_bytes_;
    for (std::uint32_t link = 0; link < links_.size(); ++link) {
      GM_TRY(const std::uint32_t sector, links_[link].entry(grain));
      if (sector != 0)
        return Found{true, link, sector * kSectorBytes + guest_offset % grain_bytes_};
    }
    return Found{};
  }

  [[nodiscard]] Link<Cache>& link(std::size_t index) { return links_[index]; }

 private:
  std::vector<Link<Cache>> links_;
  std::uint64_t grain_bytes_;
};

}  // namespace grainmill::bench::classic
