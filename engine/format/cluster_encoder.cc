// SPDX-License-Identifier: Apache-2.0
#include "engine/format/cluster_encoder.h"

#include "engine/codec/zero_scan.h"

namespace grainmill {
namespace {

class ClusterEncoder final : public Encoder {
 public:
  explicit ClusterEncoder(std::uint64_t cluster_bytes) : cluster_bytes_(cluster_bytes) {}

  [[nodiscard]] Status encode(Piece& piece) override {
    if (piece.zero) return {};
    for (std::uint64_t at = 0; at < piece.bytes.size(); at += cluster_bytes_) {
      const auto cluster = piece.bytes.subspan(at, cluster_bytes_);
      if (is_zero(cluster)) continue;
      OutputBlock block;
      block.guest_offset = piece.guest_offset + at;
      block.bytes = cluster;
      piece.blocks.push_back(block);
    }
    return {};
  }

 private:
  std::uint64_t cluster_bytes_;
};

}  // namespace

std::unique_ptr<Encoder> make_cluster_encoder(std::uint64_t cluster_bytes) {
  return std::make_unique<ClusterEncoder>(cluster_bytes);
}

}  // namespace grainmill
