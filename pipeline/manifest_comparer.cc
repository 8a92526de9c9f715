// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest_comparer.h"

#include <algorithm>

namespace grainmill {

Result<ManifestReader::Run> ManifestComparer::expect(std::uint64_t most) {
  GM_TRY(const ManifestReader::Run run, expected_.take(most));
  if (run.grains == 0)
    return fail(ErrorKind::corrupt, expected_.path(),
                "manifest has fewer digests than its disk has grains");
  return run;
}

Status ManifestComparer::add_zeros(std::uint64_t grains) {
  while (grains > 0) {
    GM_TRY(const ManifestReader::Run run, expect(grains));
    if (!run.digests.empty()) differ(Difference::Kind::differs, run.grains, std::nullopt);
    grain_ += run.grains;
    grains -= run.grains;
  }
  return {};
}

Status ManifestComparer::add(std::span<const GrainRecord> records,
                             std::span<const std::byte> /*leaves*/,
                             std::span<const std::optional<Error>> errors) {
  for (std::size_t done = 0; done < records.size();) {
    GM_TRY(const ManifestReader::Run run, expect(records.size() - done));
    for (std::uint64_t i = 0; i < run.grains; ++i, ++done, ++grain_) {
      const GrainRecord& record = records[done];
      if (record.kind == GrainRecord::Kind::unreadable) {
        differ(Difference::Kind::unreadable, 1, errors[done]);
        continue;
      }
      const bool expects_data = !run.digests.empty();
      const bool is_data = record.kind == GrainRecord::Kind::data;
      const bool same =
          expects_data == is_data &&
          (!is_data || load_digest(run.digests.data() + i * kDigest128Bytes) == record.digest);
      if (!same) differ(Difference::Kind::differs, 1, std::nullopt);
    }
  }
  return {};
}

void ManifestComparer::differ(Difference::Kind kind, std::uint64_t grains,
                              const std::optional<Error>& error) {
  const std::uint64_t begin = grain_ * kDigestGrain;
  const std::uint64_t length = std::min(begin + grains * kDigestGrain, disk_bytes_) - begin;
  (kind == Difference::Kind::differs ? differing_bytes_ : unreadable_bytes_) += length;
  if (pending_.length != 0 && pending_.kind == kind &&
      pending_.guest_offset + pending_.length == begin) {
    pending_.length += length;
    return;
  }
  finish();
  pending_ = {kind, begin, length, error};
}

void ManifestComparer::finish() {
  if (pending_.length != 0) report_(pending_);
  pending_ = {};
}

}  // namespace grainmill
