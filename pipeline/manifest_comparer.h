// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/grain_log.h"
#include "pipeline/manifest_reader.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grainmill {

// A guest range that is not what the manifest says.
struct Difference {
  enum class Kind : std::uint8_t { differs, unreadable };
  Kind kind = Kind::differs;
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  std::optional<Error> error;  // unreadable: the first reason in the range
};

// Holds what is found of a disk against a manifest; neighbouring differences of a kind are reported
// as one.
class ManifestComparer final : public GrainLog {
 public:
  // `disk_bytes`: of the disk that is read; the manifest must be of a disk of that size.
  ManifestComparer(ManifestReader& expected, std::uint64_t disk_bytes,
                   std::function<void(const Difference&)> report)
      : expected_(expected), disk_bytes_(disk_bytes), report_(std::move(report)) {}

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override;
  [[nodiscard]] Status add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> errors) override;

  // After the last grain: reports what is pending.
  void finish();

  [[nodiscard]] std::uint64_t differing_bytes() const { return differing_bytes_; }
  [[nodiscard]] std::uint64_t unreadable_bytes() const { return unreadable_bytes_; }

 private:
  // What the manifest expects of the next `most` grains at most.
  [[nodiscard]] Result<ManifestReader::Run> expect(std::uint64_t most);
  void differ(Difference::Kind kind, std::uint64_t grains, const std::optional<Error>& error);

  ManifestReader& expected_;
  std::uint64_t disk_bytes_;
  std::function<void(const Difference&)> report_;
  std::uint64_t grain_ = 0;  // the next one
  Difference pending_;
  std::uint64_t differing_bytes_ = 0;
  std::uint64_t unreadable_bytes_ = 0;
};

}  // namespace grainmill
