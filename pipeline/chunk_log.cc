// SPDX-License-Identifier: Apache-2.0
#include "pipeline/chunk_log.h"

#include <algorithm>
#include <thread>

namespace grainmill {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kLongestWait = std::chrono::milliseconds(100);

bool is_lost(const FoundChunk& chunk, std::uint64_t guest_offset) {
  return std::ranges::any_of(chunk.lost, [&](const Flaw& flaw) {
    return guest_offset >= flaw.guest_offset && guest_offset - flaw.guest_offset < flaw.length;
  });
}

// One digest, zeros behind the end of what is stored.
Digest128 digest_at(std::span<const std::byte> digests, std::uint64_t grain) {
  const std::uint64_t at = grain * kDigest128Bytes;
  return at < digests.size() ? load_digest(digests.data() + at) : Digest128{};
}

}  // namespace

ScrubClock system_clock() {
  using std::chrono::duration_cast;
  return {
      .now =
          [] {
            return duration_cast<std::chrono::seconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                .count();
          },
      .steady =
          [] {
            return duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch());
          },
      .sleep = [](nanoseconds time) { std::this_thread::sleep_for(time); }};
}

void Throttle::take(std::uint64_t bytes) {
  if (rate_ == 0) return;
  // What was not used while nothing was read is not saved up.
  free_at_ = std::max(free_at_, clock_.steady());
  free_at_ += nanoseconds(
      static_cast<std::int64_t>(static_cast<double>(bytes) / static_cast<double>(rate_) * 1e9));
  while (cancelled_ == nullptr || !cancelled_->load()) {
    const nanoseconds left = free_at_ - clock_.steady();
    if (left <= nanoseconds::zero()) return;
    clock_.sleep(std::min(left, kLongestWait));
  }
}

std::vector<Flaw> differences(std::span<const std::byte> expected, const FoundChunk& found,
                              std::uint64_t chunk_bytes, std::uint64_t disk_bytes) {
  if (std::ranges::equal(expected, found.digests) && found.lost.empty()) return {};
  std::vector<Flaw> flaws;
  const std::uint64_t begin = found.number * chunk_bytes;
  const std::uint64_t grains = std::max(expected.size(), found.digests.size()) / kDigest128Bytes;
  for (std::uint64_t grain = 0; grain < grains; ++grain) {
    const std::uint64_t offset = begin + grain * kDigestGrain;
    if (digest_at(expected, grain) == digest_at(found.digests, grain) || is_lost(found, offset))
      continue;
    flaws.push_back(
        {.guest_offset = offset, .length = std::min(kDigestGrain, disk_bytes - offset)});
  }
  return join_flaws(std::move(flaws));
}

ChunkLog::ChunkLog(std::uint64_t disk_bytes, std::uint64_t chunk_bytes, std::uint64_t first_chunk,
                   Throttle& throttle, Take take)
    : disk_bytes_(disk_bytes),
      chunk_bytes_(chunk_bytes),
      throttle_(throttle),
      take_(std::move(take)),
      position_(first_chunk * chunk_bytes) {
  chunk_.number = first_chunk;
}

Status ChunkLog::add_zeros(std::uint64_t grains) {
  while (grains != 0) {
    const std::uint64_t left = (chunk_bytes_ - position_ % chunk_bytes_) / kDigestGrain;
    const std::uint64_t count = std::min(grains, left);
    GM_CHECK(advance(count));
    grains -= count;
  }
  return {};
}

Status ChunkLog::add(std::span<const GrainRecord> records, std::span<const std::byte> /*leaves*/,
                     std::span<const std::optional<Error>> errors) {
  throttle_.take(records.size() * kDigestGrain);
  for (std::size_t i = 0; i < records.size(); ++i) {
    append(records[i], i < errors.size() ? errors[i] : std::nullopt);
    GM_CHECK(advance(1));
  }
  return {};
}

void ChunkLog::append(const GrainRecord& record, const std::optional<Error>& error) {
  if (record.kind == GrainRecord::Kind::zero) return;
  chunk_.data_bytes += std::min(kDigestGrain, disk_bytes_ - position_);
  if (record.kind == GrainRecord::Kind::unreadable) {
    const bool broken = error && error->kind == ErrorKind::corrupt;
    Flaw flaw{.kind = broken ? Flaw::Kind::broken : Flaw::Kind::unreadable,
              .guest_offset = position_,
              .length = std::min(kDigestGrain, disk_bytes_ - position_),
              .reason = error ? error->to_string() : ""};
    chunk_.lost.push_back(std::move(flaw));
    return;
  }
  const std::uint64_t at = position_ % chunk_bytes_ / kDigestGrain * kDigest128Bytes;
  chunk_.digests.resize(at + kDigest128Bytes);
  store_digest(chunk_.digests.data() + at, record.digest);
}

Status ChunkLog::advance(std::uint64_t grains) {
  position_ = std::min(position_ + grains * kDigestGrain, disk_bytes_);
  if (position_ % chunk_bytes_ != 0 && position_ != disk_bytes_) return {};
  chunk_.lost = join_flaws(std::move(chunk_.lost));
  GM_CHECK(take_(chunk_));
  chunk_ = {.number = chunk_.number + 1, .digests = {}, .lost = {}, .data_bytes = 0};
  return {};
}

}  // namespace grainmill
