// SPDX-License-Identifier: Apache-2.0
#include "engine/format/raw/sink.h"

#include "engine/format/flat_sink.h"

#include <fmt/format.h>

#include <utility>

namespace grainmill::raw {
namespace {

// The file to write to; the sink's outputs own it.
Result<File*> begin(OutputFiles& outputs, FileSystem& files, const SinkOptions& options,
                    FlatTarget& target) {
  if (options.path == kStandardOutputName) {
    target = FlatTarget::stream;
    GM_TRY(std::unique_ptr<File> stream, files.open_standard_output());
    return outputs.add_in_place(std::move(stream));
  }
  if (options.in_place || files.is_block_device(options.path)) {
    target = FlatTarget::filled;
    GM_TRY(std::unique_ptr<File> file, files.open_in_place(options.path));
    GM_TRY(const FileInfo info, file->info());
    if (info.size_bytes < options.size_bytes)
      return fail(ErrorKind::invalid_argument, options.path,
                  fmt::format("has {} bytes, and the disk has {}: it would not fit",
                              info.size_bytes, options.size_bytes));
    return outputs.add_in_place(std::move(file));
  }
  target = FlatTarget::empty;
  GM_TRY(File * file, outputs.add(options.path));
  GM_CHECK(file->resize(options.size_bytes));
  return file;
}

}  // namespace

Result<std::unique_ptr<Sink>> make_sink(FileSystem& files, const SinkOptions& options) {
  if (options.compress || !options.level.empty())
    return fail(ErrorKind::invalid_argument, options.path,
                fmt::format("raw disks are never compressed: leave out {}",
                            options.compress ? "-c" : "--level"));
  if (!options.settings.empty())
    return fail(ErrorKind::invalid_argument, options.path,
                fmt::format("-o {}: raw disks have no options", options.settings.front().name));
  FlatSinkOptions flat{.hole_bytes = options.hole_bytes};
  OutputFiles outputs(files);
  GM_TRY(File * file, begin(outputs, files, options, flat.target));
  flat.parts.push_back({0, options.size_bytes, file, 0});
  return make_flat_sink(std::move(outputs), std::move(flat));
}

}  // namespace grainmill::raw
