// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert.h"

#include "engine/format/format.h"
#include "pipeline/conversion.h"
#include "pipeline/refusals.h"
#include "pipeline/resumable.h"

#include <fmt/format.h>

#include <memory>

namespace grainmill {
namespace {

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
  Conversion conversion{
      .files = files,
      .options = options,
      .format = *format,
      .disk = disk,
      .header = {.disk_bytes = disk.size_bytes(), .crypto = options.graph.crypto, .sources = {}}};
  GM_TRY(conversion.header.sources, describe_sources(disk));
  if (options.resume) return convert_resumable(conversion);

  // Begin the outputs. Nothing new has a name yet.
  GM_TRY(const std::unique_ptr<Sink> sink, begin_output(conversion, files));
  GM_TRY(PendingManifest manifest, PendingManifest::begin(conversion));

  // Move the data.
  GM_CHECK(run_graph(disk, sink.get(), manifest.writer(), options.graph));
  return finish_output(conversion, *sink, manifest);
}

}  // namespace grainmill
