// SPDX-License-Identifier: Apache-2.0
//
// Every fuzz target on its seeds, and on a few thousand small changes of them that are the same in
// every run. What libFuzzer finds, this keeps from coming back: add the input as a seed.
#include "engine/disk/disk.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/fuzz/targets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

namespace grainmill::fuzz {
namespace {

using Random = std::mt19937_64;

// Numbers at which programs break, as fields of either byte order.
constexpr std::array<std::uint64_t, 10> kOdd = {
    0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 1ULL << 50, 1ULL << 63, ~0ULL};

void change(Bytes& bytes, Random& random) {
  if (bytes.empty()) return;
  const std::size_t at = random() % bytes.size();
  const std::size_t left = bytes.size() - at;
  switch (random() % 6) {
    case 0:
      bytes[at] ^= std::byte(1U << random() % 8);
      break;
    case 1:
      bytes[at] = std::byte(random() & 0xff);
      break;
    case 2: {
      const std::uint64_t odd = kOdd[random() % kOdd.size()];
      const std::size_t width = 4 + 4 * (random() % 2);
      const bool big = random() % 2 == 0;
      for (std::size_t i = 0; i < std::min(left, width); ++i)
        bytes[at + i] = std::byte(odd >> 8 * (big ? width - 1 - i : i) & 0xff);
      break;
    }
    case 3:  // a piece from elsewhere
      for (std::size_t i = 0, from = random() % bytes.size();
           i < 1 + random() % 64 && i < left && from + i < bytes.size(); ++i)
        bytes[at + i] = bytes[from + i];
      break;
    case 4:
      if (random() % 8 == 0) bytes.resize(at);
      break;
    default:  // a piece less
      if (random() % 8 == 0)
        bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(
                                        at + std::min<std::size_t>(left, random() % 64)));
  }
}

// Changes near the start, where headers are, in half of all cases.
Bytes changed(const Bytes& seed, Random& random) {
  Bytes bytes = seed;
  const std::size_t head = random() % 2 == 0 ? std::min<std::size_t>(bytes.size(), 600) : 0;
  Bytes front(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(head));
  for (std::uint64_t i = 1 + random() % 4; i > 0; --i) change(head != 0 ? front : bytes, random);
  if (head == 0) return bytes;
  front.insert(front.end(), bytes.begin() + static_cast<std::ptrdiff_t>(head), bytes.end());
  return front;
}

void run(void (*target)(std::span<const std::byte>), const std::vector<Bytes>& seeds,
         std::size_t changes) {
  target({});
  Random random(1);
  for (const Bytes& seed : seeds) {
    target(seed);
    for (std::size_t i = 0; i < changes; ++i) target(changed(seed, random));
  }
}

TEST(Fuzz, DescriptorSurvivesChanges) { run(&descriptor, descriptor_seeds(), 5000); }
TEST(Fuzz, HeaderSurvivesChanges) { run(&header, header_seeds(), 5000); }
TEST(Fuzz, ImageSurvivesChanges) { run(&image, image_seeds(), 600); }
TEST(Fuzz, ManifestSurvivesChanges) { run(&manifest, manifest_seeds(), 3000); }

// A seed that does not open exercises nothing.
TEST(Seeds, AreSoundImages) {
  for (const Bytes& seed : image_seeds()) {
    testing::MemoryFileSystem files;
    add_files(files, {reinterpret_cast<const char*>(seed.data()), seed.size()});
    const auto disk = Disk::open(files, "/a", {});
    ASSERT_TRUE(testing::IsOk(disk));
    EXPECT_TRUE(testing::IsOk(disk->check()));
  }
}

}  // namespace
}  // namespace grainmill::fuzz
