// SPDX-License-Identifier: Apache-2.0
#include "pipeline/conversion.h"

#include "engine/format/format.h"
#include "pipeline/refusals.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace grainmill {
namespace {

bool is_same_name(FileSystem& files, const std::string& one, const std::string& other) {
  if (one == other) return true;
  const auto folder = files.canonical(folder_of(one));
  return name_of(one) == name_of(other) && folder && files.canonical(folder_of(other)) == *folder;
}

std::vector<std::string> warnings_of(const Disk& disk) {
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < disk.depth(); ++i)
    for (const std::string& warning : disk.link(i).description().warnings)
      warnings.push_back(warning);
  if (const std::uint64_t size = disk.link(0).size_bytes(); size != disk.size_bytes())
    warnings.push_back(fmt::format(
        "{}: the {} bytes of the disk end within a sector, which disks of the output's format "
        "cannot: zeros fill it up to {}",
        disk.link(0).files().front()->path(), size, disk.size_bytes()));
  return warnings;
}

// Only what is a manifest goes: the name alone does not make a file ours.
Status remove_manifest(FileSystem& files, const std::string& path) {
  const Result<std::unique_ptr<File>> file = files.open_read(path);
  if (!file) return {};
  std::array<std::byte, kManifestPrefixBytes> prefix{};
  GM_TRY(const std::size_t got, (*file)->read_at(0, prefix));
  if (!manifest_header_bytes(std::span(prefix).first(got), path)) return {};
  return files.remove(path);
}

}  // namespace

Result<PendingManifest> PendingManifest::begin(const Conversion& conversion) {
  PendingManifest manifest;
  if (!conversion.options.manifest.empty()) {
    GM_TRY(manifest.pending_, conversion.files.create_pending(conversion.options.manifest));
  }
  manifest.writer_ = std::make_unique<ManifestWriter>(
      manifest.pending_ ? &manifest.pending_->file() : nullptr, conversion.header);
  return manifest;
}

Result<std::unique_ptr<Sink>> begin_output(const Conversion& conversion, FileSystem& files) {
  const ConvertOptions& options = conversion.options;
  GM_TRY(std::unique_ptr<Sink> sink,
         conversion.format.make_sink(files, {.path = options.output,
                                             .size_bytes = conversion.disk.size_bytes(),
                                             .settings = options.settings,
                                             .hole_bytes = options.hole_bytes,
                                             .compress = options.compress,
                                             .level = options.level,
                                             .in_place = options.in_place}));
  // It may be made of more files than the one that was named.
  for (const std::string& path : sink->outputs().paths()) {
    GM_CHECK(refuse_source_as_output(files, conversion.disk, path));
    if (is_same_name(files, path, options.manifest))
      return fail(ErrorKind::invalid_argument, path,
                  "is the name of both a file of the output and its manifest");
  }
  return sink;
}

Result<ConvertReport> finish_output(const Conversion& conversion, Sink& sink,
                                    PendingManifest& manifest) {
  const ConvertOptions& options = conversion.options;
  FileSystem& files = conversion.files;
  OutputFiles& outputs = sink.outputs();
  PendingFile* const pending = manifest.pending();
  GM_TRY(const ManifestRoots roots, manifest.writer().finish());
  GM_CHECK(sink.finish());

  // What may still fail for want of space or of a device, before any name is touched.
  if (options.durability == Durability::synced) {
    GM_CHECK(outputs.sync());
    if (pending != nullptr) GM_CHECK(pending->file().sync());
  }

  // Give the names: the output first, its manifest after it. In between, no manifest of an older
  // output may speak for it.
  if (pending != nullptr) GM_CHECK(files.remove(options.manifest));
  if (!options.stale_manifest.empty()) GM_CHECK(remove_manifest(files, options.stale_manifest));
  GM_CHECK(outputs.publish(options.durability));
  if (pending != nullptr) {
    if (Status named = pending->publish(options.durability); !named) {
      // An output without its manifest must not look finished.
      outputs.withdraw();
      return std::unexpected(std::move(named).error());
    }
  }
  const Disk& disk = conversion.disk;
  return ConvertReport{.disk_bytes = disk.size_bytes(),
                       .data_bytes = roots.data_grains * kDigestGrain,
                       .roots = roots,
                       .warnings = warnings_of(disk)};
}

}  // namespace grainmill
