// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest_reader.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "pipeline/run_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace grainmill {

Result<ManifestReader> ManifestReader::open(FileSystem& files, const std::string& path) {
  GM_TRY(std::unique_ptr<File> file, files.open_read(path));
  ManifestReader reader(std::move(file));
  GM_CHECK(reader.load());
  return reader;
}

Status ManifestReader::load() {
  GM_TRY(const FileInfo info, file_->info());
  std::array<std::byte, kManifestPrefixBytes> prefix{};
  GM_TRY(const std::size_t got, file_->read_at(0, prefix));
  GM_TRY(const std::size_t header_bytes,
         manifest_header_bytes(std::span(prefix).first(got), path()));
  if (info.size_bytes < header_bytes + kManifestTrailerBytes)
    return fail(ErrorKind::corrupt, path(), info.size_bytes, "manifest is cut short");
  GM_CHECK(check_checksum(info.size_bytes));

  std::vector<std::byte> header(header_bytes);
  GM_CHECK(file_->read_exact_at(0, header));
  GM_TRY(header_, decode_manifest_header(header, path()));
  std::array<std::byte, kManifestTrailerBytes> trailer{};
  body_end_ = info.size_bytes - trailer.size();
  GM_CHECK(file_->read_exact_at(body_end_, trailer));
  roots_ = decode_manifest_roots(trailer, header_.crypto);
  at_ = header_bytes;
  return {};
}

// The manifest is evidence: it is believed only if it is itself whole.
Status ManifestReader::check_checksum(std::uint64_t file_bytes) const {
  constexpr std::size_t kTail = kDigest128Bytes + kManifestEndMagic.size();
  std::array<std::byte, kTail> tail{};
  GM_CHECK(file_->read_exact_at(file_bytes - kTail, tail));
  if (std::memcmp(tail.data() + kDigest128Bytes, kManifestEndMagic.data(),
                  kManifestEndMagic.size()) != 0)
    return fail(ErrorKind::corrupt, path(), file_bytes - kManifestEndMagic.size(),
                "manifest does not end as one: it is cut short");
  StreamDigest checksum;
  std::vector<std::byte> piece(kMiB);
  for (std::uint64_t at = 0; at < file_bytes - kTail; at += piece.size()) {
    const auto bytes =
        std::span(piece).first(std::min<std::uint64_t>(piece.size(), file_bytes - kTail - at));
    GM_CHECK(file_->read_exact_at(at, bytes));
    checksum.update(bytes);
  }
  if (checksum.digest() == load_digest(tail.data())) return {};
  return fail(ErrorKind::corrupt, path(),
              fmt::format("manifest is damaged: its own checksum is {}, expected {}",
                          to_hex(checksum.digest()), to_hex(load_digest(tail.data()))));
}

Status ManifestReader::next_record() {
  std::array<std::byte, RunEncoder::kRecordHeaderBytes> head{};
  if (!range_within(at_, head.size(), body_end_))
    return fail(ErrorKind::corrupt, path(), at_, "manifest record is cut short");
  GM_CHECK(file_->read_exact_at(at_, head));
  at_ += head.size();
  zeros_ = load_le<std::uint32_t>(head.data());
  const std::uint32_t data = load_le<std::uint32_t>(head.data() + 4);
  const std::uint64_t bytes = std::uint64_t{data} * kDigest128Bytes;
  if (data > RunEncoder::kMaxRecordGrains || !range_within(at_, bytes, body_end_))
    return fail(ErrorKind::corrupt, path(), at_,
                fmt::format("manifest record of {} digests does not fit", data));
  digests_.resize(bytes);
  digests_at_ = 0;
  GM_CHECK(file_->read_exact_at(at_, digests_));
  at_ += bytes;
  return {};
}

Result<ManifestReader::Run> ManifestReader::take(std::uint64_t most) {
  while (zeros_ == 0 && digests_at_ == digests_.size()) {
    if (at_ == body_end_) return Run{};
    GM_CHECK(next_record());
  }
  if (zeros_ != 0) {
    const std::uint64_t grains = std::min(zeros_, most);
    zeros_ -= grains;
    return Run{.grains = grains, .digests = {}};
  }
  const std::uint64_t grains =
      std::min<std::uint64_t>((digests_.size() - digests_at_) / kDigest128Bytes, most);
  const auto digests = std::span(digests_).subspan(digests_at_, grains * kDigest128Bytes);
  digests_at_ += digests.size();
  return Run{.grains = grains, .digests = digests};
}

}  // namespace grainmill
