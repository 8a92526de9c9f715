// SPDX-License-Identifier: Apache-2.0
#include "pipeline/verify.h"

#include "engine/base/arith.h"
#include "pipeline/manifest_reader.h"
#include "pipeline/manifest_writer.h"

#include <fmt/format.h>

#include <optional>

namespace grainmill {
namespace {

// Sends what is found both to the comparer and, for the cryptographic root, to a writer without a
// file.
class VerifyLog final : public GrainLog {
 public:
  VerifyLog(ManifestComparer& comparer, ManifestWriter* roots)
      : comparer_(comparer), roots_(roots) {}

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override {
    if (roots_ != nullptr) GM_CHECK(roots_->add_zeros(grains));
    return comparer_.add_zeros(grains);
  }
  [[nodiscard]] Status add(std::span<const GrainRecord> records, std::span<const std::byte> leaves,
                           std::span<const std::optional<Error>> errors) override {
    if (roots_ != nullptr) GM_CHECK(roots_->add(records, leaves, errors));
    return comparer_.add(records, leaves, errors);
  }

 private:
  ManifestComparer& comparer_;
  ManifestWriter* roots_;
};

}  // namespace

// The raw output of a conversion has no magic. What no format claims is taken for raw: here that is
// safe, for its size and all its digests are held against the manifest.
Result<Disk> open_for_verify(FileSystem& files, const std::string& image,
                             const DiskOptions& options) {
  if (!options.format.empty()) return Disk::open(files, image, options);
  GM_TRY(const std::unique_ptr<File> file, files.open_read(image));
  DiskOptions disk = options;
  const Result<const Format*> format = detect_format(*file, files);
  if (!format && format.error().kind == ErrorKind::unsupported) disk.format = "raw";
  return Disk::open(files, image, disk);
}

Result<ManifestReader> open_manifest(FileSystem& files, const std::string& path) {
  Result<ManifestReader> manifest = ManifestReader::open(files, path);
  if (!manifest && manifest.error().kind == ErrorKind::not_found)
    manifest.error().message +=
        "; a conversion writes OUTPUT.manifest: name the one of this disk with --manifest";
  return manifest;
}

namespace {

Result<ManifestReader> open_manifest_of(FileSystem& files, const VerifyOptions& options) {
  Result<ManifestReader> opened = open_manifest(files, options.manifest);
  if (opened) return opened;
  // Of an image that is not there, neither is the manifest.
  const Result<std::unique_ptr<File>> image = files.open_read(options.image);
  return std::unexpected(image ? std::move(opened).error() : image.error());
}

}  // namespace

Result<VerifyReport> verify(FileSystem& files, const VerifyOptions& options) {
  GM_TRY(ManifestReader manifest, open_manifest_of(files, options));
  const ManifestHeader& expected = manifest.header();
  GM_TRY(const Disk disk, open_for_verify(files, options.image, options.disk));

  VerifyReport report;
  report.format = disk.link(0).description().format;
  report.disk_bytes = disk.size_bytes();
  report.expected_bytes = expected.disk_bytes;
  report.crypto = expected.crypto;
  report.expected_roots = manifest.roots();
  // A disk of another size is another disk; comparing ranges would name all of it.
  if (report.disk_bytes != report.expected_bytes) return report;

  ManifestComparer comparer(manifest, disk.size_bytes(), options.on_difference);
  if (const Status tables = disk.check(); !tables) {
    report.structure_damaged = true;
    options.on_difference({Difference::Kind::unreadable, 0, 0, tables.error()});
  }

  GraphOptions graph = options.graph;
  graph.crypto = expected.crypto;
  graph.collect_errors = true;
  ManifestWriter roots(nullptr, expected);
  VerifyLog log(comparer, expected.crypto != CryptoAlgorithm::none ? &roots : nullptr);
  GM_CHECK(run_graph(disk, nullptr, log, graph));
  comparer.finish();
  GM_TRY(const ManifestReader::Run surplus, manifest.take(1));
  if (surplus.grains != 0)
    return fail(ErrorKind::corrupt, options.manifest,
                "manifest has more digests than its disk has grains");
  report.differing_bytes = comparer.differing_bytes();
  report.unreadable_bytes = comparer.unreadable_bytes();
  if (expected.crypto != CryptoAlgorithm::none) {
    GM_TRY(const ManifestRoots found, roots.finish());
    report.crypto_differs = report.differing_bytes == 0 && report.unreadable_bytes == 0 &&
                            found.crypto != manifest.roots().crypto;
  }
  return report;
}

}  // namespace grainmill
