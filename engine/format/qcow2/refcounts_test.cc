// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/refcounts.h"

#include "engine/base/byte_order.h"

#include <gtest/gtest.h>

#include <map>

namespace grainmill::qcow2 {
namespace {

constexpr std::uint64_t kCluster = 512;
constexpr std::uint64_t kPerBlock = kCluster / 2;

// All blocks of an image of `clusters` clusters with one user each, written as a sink does.
struct Image {
  std::map<std::uint64_t, std::vector<std::byte>> blocks;  // by where they are
  RefcountWriter::Tail tail;

  explicit Image(std::uint64_t clusters) {
    RefcountWriter writer(kCluster);
    std::uint64_t end = 0;
    for (std::uint64_t i = 0; i < clusters; ++i) {
      writer.add(end, kCluster);
      end += kCluster;
      while (auto block = writer.next_final_block(end)) {
        blocks[end] = *std::move(block);
        writer.stored_at(end);
        writer.add(end, kCluster);
        end += kCluster;
      }
    }
    tail = writer.finish(end);
    const std::uint64_t table_at = tail.table_offset - tail.offset;
    for (std::uint64_t at = 0; at < table_at; at += kCluster)
      blocks[tail.offset + at].assign(
          tail.bytes.begin() + static_cast<std::ptrdiff_t>(at),
          tail.bytes.begin() + static_cast<std::ptrdiff_t>(at + kCluster));
  }

  [[nodiscard]] std::uint64_t clusters() const {
    return (tail.offset + tail.bytes.size()) / kCluster;
  }
  // The count of a cluster, by the table.
  [[nodiscard]] unsigned count(std::uint64_t cluster) const {
    const std::byte* table = tail.bytes.data() + (tail.table_offset - tail.offset);
    const auto offset = load_be<std::uint64_t>(table + cluster / kPerBlock * 8);
    if (offset == 0) return 0;
    return load_be<std::uint16_t>(blocks.at(offset).data() + cluster % kPerBlock * 2);
  }
};

TEST(Refcounts, CountEveryClusterOnceWithTheirOwn) {
  for (std::uint64_t clusters = 1; clusters < 40 * kPerBlock; clusters += 1 + clusters / 7) {
    const Image image(clusters);
    for (std::uint64_t i = 0; i < image.clusters(); ++i)
      ASSERT_EQ(image.count(i), 1U) << "cluster " << i << " of " << clusters;
  }
}

// Where the blocks just fit, the table or one more block may not.
TEST(Refcounts, ComeOutEvenAtTheEdgesOfBlocks) {
  for (std::uint64_t clusters = kPerBlock - 8; clusters < kPerBlock + 8; ++clusters) {
    const Image image(clusters);
    for (std::uint64_t i = 0; i < image.clusters(); ++i)
      ASSERT_EQ(image.count(i), 1U) << "cluster " << i << " of " << clusters;
    EXPECT_LE(image.clusters(), clusters + 3);
  }
}

TEST(Refcounts, StreamsCountEachClusterTheyTouch) {
  RefcountWriter writer(kCluster);
  writer.add(0, kCluster);
  writer.add(kCluster, 10);
  writer.add(kCluster + 10, kCluster);  // into the next one
  writer.add(2 * kCluster + 10, 100);
  const RefcountWriter::Tail tail = writer.finish(3 * kCluster);
  const auto count = [&](std::size_t i) { return load_be<std::uint16_t>(&tail.bytes[i * 2]); };
  EXPECT_EQ(count(0), 1);
  EXPECT_EQ(count(1), 2);
  EXPECT_EQ(count(2), 2);
  EXPECT_EQ(count(3), 1);  // the block
  EXPECT_EQ(count(4), 1);  // the table
  EXPECT_EQ(count(5), 0);
  EXPECT_EQ(tail.table_offset, 4 * kCluster);
}

TEST(Refcounts, ABlockWaitsUntilItIsFinal) {
  RefcountWriter writer(kCluster);
  writer.add(0, kPerBlock * kCluster);
  EXPECT_FALSE(writer.next_final_block((kPerBlock - 1) * kCluster));
  EXPECT_TRUE(writer.next_final_block(kPerBlock * kCluster));
}

}  // namespace
}  // namespace grainmill::qcow2
