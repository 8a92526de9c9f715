// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest_writer.h"

#include "engine/base/byte_order.h"
#include "engine/base/units.h"

#include <array>

namespace grainmill {
namespace {

constexpr std::size_t kFlushBytes = 256 * kKiB;

// Every root begins with the size of the disk: two disks of different length never have the same
// one.
std::array<std::byte, 8> size_prefix(std::uint64_t disk_bytes) {
  std::array<std::byte, 8> bytes{};
  store_le(bytes.data(), disk_bytes);
  return bytes;
}

}  // namespace

ManifestWriter::ManifestWriter(File* file, const ManifestHeader& header)
    : file_(file),
      crypto_(header.crypto),
      body_(kDigest128Bytes, [this](std::span<const std::byte> record) {
        root_.update(record);
        append(record);
      }) {
  const std::array<std::byte, 8> prefix = size_prefix(header.disk_bytes);
  root_.update(prefix);
  if (crypto_ != CryptoAlgorithm::none) {
    crypto_root_.emplace(crypto_);
    crypto_root_->update(prefix);
    crypto_body_.emplace(crypto_digest_bytes(crypto_), [this](std::span<const std::byte> record) {
      crypto_root_->update(record);
    });
  }
  append(encode_manifest_header(header));
}

Status ManifestWriter::add_zeros(std::uint64_t grains) {
  body_.add_zeros(grains);
  if (crypto_body_) crypto_body_->add_zeros(grains);
  return status_;
}

Status ManifestWriter::add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> /*errors*/) {
  const std::size_t leaf_bytes = crypto_digest_bytes(crypto_);
  std::array<std::byte, kDigest128Bytes> digest{};
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].kind == GrainRecord::Kind::zero) {
      GM_CHECK(add_zeros(1));
      continue;
    }
    store_digest(digest.data(), records[i].digest);
    body_.add(digest);
    if (crypto_body_) crypto_body_->add(leaves.subspan(i * leaf_bytes, leaf_bytes));
    ++data_grains_;
  }
  return status_;
}

Result<ManifestRoots> ManifestWriter::finish() {
  body_.finish();
  ManifestRoots roots{.root = root_.digest(), .crypto = {}, .data_grains = data_grains_};
  if (crypto_body_) {
    crypto_body_->finish();
    roots.crypto.resize(crypto_digest_bytes(crypto_));
    crypto_root_->finish(roots.crypto.data());
  }
  append(encode_manifest_roots(roots));
  std::array<std::byte, kDigest128Bytes> checksum{};
  store_digest(checksum.data(), checksum_.digest());
  append(checksum);
  append(std::as_bytes(std::span(kManifestEndMagic)));
  flush();
  if (!status_) return std::unexpected(status_.error());
  return roots;
}

void ManifestWriter::append(std::span<const std::byte> bytes) {
  if (file_ == nullptr) return;
  checksum_.update(bytes);
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  if (pending_.size() >= kFlushBytes) flush();
}

void ManifestWriter::flush() {
  if (file_ == nullptr || !status_) return;
  status_ = file_->write_at(written_, pending_);
  written_ += pending_.size();
  pending_.clear();
}

}  // namespace grainmill
