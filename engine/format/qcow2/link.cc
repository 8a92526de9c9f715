// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/link.h"

#include "engine/base/arith.h"
#include "engine/format/qcow2/check.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::qcow2 {
namespace {

// The entries that are read at once, at most: half a megabyte.
constexpr std::uint64_t kChunkEntries = 65536;

std::vector<std::string> warnings_of(const Header& header, const std::string& path) {
  std::vector<std::string> warnings;
  if (header.dirty())
    warnings.push_back(path +
                       ": was not closed cleanly by its last writer (its refcounts may be wrong, "
                       "which does not matter for reading)");
  if (header.corrupt())
    warnings.push_back(
        path + ": was marked as corrupt by a writer; its mapping is checked before it is read");
  if (header.snapshots != 0)
    warnings.push_back(
        fmt::format("{}: has {} internal snapshot{}, which {} not read: only the "
                    "active state is",
                    path, header.snapshots, header.snapshots == 1 ? "" : "s",
                    header.snapshots == 1 ? "is" : "are"));
  if (header.bitmaps != 0)
    warnings.push_back(fmt::format("{}: has {} bitmap{}, which {} not read", path, header.bitmaps,
                                   header.bitmaps == 1 ? "" : "s",
                                   header.bitmaps == 1 ? "is" : "are"));
  return warnings;
}

LinkDescription describe_link(const Header& header, const std::string& path) {
  LinkDescription description;
  description.format = "qcow2";
  description.create_type = fmt::format("v{}", header.version);
  if (!header.backing_file.empty())
    description.parent =
        ParentRef{.hint = header.backing_file, .content_id = {}, .format = header.backing_format};
  // Any cluster may be compressed.
  description.extents.push_back({.path = path,
                                 .type = "qcow2",
                                 .size_bytes = header.size_bytes,
                                 .grain_bytes = header.cluster_bytes(),
                                 .compressed = true});
  description.facts.push_back({"compat", std::string(header.version == 2 ? "0.10" : "1.1")});
  description.facts.push_back(
      {"compression-type", std::string(header.compression == Compression::zstd ? "zstd" : "zlib")});
  description.facts.push_back({"refcount-bits", std::uint64_t{1} << header.refcount_order});
  if (header.version > 2) {
    description.facts.push_back({"lazy-refcounts", (header.compatible & kLazyRefcounts) != 0});
    description.facts.push_back({"corrupt", header.corrupt()});
    description.facts.push_back({"extended-l2", false});
  }
  description.warnings = warnings_of(header, path);
  description.unclean_shutdown = header.dirty();
  return description;
}

std::unexpected<Error> stream_error(const Extent& extent, std::string message) {
  return fail(ErrorKind::corrupt, extent.file->path(), extent.file_offset, std::move(message));
}

}  // namespace

QcowLink::QcowLink(std::unique_ptr<File> file, MappingTables tables, const OpenOptions& options)
    : file_(std::move(file)),
      tables_(std::move(tables)),
      choice_(options.tables),
      description_(describe_link(tables_.header(), file_->path())) {}

Status QcowLink::map(std::uint64_t offset, std::uint64_t length, ExtentList& out) const {
  GM_TRY(const FileInfo info, file_->info());
  const std::uint64_t end = offset + length;
  const std::uint64_t per_table = header().entries_per_table();
  const std::uint64_t table_reach = per_table * header().cluster_bytes();
  for (std::uint64_t at = offset; at < end;) {
    std::uint64_t table = at / table_reach;
    const bool absent = tables_.table_offset(table) == 0;
    std::uint64_t stop = std::min(end, (table + 1) * table_reach);
    if (absent) {
      append_merged(out, {.guest_offset = at, .length = stop - at});
    } else {
      GM_CHECK(map_table(at, stop, info.size_bytes, out));
    }
    at = stop;
  }
  return {};
}

Status QcowLink::map_table(std::uint64_t begin, std::uint64_t end, std::uint64_t file_bytes,
                           ExtentList& out) const {
  const std::uint64_t cluster_bytes = header().cluster_bytes();
  const std::uint64_t last = ceil_div(end, cluster_bytes);
  std::vector<std::uint64_t> chunk;
  for (std::uint64_t first = begin / cluster_bytes; first < last; first += chunk.size()) {
    chunk.resize(std::min(kChunkEntries, last - first));
    GM_CHECK(tables_.load(first, chunk));
    for (std::size_t i = 0; i < chunk.size();) {
      const std::size_t run = run_length(chunk, i, cluster_bytes);
      GM_TRY(const Mapping mapping, tables_.mapping(first + i, chunk[i], file_bytes));
      const std::size_t edge = i + run - 1;
      if (run > 1) GM_CHECK(tables_.mapping(first + edge, chunk[edge], file_bytes));
      Extent whole = describe(first + i, mapping);
      whole.length = run * cluster_bytes;
      append_merged(out, clip(whole, begin, end));
      i += run;
    }
  }
  return {};
}

// The extent of one whole cluster, even where the disk ends in it.
Extent QcowLink::describe(std::uint64_t cluster, const Mapping& mapping) const {
  const std::uint64_t cluster_bytes = header().cluster_bytes();
  Extent extent{.guest_offset = cluster * cluster_bytes, .length = cluster_bytes};
  if (mapping.kind == Mapping::Kind::none) return extent;
  if (mapping.kind == Mapping::Kind::zero) {
    extent.kind = ExtentKind::zero;
    return extent;
  }
  extent.file = file_.get();
  extent.file_offset = mapping.offset;
  extent.kind = ExtentKind::data;
  if (mapping.kind == Mapping::Kind::data) return extent;
  extent.kind = ExtentKind::deflated;
  extent.grain_address = extent.guest_offset;
  extent.grain_bytes = static_cast<std::uint32_t>(cluster_bytes);
  extent.grain_valid = static_cast<std::uint32_t>(
      std::min(cluster_bytes, header().size_bytes - extent.guest_offset));
  extent.stored_bytes = static_cast<std::uint32_t>(mapping.stored_bytes);
  return extent;
}

// Nothing in a qcow2 image tells a stream from another, or its bytes from rot, but that it must
// give exactly a cluster (and zstd's own structure).
Status QcowLink::inflate(const Extent& extent, std::span<const std::byte> stored,
                         Inflater& inflater, std::span<std::byte> out) const {
  const bool zstd = header().compression == Compression::zstd;
  std::size_t produced = 0;
  const InflateResult result = zstd ? inflater.inflate_zstd(stored, out, produced)
                                    : inflater.inflate_raw(stored, out, produced);
  switch (result) {
    case InflateResult::ok:
      return {};
    case InflateResult::cut_short:
      return stream_error(extent,
                          fmt::format("compressed cluster gives {} bytes; expected {}: its L2 "
                                      "entry or its data is damaged",
                                      produced, out.size()));
    case InflateResult::too_long:
      return stream_error(extent, fmt::format("compressed cluster gives more than its {} bytes: "
                                              "its L2 entry or its data is damaged",
                                              out.size()));
    case InflateResult::damaged:
      break;
  }
  return stream_error(
      extent,
      fmt::format("compressed data of the cluster for address {:#x} is damaged (not a "
                  "valid {} of at most {} bytes)",
                  extent.grain_address, zstd ? "zstd frame" : "deflate stream", stored.size()));
}

Status QcowLink::examine(Findings& findings) const {
  GM_TRY(const bool any_compressed, check_image(tables_, choice_, findings));
  may_deflate_ = any_compressed;
  return {};
}

}  // namespace grainmill::qcow2
