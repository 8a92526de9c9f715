// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert.h"

#include "engine/format/format.h"
#include "pipeline/manifest_writer.h"
#include "pipeline/refusals.h"

#include <fmt/format.h>

#include <array>
#include <memory>

namespace grainmill {
namespace {

bool is_same_name(FileSystem& files, const std::string& one, const std::string& other) {
  if (one == other) return true;
  const auto folder = files.canonical(folder_of(one));
  return name_of(one) == name_of(other) && folder && files.canonical(folder_of(other)) == *folder;
}

Result<const Format*> output_format(const ConvertOptions& options) {
  const Format* format = format_by_name(options.output_format);
  if (format != nullptr && format->make_sink != nullptr) return format;
  return fail(ErrorKind::invalid_argument, options.output,
              fmt::format("format '{}' cannot be written", options.output_format));
}

Result<Disk> open_source(FileSystem& files, const ConvertOptions& options, const Format& format) {
  DiskOptions disk = options.disk;
  disk.whole_sectors = format.whole_sectors;
  return Disk::open(files, options.source, disk);
}

Result<std::unique_ptr<Sink>> begin_output(FileSystem& files, const ConvertOptions& options,
                                           const Format& format, const Disk& disk) {
  GM_TRY(std::unique_ptr<Sink> sink, format.make_sink(files, {.path = options.output,
                                                              .size_bytes = disk.size_bytes(),
                                                              .settings = options.settings,
                                                              .hole_bytes = options.hole_bytes,
                                                              .compress = options.compress,
                                                              .level = options.level,
                                                              .in_place = options.in_place}));
  // It may be made of more files than the one that was named.
  for (const std::string& path : sink->outputs().paths()) {
    GM_CHECK(refuse_source_as_output(files, disk, path));
    if (is_same_name(files, path, options.manifest))
      return fail(ErrorKind::invalid_argument, path,
                  "is the name of both a file of the output and its manifest");
  }
  return sink;
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

std::string default_manifest_path(const std::string& output) { return output + ".manifest"; }

Result<ConvertReport> convert(FileSystem& files, const ConvertOptions& options) {
  // Open the chain. Content IDs are compared here.
  GM_TRY(const Format* format, output_format(options));
  GM_TRY(const Disk disk, open_source(files, options, *format));
  GM_CHECK(refuse_source_as_output(files, disk, options.output));
  if (!options.manifest.empty()) GM_CHECK(refuse_source_as_output(files, disk, options.manifest));

  // Read all tables before the first byte is written. From here on the map is believed.
  GM_CHECK(disk.check());
  ManifestHeader header{
      .disk_bytes = disk.size_bytes(), .crypto = options.graph.crypto, .sources = {}};
  GM_TRY(header.sources, describe_sources(disk));

  // Begin the outputs. Nothing new has a name yet.
  GM_TRY(const std::unique_ptr<Sink> sink, begin_output(files, options, *format, disk));
  OutputFiles& outputs = sink->outputs();
  std::unique_ptr<PendingFile> manifest;
  if (!options.manifest.empty()) {
    GM_TRY(manifest, files.create_pending(options.manifest));
  }
  ManifestWriter writer(manifest ? &manifest->file() : nullptr, header);

  // Move the data.
  GM_CHECK(run_graph(disk, sink.get(), writer, options.graph));
  GM_TRY(const ManifestRoots roots, writer.finish());
  GM_CHECK(sink->finish());

  // What may still fail for want of space or of a device, before any name is touched.
  if (options.durability == Durability::synced) {
    GM_CHECK(outputs.sync());
    if (manifest) GM_CHECK(manifest->file().sync());
  }

  // Give the names: the output first, its manifest after it. In between, no manifest of an older
  // output may speak for it.
  if (manifest) GM_CHECK(files.remove(options.manifest));
  if (!options.stale_manifest.empty()) GM_CHECK(remove_manifest(files, options.stale_manifest));
  GM_CHECK(outputs.publish(options.durability));
  if (manifest) {
    if (Status named = manifest->publish(options.durability); !named) {
      // An output without its manifest must not look finished.
      outputs.withdraw();
      return std::unexpected(std::move(named).error());
    }
  }
  return ConvertReport{disk.size_bytes(), roots.data_grains * kDigestGrain, roots,
                       warnings_of(disk)};
}

}  // namespace grainmill
