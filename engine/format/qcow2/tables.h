// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/format/qcow2/layout.h"
#include "engine/io/file.h"

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::qcow2 {

// The two-level mapping of an image: an L1 table of L2 tables, which are one cluster long and say
// where guest clusters are. Holds the L1 table only, 8 bytes for 512 MiB of disk, usually.
// Threads: const methods may be called from several threads at once.
class MappingTables {
 public:
  // Reads the L1 table and checks that every L2 table that it names lies inside the file, behind
  // the header. The file must outlive this object.
  [[nodiscard]] static Result<MappingTables> open(const File& file, Header header);

  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] const File& file() const { return *file_; }
  // How many there are: at least as many as the disk needs.
  [[nodiscard]] std::uint64_t tables() const { return l1_.size(); }
  // Byte offset of an L2 table in the file; 0 where there is none.
  [[nodiscard]] std::uint64_t table_offset(std::uint64_t table) const {
    return l1_[table] & kOffsetMask;
  }
  [[nodiscard]] std::uint64_t l1_entry_offset(std::uint64_t table) const {
    return header_.l1_offset + table * 8;
  }
  // Byte offset of a guest cluster's entry in the file. REQUIRES: its table exists.
  [[nodiscard]] std::uint64_t entry_offset(std::uint64_t cluster) const;

  // Reads the entries of out.size() guest clusters from `first` on. REQUIRES: they are all of one
  // table, which exists.
  [[nodiscard]] Status load(std::uint64_t first, std::span<std::uint64_t> out) const;

  // What a guest cluster's entry says. The stored bytes of a compressed one end with the file, if
  // that ends before their last sector. Data that the guest can read, or a compressed cluster's
  // beginning, that is not in the file of `file_bytes` or lies in the header's cluster is
  // `corrupt`.
  [[nodiscard]] Result<Mapping> mapping(std::uint64_t cluster, std::uint64_t entry,
                                        std::uint64_t file_bytes) const;

  // For messages.
  [[nodiscard]] std::string entry_name(std::uint64_t cluster) const;

 private:
  MappingTables(const File& file, Header header) : file_(&file), header_(std::move(header)) {}

  [[nodiscard]] Status check_l1(std::uint64_t file_bytes) const;

  const File* file_;
  Header header_;
  std::vector<std::uint64_t> l1_;
};

}  // namespace grainmill::qcow2
