// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert.h"

#include "engine/format/raw/sink.h"
#include "pipeline/manifest_writer.h"

#include <fmt/format.h>

#include <array>
#include <memory>

namespace grainmill {
namespace {

// An output that is also read from would be destroyed by its own conversion.
Status refuse_source_as_output(FileSystem& files, const Disk& disk, const std::string& output) {
  const Result<std::unique_ptr<File>> existing = files.open_read(output);
  if (!existing) return {};
  GM_TRY(const FileInfo target, (*existing)->info());
  for (std::size_t i = 0; i < disk.depth(); ++i) {
    for (const File* file : disk.link(i).files()) {
      GM_TRY(const FileInfo info, file->info());
      if (info.device == target.device && info.inode == target.inode)
        return fail(
            ErrorKind::invalid_argument, output,
            fmt::format("is part of the source ({}): choose another name for what is written",
                        file->path()));
    }
  }
  return {};
}

std::vector<std::string> warnings_of(const Disk& disk) {
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < disk.depth(); ++i)
    for (const std::string& warning : disk.link(i).description().warnings)
      warnings.push_back(warning);
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
  GM_TRY(const Disk disk, Disk::open(files, options.source, options.disk));
  GM_CHECK(refuse_source_as_output(files, disk, options.output));
  if (!options.manifest.empty()) GM_CHECK(refuse_source_as_output(files, disk, options.manifest));
  if (options.manifest == options.output)
    return fail(ErrorKind::invalid_argument, options.output,
                "is the name of both the output and its manifest");

  // Read all tables before the first byte is written. From here on the map is believed.
  GM_CHECK(disk.check());
  ManifestHeader header{
      .disk_bytes = disk.size_bytes(), .crypto = options.graph.crypto, .sources = {}};
  GM_TRY(header.sources, describe_sources(disk));

  // Begin the outputs. Neither has a name yet.
  GM_TRY(const std::unique_ptr<PendingFile> output, files.create_pending(options.output));
  GM_TRY(const std::unique_ptr<Sink> sink,
         raw::make_sink(output->file(), disk.size_bytes(), options.hole_bytes));
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
    GM_CHECK(output->file().sync());
    if (manifest) GM_CHECK(manifest->file().sync());
  }

  // Give the names: the output first, its manifest after it. In between, no manifest of an older
  // output may speak for it.
  if (manifest) GM_CHECK(files.remove(options.manifest));
  if (!options.stale_manifest.empty()) GM_CHECK(remove_manifest(files, options.stale_manifest));
  GM_CHECK(output->publish(options.durability));
  if (manifest) {
    if (Status named = manifest->publish(options.durability); !named) {
      // An output without its manifest must not look finished.
      static_cast<void>(files.remove(options.output));
      return std::unexpected(std::move(named).error());
    }
  }
  return ConvertReport{disk.size_bytes(), roots.data_grains * kDigestGrain, roots,
                       warnings_of(disk)};
}

}  // namespace grainmill
