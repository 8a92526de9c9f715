// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/sink.h"

#include "engine/format/flat_sink.h"
#include "engine/format/vmdk/new_disk.h"
#include "engine/format/vmdk/options.h"
#include "engine/format/vmdk/sparse_sink.h"
#include "engine/format/vmdk/stream_sink.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace grainmill::vmdk {
namespace {

std::unique_ptr<Sink> fill_flat(NewDisk disk, std::uint64_t hole_bytes) {
  FlatSinkOptions flat{.hole_bytes = hole_bytes};
  std::uint64_t guest_offset = 0;
  for (std::size_t i = 0; i < disk.extents.size(); ++i) {
    const std::uint64_t length = disk.plan.descriptor.extents[i].sectors * kSectorBytes;
    flat.parts.push_back({guest_offset, length, disk.extents[i], 0});
    guest_offset += length;
  }
  return make_flat_sink(std::move(disk.outputs), std::move(flat));
}

Result<std::unique_ptr<Sink>> stream_to_standard_output(FileSystem& files,
                                                        const CreateOptions& create,
                                                        DeflateLevel level) {
  NewDisk disk(files);
  // Its descriptor needs a name for the file; readers do not look at that of an embedded one.
  GM_TRY(disk.plan, plan_disk("stream.vmdk", create, Contents::now));
  GM_TRY(std::unique_ptr<File> stream, files.open_standard_output());
  disk.extents.push_back(disk.outputs.add_in_place(std::move(stream)));
  return make_stream_sink(std::move(disk), level, SinkOrder::ascending);
}

Result<DeflateLevel> choose_level(const SinkOptions& options, bool is_compressed) {
  if (options.level.empty()) return DeflateLevel::standard;
  const std::optional<DeflateLevel> level = deflate_level_by_name(options.level);
  if (level && is_compressed) return *level;
  return fail(ErrorKind::invalid_argument, options.path,
              level ? "nothing is compressed here, so there is no level to choose: leave out "
                      "--level, or use -c"
                    : fmt::format("level '{}': expected fast, default, or 1 to 12", options.level));
}

}  // namespace

Result<std::unique_ptr<Sink>> make_sink(FileSystem& files, const SinkOptions& options) {
  CreateOptions create;
  create.size_bytes = options.size_bytes;
  create.replace = true;
  GM_CHECK(apply_settings(options.settings, create));
  if (options.compress && create.subformat.empty()) create.subformat = "streamOptimized";
  const bool is_stream = create.subformat == "streamOptimized";
  if (options.compress && !is_stream)
    return fail(ErrorKind::invalid_argument, options.path,
                fmt::format("subformat {} is never compressed: leave out -c, or use "
                            "-o subformat=streamOptimized",
                            create.subformat));
  GM_TRY(const DeflateLevel level, choose_level(options, is_stream));
  if (options.in_place)
    return fail(ErrorKind::invalid_argument, options.path,
                "a VMDK is always made new: leave out -n, or use -O raw");
  if (options.path == kStandardOutputName) {
    if (is_stream) return stream_to_standard_output(files, create, level);
    return fail(ErrorKind::invalid_argument, kStandardOutput,
                "of the VMDK subformats only streamOptimized can be written to a stream: use -c, "
                "or name a file");
  }
  GM_TRY(NewDisk disk, begin_disk(files, options.path, create, Contents::now));
  if (is_stream) return make_stream_sink(std::move(disk), level);
  if (disk.plan.subformat.sparse()) return make_sparse_sink(std::move(disk));
  return fill_flat(std::move(disk), options.hole_bytes);
}

}  // namespace grainmill::vmdk
