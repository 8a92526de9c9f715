// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/io/file.h"
#include "pipeline/grain_log.h"
#include "pipeline/manifest.h"
#include "pipeline/run_encoder.h"

#include <memory>
#include <optional>

namespace grainmill {

// Computes the roots of a disk from what is found of it; with a file, writes the manifest on the
// way. Memory does not grow with the disk.
class ManifestWriter final : public GrainLog {
 public:
  // `file`: new and empty, outlives this object; null to compute roots only.
  ManifestWriter(File* file, const ManifestHeader& header);

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override;
  [[nodiscard]] Status add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> errors) override;

  // After the last grain: writes what is left, and returns the roots.
  [[nodiscard]] Result<ManifestRoots> finish();

 private:
  void append(std::span<const std::byte> bytes);
  void flush();

  File* file_;
  CryptoAlgorithm crypto_;
  Status status_;  // of writing; the first error
  std::uint64_t written_ = 0;
  std::vector<std::byte> pending_;
  std::uint64_t data_grains_ = 0;
  StreamDigest checksum_;  // of the file so far
  StreamDigest root_;
  RunEncoder body_;
  std::optional<CryptoDigest> crypto_root_;
  std::optional<RunEncoder> crypto_body_;
};

}  // namespace grainmill
