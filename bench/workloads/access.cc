// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/access.h"

#include "bench/workloads/chain_layout.h"
#include "tests/support/layout.h"

#include <cmath>

namespace grainmill::bench {
namespace {

double unit_interval(std::uint64_t chance) { return static_cast<double>(chance >> 11) * 0x1p-53; }

// Draws ranks 1..n by rejection-inversion (Hoermann and Derflinger 1996): exact, and without a sum
// over all ranks.
class Zipf {
 public:
  explicit Zipf(std::uint64_t ranks)
      : ranks_(static_cast<double>(ranks)),
        least_(integral(1.5) - 1.0),
        most_(integral(ranks_ + 0.5)),
        sure_(2.0 - inverse(integral(2.5) - std::pow(2.0, -kExponent))) {}

  template <typename Chance>
  std::uint64_t draw(Chance&& chance) const {
    for (;;) {
      const double u = most_ + unit_interval(chance()) * (least_ - most_);
      const double x = inverse(u);
      const double rank = std::fmin(std::fmax(std::floor(x + 0.5), 1.0), ranks_);
      if (rank - x <= sure_ || u >= integral(rank + 0.5) - std::pow(rank, -kExponent))
        return static_cast<std::uint64_t>(rank);
    }
  }

 private:
  static constexpr double kExponent = 0.99;

  // Of x^-kExponent, and the inverse of that.
  static double integral(double x) { return std::pow(x, 1 - kExponent) / (1 - kExponent); }
  static double inverse(double y) { return std::pow(y * (1 - kExponent), 1 / (1 - kExponent)); }

  double ranks_;
  double least_;
  double most_;
  double sure_;
};

}  // namespace

std::string_view name_of(Access access) {
  switch (access) {
    case Access::sequential:
      return "sequential";
    case Access::strided:
      return "strided";
    case Access::random:
      return "random";
    case Access::zipf:
      return "zipf";
  }
  return "?";
}

std::vector<std::uint32_t> access_sequence(Access access, std::uint64_t grains, std::size_t count) {
  std::vector<std::uint32_t> sequence(count);
  const Zipf zipf(grains);
  std::uint64_t draws = 0;
  const auto chance = [&draws] { return testing::mix(++draws); };
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t grain = i;
    if (access == Access::strided) grain = i * (kTableEntries + 1);
    if (access == Access::random) grain = chance();
    if (access == Access::zipf) grain = scatter(zipf.draw(chance) - 1, grains);
    sequence[i] = static_cast<std::uint32_t>(grain % grains);
  }
  return sequence;
}

}  // namespace grainmill::bench
