// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/crypto_digest.h"
#include "engine/codec/digest.h"
#include "engine/disk/disk.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grainmill {

// What a disk held, to be proven again at any later time: a digest for each 64 KiB, and roots over
// them. The layout is in docs/manifest.md.

// One file that the source of a conversion was read from.
struct ManifestSource {
  std::uint32_t link = 0;                   // 0: the top link
  std::optional<std::uint32_t> content_id;  // of the link
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::string path;  // as it was opened
};

struct ManifestHeader {
  std::uint64_t disk_bytes = 0;
  CryptoAlgorithm crypto = CryptoAlgorithm::none;
  std::vector<ManifestSource> sources;
};

struct ManifestRoots {
  Digest128 root;                 // over the body
  std::vector<std::byte> crypto;  // over the cryptographic digests; empty without one
  std::uint64_t data_grains = 0;  // that are not zero
};

inline constexpr std::uint32_t kManifestVersion = 1;
inline constexpr std::size_t kManifestTrailerBytes = 112;

// The files a disk is read from, as they are now.
[[nodiscard]] Result<std::vector<ManifestSource>> describe_sources(const Disk& disk);

// The fixed parts of the layout as bytes.
[[nodiscard]] std::vector<std::byte> encode_manifest_header(const ManifestHeader& header);
[[nodiscard]] Result<ManifestHeader> decode_manifest_header(std::span<const std::byte> bytes,
                                                            const std::string& path);
// Everything of the trailer but the checksum and the closing magic.
[[nodiscard]] std::vector<std::byte> encode_manifest_roots(const ManifestRoots& roots);
[[nodiscard]] ManifestRoots decode_manifest_roots(std::span<const std::byte> trailer,
                                                  CryptoAlgorithm crypto);

// How long the header is, from its first kManifestPrefixBytes; fails for what is no manifest of a
// known version.
inline constexpr std::size_t kManifestPrefixBytes = 16;
[[nodiscard]] Result<std::size_t> manifest_header_bytes(std::span<const std::byte> prefix,
                                                        const std::string& path);

// What closes a manifest.
inline constexpr std::string_view kManifestEndMagic = "GMMF-END";

}  // namespace grainmill
