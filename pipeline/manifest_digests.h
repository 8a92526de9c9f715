// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/digest.h"
#include "pipeline/manifest_reader.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace grainmill {

// Hands out what a manifest says of single grains, in guest order, and once more what it said of
// the last few of them.
class ManifestDigests {
 public:
  explicit ManifestDigests(ManifestReader manifest) : manifest_(std::move(manifest)) {}

  // nullopt: zeros. REQUIRES: no grain more than kRecent behind it was asked for before; fails
  // where one behind it was, and this one was passed over.
  [[nodiscard]] Result<std::optional<Digest128>> of(std::uint64_t grain);

 private:
  static constexpr std::size_t kRecent = 64;

  ManifestReader manifest_;
  std::uint64_t position_ = 0;                     // of the next grain in it
  std::deque<std::optional<Digest128>> recent_{};  // those right before it
};

}  // namespace grainmill
