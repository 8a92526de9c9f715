// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest_digests.h"

#include <fmt/format.h>

namespace grainmill {

Result<std::optional<Digest128>> ManifestDigests::of(std::uint64_t grain) {
  if (grain < position_) {
    const std::uint64_t back = position_ - grain;
    if (back <= recent_.size()) return recent_[recent_.size() - back];
    return fail(ErrorKind::unsupported, manifest_.path(),
                fmt::format("is read in order, and grain {} was passed over", grain));
  }
  if (grain != position_) recent_.clear();
  while (position_ <= grain) {
    const bool here = position_ == grain;
    GM_TRY(const ManifestReader::Run run, manifest_.take(here ? 1 : grain - position_));
    if (run.grains == 0)
      return fail(ErrorKind::corrupt, manifest_.path(),
                  "has fewer digests than its disk has grains");
    position_ += run.grains;
    if (!here) continue;
    recent_.emplace_back();
    if (!run.digests.empty()) recent_.back() = load_digest(run.digests.data());
  }
  if (recent_.size() > kRecent) recent_.pop_front();
  return recent_.back();
}

}  // namespace grainmill
