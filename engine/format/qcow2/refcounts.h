// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/fields.h"
#include "engine/base/units.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace grainmill::qcow2 {

// The refcounts, of 16 bits, of an image that is written from begin to end: blocks leave as soon as
// their counts are final.
class RefcountWriter {
 public:
  explicit RefcountWriter(std::uint64_t cluster_bytes)
      : cluster_bytes_(cluster_bytes), per_block_(cluster_bytes / sizeof(std::uint16_t)) {}

  // One more user of the clusters that [offset, offset + length) lies in.
  void add(std::uint64_t offset, std::uint64_t length);

  // The next block, when no cluster before `offset` will get another user and that makes it final.
  // The caller stores it at a cluster, which counts as used too, and says where.
  [[nodiscard]] std::optional<std::vector<std::byte>> next_final_block(std::uint64_t offset);
  void stored_at(std::uint64_t offset) { table_.push_back(offset); }

  // What is left, with the table: laid out from `offset`, the end of the file, on.
  struct Tail {
    std::uint64_t table_offset = 0;
    std::uint64_t table_clusters = 0;
    std::uint64_t offset = 0;      // of `bytes`
    std::vector<std::byte> bytes;  // blocks, then the table; whole clusters
  };
  [[nodiscard]] Tail finish(std::uint64_t offset);

  // To go on later; false where what is read does not fit a file that ends at `end`, of which no
  // cluster before `settled` gets another user. REQUIRES of restore(): nothing was added yet.
  void save(FieldWriter& out) const;
  [[nodiscard]] bool restore(FieldReader& in, std::uint64_t settled, std::uint64_t end);

 private:
  [[nodiscard]] std::vector<std::byte> take_block();

  std::uint64_t cluster_bytes_;
  std::uint64_t per_block_;
  std::vector<std::uint16_t> counts_;  // of the clusters behind those blocks that have left
  std::vector<std::uint64_t> table_;   // where each block is
};

}  // namespace grainmill::qcow2
