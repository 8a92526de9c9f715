// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/open.h"

#include "engine/format/qcow2/layout.h"
#include "engine/format/qcow2/link.h"
#include "engine/format/qcow2/tables.h"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace grainmill::qcow2 {
namespace {

Result<Header> read_header(const File& file) {
  std::array<std::byte, kHeaderStartBytes> start{};
  GM_TRY(const std::size_t got, file.read_at(0, start));
  GM_TRY(const std::uint64_t cluster_bytes,
         parse_cluster_bytes(std::span(start).first(got), file.path()));
  std::vector<std::byte> cluster(cluster_bytes);
  GM_TRY(const std::size_t size, file.read_at(0, cluster));
  return parse_header(std::span(cluster).first(size), file.path());
}

// qemu takes a name with a colon before the first slash for a protocol and its arguments:
// "nbd:...", "json:{...}". They may name anything at all, so nothing here tries to understand them.
Status check_backing_file(const Header& header, const std::string& path) {
  const std::string& name = header.backing_file;
  const std::size_t cut = name.find_first_of(":/");
  if (cut == std::string::npos || name[cut] == '/') return {};
  return fail(ErrorKind::unsupported, path,
              fmt::format("names its backing file by the protocol '{}'; only plain paths are "
                          "followed: give it one with `qemu-img rebase -u -F FORMAT -b PATH`",
                          name.substr(0, cut)));
}

}  // namespace

bool probe(std::span<const std::byte> head) { return has_magic(head) && version_of(head) != 1; }

Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& /*files*/,
                                   const OpenOptions& options) {
  GM_TRY(Header header, read_header(*file));
  GM_CHECK(check_backing_file(header, file->path()));
  if (options.mode == OpenMode::read_write)
    return fail(ErrorKind::unsupported, file->path(),
                "is a qcow2 image, which can be read but not written in place");
  GM_TRY(MappingTables tables, MappingTables::open(*file, std::move(header)));
  return std::make_unique<QcowLink>(std::move(file), std::move(tables), options);
}

}  // namespace grainmill::qcow2
