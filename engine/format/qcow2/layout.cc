// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/layout.h"

#include "engine/base/byte_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace grainmill::qcow2 {
namespace {

constexpr std::array<std::byte, 4> kMagic{std::byte{'Q'}, std::byte{'F'}, std::byte{'I'},
                                          std::byte{0xfb}};

constexpr std::uint64_t kHeader2Bytes = 72;   // of version 2; then extensions begin
constexpr std::uint64_t kHeader3Bytes = 104;  // of version 3, at least
constexpr std::uint64_t kCompressionField = 104;

// qemu's limits.
constexpr std::uint64_t kMaxRefcountTableBytes = 8 * kMiB;
constexpr std::uint32_t kMaxSnapshots = 65536;
constexpr std::uint64_t kMaxBackingBytes = 1023;
constexpr unsigned kMaxRefcountOrder = 6;

constexpr std::uint32_t kEndExtension = 0;
constexpr std::uint32_t kBackingFormatExtension = 0xe2792aca;
constexpr std::uint32_t kFeatureNamesExtension = 0x6803f857;
constexpr std::uint32_t kBitmapsExtension = 0x23852875;

// One pass over the first cluster.
class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> head, std::string_view path) : head_(head), path_(path) {}

  Result<Header> run() {
    GM_TRY(const std::uint64_t cluster_bytes, parse_cluster_bytes(head_, path_));
    header_.cluster_bits = static_cast<unsigned>(__builtin_ctzll(cluster_bytes));
    head_ = head_.first(std::min<std::uint64_t>(head_.size(), cluster_bytes));
    GM_CHECK(read_length());
    read_fields();
    GM_CHECK(read_extensions());
    GM_CHECK(check_features());
    GM_CHECK(read_compression());
    GM_CHECK(read_backing_file());
    GM_CHECK(check_tables());
    return std::move(header_);
  }

 private:
  [[nodiscard]] std::unexpected<Error> corrupt(std::uint64_t offset, std::string message) const {
    return fail(ErrorKind::corrupt, path_, offset, std::move(message));
  }
  [[nodiscard]] std::unexpected<Error> unsupported(std::uint64_t offset,
                                                   std::string message) const {
    return fail(ErrorKind::unsupported, path_, offset, std::move(message));
  }
  [[nodiscard]] std::uint32_t word(std::uint64_t offset) const {
    return load_be<std::uint32_t>(head_.data() + offset);
  }
  [[nodiscard]] std::uint64_t quad(std::uint64_t offset) const {
    return load_be<std::uint64_t>(head_.data() + offset);
  }
  [[nodiscard]] std::string text(std::uint64_t offset, std::uint64_t length) const {
    return {reinterpret_cast<const char*>(head_.data() + offset), length};
  }

  Status read_length() {
    header_.version = word(4);
    length_ = kHeader2Bytes;
    if (head_.size() < length_) return cut_short(length_);
    if (header_.version == 3) {
      if (head_.size() < kHeader3Bytes) return cut_short(kHeader3Bytes);
      length_ = word(100);
      if (length_ < kHeader3Bytes || length_ > header_.cluster_bytes())
        return corrupt(100, fmt::format("header of {} bytes; expected {} to {}", length_,
                                        kHeader3Bytes, header_.cluster_bytes()));
    }
    return head_.size() < length_ ? cut_short(length_) : Status{};
  }
  [[nodiscard]] Status cut_short(std::uint64_t needed) const {
    return corrupt(head_.size(),
                   fmt::format("the file ends inside its header of {} bytes", needed));
  }

  void read_fields() {
    header_.size_bytes = quad(24);
    header_.l1_entries = word(36);
    header_.l1_offset = quad(40);
    header_.refcount_table_offset = quad(48);
    header_.refcount_table_clusters = word(56);
    header_.snapshots = word(60);
    header_.snapshots_offset = quad(64);
    if (header_.version < 3) return;
    header_.incompatible = quad(72);
    header_.compatible = quad(80);
    header_.autoclear = quad(88);
    header_.refcount_order = word(96);
  }

  Status read_extensions() {
    const std::uint64_t backing = quad(8);
    const std::uint64_t end =
        backing == 0 ? head_.size() : std::min<std::uint64_t>(backing, head_.size());
    for (std::uint64_t at = length_; range_within(at, 8, end);) {
      const std::uint32_t type = word(at);
      const std::uint32_t length = word(at + 4);
      if (type == kEndExtension) return {};
      if (!range_within(at + 8, length, end))
        return corrupt(at, fmt::format("header extension {:#x} of {} bytes goes past {:#x}, where "
                                       "the extensions end",
                                       type, length, end));
      GM_CHECK(read_extension(type, at + 8, length));
      at += 8 + align_up(length, 8);
    }
    return {};
  }

  Status read_extension(std::uint32_t type, std::uint64_t at, std::uint32_t length) {
    if (type == kBackingFormatExtension) header_.backing_format = text(at, length);
    if (type == kFeatureNamesExtension) read_feature_names(at, length);
    if (type == kBitmapsExtension && (header_.autoclear & kBitmapsValid) != 0) {
      if (length < 24)
        return corrupt(at, fmt::format("bitmaps extension of {} bytes; expected 24", length));
      header_.bitmaps = word(at);
      header_.bitmap_directory_bytes = quad(at + 8);
      header_.bitmap_directory_offset = quad(at + 16);
    }
    return {};
  }

  void read_feature_names(std::uint64_t at, std::uint32_t length) {
    constexpr std::uint32_t kRecordBytes = 48;
    for (std::uint32_t i = 0; i + kRecordBytes <= length; i += kRecordBytes) {
      const auto kind = std::to_integer<unsigned>(head_[at + i]);
      const auto bit = std::to_integer<unsigned>(head_[at + i + 1]);
      std::string name = text(at + i + 2, kRecordBytes - 2);
      name.resize(std::min(name.size(), name.find('\0')));
      if (kind == 0) names_.emplace(bit, std::move(name));
    }
  }

  [[nodiscard]] Status check_features() const {
    if (const std::uint32_t method = word(32); method != 0)
      return unsupported(32, fmt::format("is encrypted ({}); decrypt it with qemu-img convert",
                                         method == 1   ? "AES"
                                         : method == 2 ? "LUKS"
                                                       : fmt::format("method {}", method)));
    if ((header_.incompatible & kExternalData) != 0)
      return unsupported(72,
                         "keeps its data in an external data file, which is not followed; make one "
                         "image of both with qemu-img convert");
    if ((header_.incompatible & kExtendedL2) != 0)
      return unsupported(72,
                         "has extended L2 entries (subclusters), which are not read; make an image "
                         "without them with qemu-img convert");
    constexpr std::uint64_t kKnown = kDirty | kCorrupt | kCompressionType;
    const std::uint64_t unknown = header_.incompatible & ~kKnown;
    if (unknown == 0) return {};
    const auto bit = static_cast<unsigned>(__builtin_ctzll(unknown));
    const auto name = names_.find(bit);
    return unsupported(
        72, fmt::format("needs the incompatible feature {} ({}), which is not known", bit,
                        name == names_.end() ? "without a name" : "'" + name->second + "'"));
  }

  Status read_compression() {
    const bool stated = (header_.incompatible & kCompressionType) != 0;
    const unsigned type =
        length_ > kCompressionField ? std::to_integer<unsigned>(head_[kCompressionField]) : 0;
    if (stated != (type != 0))
      return corrupt(kCompressionField,
                     fmt::format("compression type {} contradicts the incompatible features {:#x}",
                                 type, header_.incompatible));
    if (type > static_cast<unsigned>(Compression::zstd))
      return unsupported(kCompressionField,
                         fmt::format("compression type {}; 0 (zlib) and 1 (zstd) are known", type));
    header_.compression = static_cast<Compression>(type);
    return {};
  }

  Status read_backing_file() {
    const std::uint64_t offset = quad(8);
    const std::uint64_t length = word(16);
    if (offset == 0 && length == 0) return {};
    if (offset == 0 || length == 0 || length > kMaxBackingBytes)
      return corrupt(8,
                     fmt::format("name of the backing file of {} bytes at offset {:#x}; expected "
                                 "1 to {} bytes behind the header, or neither",
                                 length, offset, kMaxBackingBytes));
    if (offset < length_ || !range_within(offset, length, header_.cluster_bytes()))
      return corrupt(8, fmt::format("name of the backing file at offset {:#x}, not between the "
                                    "header and the end of the first cluster",
                                    offset));
    if (!range_within(offset, length, head_.size())) return cut_short(offset + length);
    header_.backing_file = text(offset, length);
    if (header_.backing_file.find('\0') != std::string::npos)
      return corrupt(offset, "the name of the backing file holds a zero byte");
    return {};
  }

  [[nodiscard]] Status check_tables() const {
    if (header_.refcount_order > kMaxRefcountOrder)
      return corrupt(96, fmt::format("refcount order {}; expected 0 to {}", header_.refcount_order,
                                     kMaxRefcountOrder));
    const std::uint64_t l1_bytes = std::uint64_t{header_.l1_entries} * 8;
    if (l1_bytes > kMaxL1Bytes)
      return corrupt(36, fmt::format("L1 table of {} entries; expected at most {}",
                                     header_.l1_entries, kMaxL1Bytes / 8));
    if (header_.l1_entries < header_.tables())
      return corrupt(36, fmt::format("L1 table of {} entries; a disk of {} bytes in clusters of {} "
                                     "needs {}",
                                     header_.l1_entries, header_.size_bytes,
                                     header_.cluster_bytes(), header_.tables()));
    if (header_.l1_entries != 0) GM_CHECK(check_place(40, header_.l1_offset, "L1 table"));
    const std::uint64_t clusters = header_.refcount_table_clusters;
    if (clusters == 0 || clusters * header_.cluster_bytes() > kMaxRefcountTableBytes)
      return corrupt(56, fmt::format("refcount table of {} clusters; expected 1 to {}", clusters,
                                     kMaxRefcountTableBytes / header_.cluster_bytes()));
    GM_CHECK(check_place(48, header_.refcount_table_offset, "refcount table"));
    if (header_.snapshots > kMaxSnapshots)
      return corrupt(60, fmt::format("{} internal snapshots; expected at most {}",
                                     header_.snapshots, kMaxSnapshots));
    if (header_.snapshots != 0)
      GM_CHECK(check_place(64, header_.snapshots_offset, "snapshot table"));
    return {};
  }
  [[nodiscard]] Status check_place(std::uint64_t field, std::uint64_t offset,
                                   std::string_view what) const {
    if (offset != 0 && offset % header_.cluster_bytes() == 0) return {};
    return corrupt(
        field, fmt::format("{} at offset {:#x}; expected a multiple of the cluster size {}", what,
                           offset, header_.cluster_bytes()));
  }

  std::span<const std::byte> head_;
  std::string_view path_;
  std::uint64_t length_ = 0;
  std::map<unsigned, std::string> names_;  // of incompatible features, by bit
  Header header_;
};

}  // namespace

