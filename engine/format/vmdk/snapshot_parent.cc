// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/snapshot_parent.h"

#include "engine/base/arith.h"
#include "engine/base/text.h"
#include "engine/format/vmdk/descriptor_edit.h"
#include "engine/format/vmdk/descriptor_text.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kMaxDescriptorBytes = kMiB;

// Opened, or nullptr if there is no such file.
Result<std::unique_ptr<File>> open_if_there(FileSystem& files, const std::string& path) {
  auto opened = files.open_read(path);
  if (!opened && opened.error().kind == ErrorKind::not_found) return nullptr;
  return opened;
}

Result<bool> are_same_file(const File& one, const File& other) {
  GM_TRY(const FileInfo a, one.info());
  GM_TRY(const FileInfo b, other.info());
  return is_same_file(a, b);
}

bool is_same_folder(FileSystem& files, const std::string& one, const std::string& other) {
  return files.canonical(one).value_or(one) == files.canonical(other).value_or(other);
}

// The descriptor of a link that has been opened, and so checked, before.
Result<std::string> read_descriptor(const File& file) {
  std::array<std::byte, kSectorBytes> sector{};
  GM_TRY(const std::size_t got, file.read_at(0, sector));
  std::uint64_t offset = 0;
  std::uint64_t length = kMaxDescriptorBytes;
  if (got == sector.size() && has_hosted_magic(sector)) {
    GM_TRY(const HostedHeader header, parse_hosted_header(sector, file.path(), 0));
    offset = header.descriptor_sector * kSectorBytes;
    length = std::min(length, header.descriptor_sectors * kSectorBytes);
  }
  std::string text(length, '\0');
  GM_TRY(const std::size_t read, file.read_at(offset, std::as_writable_bytes(std::span(text))));
  text.resize(std::min(read, text.find('\0')));
  return text;
}

// The ddb entries of a descriptor.
class Database {
 public:
  explicit Database(std::string text) : text_(std::move(text)) {}

  [[nodiscard]] std::optional<std::string> text(std::string_view key) const {
    const std::optional<std::string_view> value = value_of(text_, key);
    if (!value || value->empty() || !may_be_quoted(*value)) return std::nullopt;
    return std::string(*value);
  }

  template <typename T>
  [[nodiscard]] std::optional<T> number(std::string_view key) const {
    const std::optional<std::string> value = text(key);
    if (!value) return std::nullopt;
    T result{};
    const char* end = value->data() + value->size();
    const auto [rest, status] = std::from_chars(value->data(), end, result);
    return status == std::errc{} && rest == end ? std::optional(result) : std::nullopt;
  }

  [[nodiscard]] std::optional<Geometry> geometry() const {
    const auto cylinders = number<std::uint64_t>("ddb.geometry.cylinders");
    const auto heads = number<std::uint64_t>("ddb.geometry.heads");
    const auto sectors = number<std::uint64_t>("ddb.geometry.sectors");
    if (!cylinders || !heads || !sectors) return std::nullopt;
    return Geometry{*cylinders, *heads, *sectors};
  }

 private:
  std::string text_;
};

template <typename T>
void set_if_missing(std::optional<T>& fact, std::optional<T> value) {
  if (!fact) fact = std::move(value);
}

std::optional<std::uint64_t> grain_of(const LinkDescription& description) {
  for (const ExtentDescription& extent : description.extents)
    if (extent.type == "SPARSE") return extent.grain_bytes;
  return std::nullopt;
}

}  // namespace

Result<ParentName> name_parent(FileSystem& files, const std::string& snapshot_path,
                               const std::string& written) {
  const std::string folder = folder_of(snapshot_path);
  const bool is_absolute = written.starts_with('/');
  ParentName name{is_absolute || folder == "." ? written : folder + "/" + written, written};
  GM_TRY(const std::unique_ptr<File> file, open_if_there(files, name.path));
  if (name.path != written) {
    GM_TRY(const std::unique_ptr<File> other, open_if_there(files, written));
    if (other && file) {
      GM_TRY(const bool same, are_same_file(*file, *other));
      if (!same)
        return fail(ErrorKind::invalid_argument, snapshot_path,
                    fmt::format("its parent '{}' could be {} or {}: write an absolute path",
                                written, name.path, files.canonical(written).value_or(written)));
    } else if (other && is_same_folder(files, folder_of(written), folder)) {
      name.path = written;
    } else if (other) {
      return fail(ErrorKind::invalid_argument, snapshot_path,
                  fmt::format("its parent '{}' is looked for from the snapshot's folder, as "
                              "qemu-img does, and is not there; to mean the file in the current "
                              "folder, write its absolute path, {}",
                              written, files.canonical(written).value_or(written)));
    }
  }
  if (!file && name.path != written)
    return fail(ErrorKind::not_found, name.path,
                "no such file; the parent of a snapshot is looked for from the snapshot's folder");
  if (is_same_folder(files, folder_of(name.path), folder)) name.hint = name_of(name.path);
  return name;
}

Result<ParentFacts> read_parent(std::span<const Link* const> chain) {
  const Link& parent = *chain.front();
  const LinkDescription& description = parent.description();
  const std::string& path = parent.files().front()->path();
  if (description.format != "vmdk")
    return fail(ErrorKind::unsupported, path,
                fmt::format("is {}; a snapshot of VMDK builds on VMDK only: convert it first",
                            description.format));
  if (!description.content_id || *description.content_id == kNoContentId)
    return fail(ErrorKind::unsupported, path,
                "has no content ID (CID) that a snapshot could remember it by: write one into its "
                "descriptor, such as CID=00000001");
  const std::string type = lower(description.create_type);
  ParentFacts facts;
  facts.size_bytes = parent.size_bytes();
  facts.content_id = *description.content_id;
  facts.split = type.starts_with("twogb") || type.starts_with("2gb");
  facts.grain_bytes = grain_of(description);
  for (const Link* link : chain) {
    GM_TRY(std::string text, read_descriptor(*link->files().front()));
    const Database database(std::move(text));
    set_if_missing(facts.adapter_type, database.text("ddb.adapterType"));
    set_if_missing(facts.geometry, database.geometry());
    set_if_missing(facts.hardware_version, database.number<std::uint32_t>("ddb.virtualHWVersion"));
    set_if_missing(facts.tools_version, database.number<std::uint32_t>("ddb.toolsVersion"));
    if (link == &parent) facts.long_content_id = database.text("ddb.longContentID");
  }
  return facts;
}

}  // namespace grainmill::vmdk
