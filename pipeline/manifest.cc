// SPDX-License-Identifier: Apache-2.0
#include "pipeline/manifest.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "pipeline/unit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace grainmill {
namespace {

constexpr std::string_view kMagic =
    "GMMF\r\n\x1a\n";  // shows transfers in text mode, as PNG's does
constexpr std::size_t kFixedBytes = 48;
constexpr std::size_t kSourceBytes = 32;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kMaxHeaderBytes = 64 * kMiB;
constexpr std::size_t kCryptoRootBytes = 64;

// Reads fields one after the other; running out of bytes is remembered, not fatal.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  T number() {
    if (!range_within(at_, sizeof(T), bytes_.size())) {
      exhausted_ = true;
      return T{};
    }
    const T value = load_le<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }

  std::string text(std::size_t length) {
    const std::size_t padded = align_up(length, kAlignment);
    if (!range_within(at_, padded, bytes_.size())) {
      exhausted_ = true;
      return {};
    }
    std::string value(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    at_ += padded;
    return value;
  }

  [[nodiscard]] bool exhausted() const { return exhausted_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  bool exhausted_ = false;
};

class FieldWriter {
 public:
  template <typename T>
  void number(T value) {
    std::array<std::byte, sizeof(T)> field{};
    store_le(field.data(), value);
    bytes_.insert(bytes_.end(), field.begin(), field.end());
  }
  void text(std::string_view value) {
    const auto* data = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), data, data + value.size());
    bytes_.resize(align_up(bytes_.size(), kAlignment));
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

Result<std::vector<ManifestSource>> describe_sources(const Disk& disk) {
  std::vector<ManifestSource> sources;
  for (std::uint32_t i = 0; i < disk.depth(); ++i) {
    for (const File* file : disk.link(i).files()) {
      GM_TRY(const FileInfo info, file->info());
      sources.push_back(
          {i, disk.link(i).description().content_id, info.size_bytes, info.mtime_ns, file->path()});
    }
  }
  return sources;
}

std::vector<std::byte> encode_manifest_header(const ManifestHeader& header) {
  std::size_t length = kFixedBytes;
  for (const ManifestSource& source : header.sources)
    length += kSourceBytes + align_up(source.path.size(), kAlignment);
  FieldWriter out;
  out.text(kMagic);
  out.number<std::uint32_t>(kManifestVersion);
  out.number(static_cast<std::uint32_t>(length));
  out.number(header.disk_bytes);
  out.number(static_cast<std::uint32_t>(kDigestGrain));
  out.number(static_cast<std::uint32_t>(header.crypto));
  out.number(static_cast<std::uint32_t>(header.sources.size()));
  out.number<std::uint32_t>(0);
  out.number<std::uint64_t>(0);
  for (const ManifestSource& source : header.sources) {
    out.number(source.link);
    out.number<std::uint32_t>(source.content_id ? 1 : 0);
    out.number(source.content_id.value_or(0));
    out.number(static_cast<std::uint32_t>(source.path.size()));
    out.number(source.size_bytes);
    out.number(static_cast<std::uint64_t>(source.mtime_ns));
    out.text(source.path);
  }
  return out.take();
}

Result<std::size_t> manifest_header_bytes(std::span<const std::byte> prefix,
                                          const std::string& path) {
  if (prefix.size() < kManifestPrefixBytes ||
      std::memcmp(prefix.data(), kMagic.data(), kMagic.size()) != 0)
    return fail(ErrorKind::invalid_argument, path,
                "is not a Grainmill manifest: its first bytes are not those of one");
  const std::uint32_t version = load_le<std::uint32_t>(prefix.data() + 8);
  if (version != kManifestVersion)
    return fail(ErrorKind::unsupported, path, 8,
                fmt::format("manifest of version {}; version {} is known: use a newer grainmill",
                            version, kManifestVersion));
  const std::size_t length = load_le<std::uint32_t>(prefix.data() + 12);
  if (length < kFixedBytes || length > kMaxHeaderBytes)
    return fail(ErrorKind::corrupt, path, 12,
                fmt::format("manifest header of impossible length {}", length));
  return length;
}

Result<ManifestHeader> decode_manifest_header(std::span<const std::byte> bytes,
                                              const std::string& path) {
  FieldReader in(bytes.subspan(kManifestPrefixBytes));
  ManifestHeader header;
  header.disk_bytes = in.number<std::uint64_t>();
  const std::uint32_t grain = in.number<std::uint32_t>();
  if (grain != kDigestGrain)
    return fail(
        ErrorKind::unsupported, path, 24,
        fmt::format("manifest with digests of {} bytes; {} are known", grain, kDigestGrain));
  const std::uint32_t crypto = in.number<std::uint32_t>();
  header.crypto = static_cast<CryptoAlgorithm>(crypto);
  if (crypto > 0xff || (crypto != 0 && crypto_digest_bytes(header.crypto) == 0))
    return fail(ErrorKind::unsupported, path, 28,
                fmt::format("manifest with digest algorithm {}, which is not known", crypto));
  const std::uint32_t sources = in.number<std::uint32_t>();
  in.number<std::uint32_t>();
  in.number<std::uint64_t>();
  for (std::uint32_t i = 0; i < sources && !in.exhausted(); ++i) {
    ManifestSource source;
    source.link = in.number<std::uint32_t>();
    const bool has_id = in.number<std::uint32_t>() != 0;
    const std::uint32_t id = in.number<std::uint32_t>();
    if (has_id) source.content_id = id;
    const std::uint32_t path_bytes = in.number<std::uint32_t>();
    source.size_bytes = in.number<std::uint64_t>();
    source.mtime_ns = static_cast<std::int64_t>(in.number<std::uint64_t>());
    source.path = in.text(path_bytes);
    header.sources.push_back(std::move(source));
  }
  if (in.exhausted())
    return fail(ErrorKind::corrupt, path, bytes.size(), "manifest header is cut short");
  return header;
}

std::vector<std::byte> encode_manifest_roots(const ManifestRoots& roots) {
  std::vector<std::byte> bytes(kDigest128Bytes + kCryptoRootBytes + sizeof(std::uint64_t));
  store_digest(bytes.data(), roots.root);
  std::ranges::copy(roots.crypto, bytes.begin() + kDigest128Bytes);
  store_le(bytes.data() + kDigest128Bytes + kCryptoRootBytes, roots.data_grains);
  return bytes;
}

ManifestRoots decode_manifest_roots(std::span<const std::byte> trailer, CryptoAlgorithm crypto) {
  ManifestRoots roots;
  roots.root = load_digest(trailer.data());
  const auto root = trailer.subspan(kDigest128Bytes, crypto_digest_bytes(crypto));
  roots.crypto.assign(root.begin(), root.end());
  roots.data_grains = load_le<std::uint64_t>(trailer.data() + kDigest128Bytes + kCryptoRootBytes);
  return roots;
}

}  // namespace grainmill