bool has_magic(std::span<const std::byte> head) {
  return head.size() >= kMagic.size() && std::ranges::equal(head.first(kMagic.size()), kMagic);
}

std::optional<std::uint32_t> version_of(std::span<const std::byte> head) {
  if (head.size() < 8) return std::nullopt;
  return load_be<std::uint32_t>(head.data() + 4);
}

Result<std::uint64_t> parse_cluster_bytes(std::span<const std::byte> head, std::string_view path) {
  if (!has_magic(head))
    return fail(ErrorKind::corrupt, path, 0, "no qcow2 image: expected it to begin with QFI\\xfb");
  if (head.size() < kHeaderStartBytes)
    return fail(ErrorKind::corrupt, path, head.size(), "the file ends inside its header");
  const std::uint32_t version = load_be<std::uint32_t>(head.data() + 4);
  if (version == 1)
    return fail(ErrorKind::unsupported, path, 4,
                "is a qcow image of version 1, which is not read; make a qcow2 image of it with "
                "qemu-img convert");
  if (version != 2 && version != 3)
    return fail(ErrorKind::unsupported, path, 4,
                fmt::format("qcow2 version {}; versions 2 and 3 are known", version));
  const std::uint32_t bits = load_be<std::uint32_t>(head.data() + 20);
  if (bits < kMinClusterBits || bits > kMaxClusterBits)
    return fail(ErrorKind::corrupt, path, 20,
                fmt::format("cluster size of 2^{} bytes; expected 2^{} to 2^{}", bits,
                            kMinClusterBits, kMaxClusterBits));
  return std::uint64_t{1} << bits;
}

