// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/refcounts.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"

#include <algorithm>

namespace grainmill::qcow2 {

void RefcountWriter::add(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t gone = table_.size() * per_block_;
  const std::uint64_t last = (offset + length - 1) / cluster_bytes_ - gone;
  if (last >= counts_.size()) counts_.resize(last + 1);
  for (std::uint64_t i = offset / cluster_bytes_ - gone; i <= last; ++i) ++counts_[i];
}

std::vector<std::byte> RefcountWriter::take_block() {
  std::vector<std::byte> block(cluster_bytes_);
  const std::size_t count = std::min<std::size_t>(counts_.size(), per_block_);
  for (std::size_t i = 0; i < count; ++i)
    store_be(block.data() + i * sizeof(std::uint16_t), counts_[i]);
  counts_.erase(counts_.begin(), counts_.begin() + static_cast<std::ptrdiff_t>(count));
  return block;
}

std::optional<std::vector<std::byte>> RefcountWriter::next_final_block(std::uint64_t offset) {
  if (offset / cluster_bytes_ < (table_.size() + 1) * per_block_) return std::nullopt;
  return take_block();
}

// The blocks and the table have counts themselves, and so may need one more block.
RefcountWriter::Tail RefcountWriter::finish(std::uint64_t offset) {
  std::uint64_t blocks = 0;
  Tail tail;
  tail.offset = offset;
  for (;;) {
    tail.table_clusters =
        std::max<std::uint64_t>(1, ceil_div((table_.size() + blocks) * 8, cluster_bytes_));
    const std::uint64_t clusters = offset / cluster_bytes_ + blocks + tail.table_clusters;
    const std::uint64_t needed = ceil_div(clusters, per_block_) - table_.size();
    if (needed == blocks) break;
    blocks = needed;
  }
  tail.table_offset = offset + blocks * cluster_bytes_;
  add(offset, (blocks + tail.table_clusters) * cluster_bytes_);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::vector<std::byte> block = take_block();
    tail.bytes.insert(tail.bytes.end(), block.begin(), block.end());
    table_.push_back(offset + i * cluster_bytes_);
  }
  const std::size_t table_begin = tail.bytes.size();
  tail.bytes.resize(table_begin + tail.table_clusters * cluster_bytes_);
  for (std::size_t i = 0; i < table_.size(); ++i)
    store_be(tail.bytes.data() + table_begin + i * 8, table_[i]);
  return tail;
}

void RefcountWriter::save(FieldWriter& out) const {
  out.words(std::span(counts_));
  out.words(std::span(table_));
}

bool RefcountWriter::restore(FieldReader& in, std::uint64_t settled, std::uint64_t end) {
  counts_ = in.words<std::uint16_t>();
  table_ = in.words<std::uint64_t>();
  const auto gone = checked_mul(table_.size(), per_block_);
  return in.ok() && gone && *gone <= settled / cluster_bytes_ &&
         counts_.size() == end / cluster_bytes_ - *gone;
}

}  // namespace grainmill::qcow2
