// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace grainmill {

// A range of a disk, and why what is read there may be wrong.
struct Doubt {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::string why;
};

// The ranges of one link that its own tables contradict. Takes bounded memory: of too many ranges,
// those nearest to each other become one with what lies between them.
class Doubts {
 public:
  void add(Doubt doubt);
  // After the last add(): what overlaps or touches becomes one.
  void finish();

  // REQUIRES of both: finish() was called.
  [[nodiscard]] bool empty() const { return doubts_.empty(); }
  // The first that ends behind `offset`; null: there is none.
  [[nodiscard]] const Doubt* first_behind(std::uint64_t offset) const;

 private:
  void join(std::uint64_t gap);

  std::vector<Doubt> doubts_;  // by begin, disjoint, once joined
  std::uint64_t gap_ = 0;
};

}  // namespace grainmill