Result<Header> parse_header(std::span<const std::byte> head, std::string_view path) {
  return HeaderParser(head, path).run();
}

std::expected<Mapping, std::string_view> decode_entry(std::uint64_t entry, const Header& header) {
  if ((entry & kCompressed) != 0) {
    if ((entry & kCopied) != 0)
      return std::unexpected("compressed and at the same time free to be written in place");
    const unsigned offset_bits = 70 - header.cluster_bits;
    const std::uint64_t offset = entry & ((std::uint64_t{1} << offset_bits) - 1);
    const std::uint64_t more_sectors = (entry & ~kCompressed) >> offset_bits;
    return Mapping{Mapping::Kind::compressed, offset,
                   (more_sectors + 1) * kSectorBytes - offset % kSectorBytes};
  }
  if ((entry & ~(kOffsetMask | kCopied | kZero)) != 0)
    return std::unexpected("in which reserved bits are set");
  const std::uint64_t offset = entry & kOffsetMask;
  if (offset % header.cluster_bytes() != 0)
    return std::unexpected("which is not aligned to clusters");
  if ((entry & kZero) != 0) {
    if (header.version < 3) return std::unexpected("which says zeros, as version 2 cannot");
    return Mapping{Mapping::Kind::zero, offset, 0};
  }
  if (offset != 0) return Mapping{Mapping::Kind::data, offset, 0};
  if ((entry & kCopied) != 0) return std::unexpected("which is in use, but points nowhere");
  return Mapping{};
}

std::expected<std::uint64_t, std::string_view> decode_table_entry(std::uint64_t entry,
                                                                  const Header& header) {
  if ((entry & ~(kOffsetMask | kCopied)) != 0)
    return std::unexpected("in which reserved bits are set");
  const std::uint64_t offset = entry & kOffsetMask;
  if (offset % header.cluster_bytes() != 0)
    return std::unexpected("which is not aligned to clusters");
  if (offset == 0 && entry != 0) return std::unexpected("which is in use, but points nowhere");
  return offset;
}

std::size_t run_length(std::span<const std::uint64_t> entries, std::size_t first,
                       std::uint64_t cluster_bytes) {
  const std::uint64_t entry = entries[first];
  if ((entry & kCompressed) != 0) return 1;
  const std::uint64_t step = (entry & kOffsetMask) == 0 ? 0 : cluster_bytes;
  std::size_t next = first + 1;
  while (next < entries.size() && entries[next] == entries[next - 1] + step) ++next;
  return next - first;
}

std::uint64_t refcount_at(std::span<const std::byte> block, std::size_t index, unsigned order) {
  switch (order) {
    case 3:
      return std::to_integer<std::uint64_t>(block[index]);
    case 4:
      return load_be<std::uint16_t>(block.data() + index * 2);
    case 5:
      return load_be<std::uint32_t>(block.data() + index * 4);
    case 6:
      return load_be<std::uint64_t>(block.data() + index * 8);
    default:
      break;
  }
  // Several to a byte, the first in its lowest bits.
  const unsigned bits = 1U << order;
  const auto byte = std::to_integer<unsigned>(block[index * bits / 8]);
  return byte >> (index * bits % 8) & ((1U << bits) - 1);
}

SnapshotEntry parse_snapshot_entry(std::span<const std::byte> bytes) {
  const std::byte* p = bytes.data();
  const std::uint64_t id = load_be<std::uint16_t>(p + 12);
  const std::uint64_t name = load_be<std::uint16_t>(p + 14);
  const std::uint64_t extra = load_be<std::uint32_t>(p + 36);
  return {.l1_offset = load_be<std::uint64_t>(p),
          .l1_entries = load_be<std::uint32_t>(p + 8),
          .bytes = align_up(kSnapshotEntryBytes + extra + id + name, 8)};
}

}  // namespace grainmill::qcow2
