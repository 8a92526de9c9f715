// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/layout.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace grainmill::vmdk {
namespace {

constexpr std::string_view kHostedMagic = "KDMV";
constexpr std::string_view kCowdMagic = "COWD";
// A transfer in text mode changes these.
constexpr std::array<char, 4> kNewlines = {'\n', ' ', '\r', '\n'};

// Capacities above this are not disks; below it no product of header fields overflows 64 bits.
constexpr std::uint64_t kMaxCapacitySectors = std::uint64_t{1} << 50;
// The specification says "greater than 8"; VirtualBox reads 8. The upper bound is qemu's.
constexpr std::uint64_t kMinGrainSectors = 8;
constexpr std::uint64_t kMaxGrainSectors = 0x200000;
// 512 in the specification; readers in the field take any power of two.
constexpr std::uint32_t kMaxEntriesPerTable = 65536;
// A descriptor of a real disk has a few hundred bytes; one of thousands of extents some hundred
// KiB.
constexpr std::uint64_t kMaxDescriptorSectors = kMiB / kSectorBytes;
constexpr std::uint32_t kKnownIncompatibleFlags = kFlagCompressed | kFlagMarkers;

bool has_magic(std::span<const std::byte> head, std::string_view magic) {
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

// Collects what is wrong with a header: `check(ok, "what was found; what was expected")`.
class HeaderChecks {
 public:
  HeaderChecks(std::string_view path, std::uint64_t offset) : path_(path), offset_(offset) {}

  // Offsets are of the field within the header.
  void corrupt_unless(bool ok, std::uint64_t field, const std::string& message) {
    if (!ok && status_) status_ = fail(ErrorKind::corrupt, path_, offset_ + field, message);
  }
  void unsupported_unless(bool ok, std::uint64_t field, const std::string& message) {
    if (!ok && status_) status_ = fail(ErrorKind::unsupported, path_, offset_ + field, message);
  }
  [[nodiscard]] Status status() const { return status_; }

 private:
  std::string_view path_;
  std::uint64_t offset_;
  Status status_;
};

HostedHeader decode_hosted(const std::byte* p) {
  HostedHeader header;
  header.version = load_le<std::uint32_t>(p + 4);
  header.flags = load_le<std::uint32_t>(p + 8);
  header.capacity_sectors = load_le<std::uint64_t>(p + 12);
  header.grain_sectors = load_le<std::uint64_t>(p + 20);
  header.descriptor_sector = load_le<std::uint64_t>(p + 28);
  header.descriptor_sectors = load_le<std::uint64_t>(p + 36);
  header.entries_per_table = load_le<std::uint32_t>(p + 44);
  header.redundant_directory_sector = load_le<std::uint64_t>(p + 48);
  header.directory_sector = load_le<std::uint64_t>(p + 56);
  header.overhead_sectors = load_le<std::uint64_t>(p + 64);
  header.unclean_shutdown = p[72] != std::byte{0};
  header.compress_algorithm = load_le<std::uint16_t>(p + 77);
  return header;
}

void check_flags(const HostedHeader& header, const std::byte* p, HeaderChecks& checks) {
  checks.corrupt_unless(
      (header.flags & kFlagNewlineTest) == 0 || std::memcmp(p + 73, kNewlines.data(), 4) == 0, 73,
      "the newline test bytes are changed: the file was damaged by a transfer in text mode; "
      "transfer it "
      "again in binary mode");
  const std::uint32_t unknown = header.flags & 0xffff0000U & ~kKnownIncompatibleFlags;
  checks.unsupported_unless(unknown == 0, 8,
                            fmt::format("header flags {:#x} hold features {:#x} that are not known",
                                        header.flags, unknown));
  checks.corrupt_unless(
      (header.flags & kFlagMarkers) == 0 || header.compressed(), 8,
      fmt::format("header flags {:#x} say markers without compression, which is impossible",
                  header.flags));
  checks.unsupported_unless(
      !header.compressed() || (header.flags & kFlagMarkers) != 0, 8,
      fmt::format("header flags {:#x}: compressed grains without markers", header.flags));
  checks.corrupt_unless(
      header.compress_algorithm <= 1, 77,
      fmt::format("compression algorithm {}; expected 0 or 1", header.compress_algorithm));
  checks.corrupt_unless((header.compress_algorithm == 1) == header.compressed(), 77,
                        fmt::format("compression algorithm {} contradicts the header flags {:#x}",
                                    header.compress_algorithm, header.flags));
}

void check_sizes(const HostedHeader& header, HeaderChecks& checks) {
  checks.corrupt_unless(
      header.capacity_sectors > 0 && header.capacity_sectors <= kMaxCapacitySectors, 12,
      fmt::format("capacity of {} sectors; expected 1 to 2^50", header.capacity_sectors));
  checks.corrupt_unless(
      is_power_of_two(header.grain_sectors) && header.grain_sectors >= kMinGrainSectors &&
          header.grain_sectors <= kMaxGrainSectors,
      20,
      fmt::format("grain size of {} sectors; expected a power of two from {} to {}",
                  header.grain_sectors, kMinGrainSectors, kMaxGrainSectors));
  checks.corrupt_unless(
      is_power_of_two(header.entries_per_table) && header.entries_per_table <= kMaxEntriesPerTable,
      44,
      fmt::format("{} entries in a grain table; expected 512, or another power of two up to {}",
                  header.entries_per_table, kMaxEntriesPerTable));
  checks.corrupt_unless(
      header.descriptor_sector == 0 || header.descriptor_sectors <= kMaxDescriptorSectors, 36,
      fmt::format("embedded descriptor of {} sectors; expected at most {}",
                  header.descriptor_sectors, kMaxDescriptorSectors));
  checks.corrupt_unless(header.directory_sector != 0, 56, "no grain directory: its sector is 0");
}

}  // namespace

bool has_hosted_magic(std::span<const std::byte> head) { return has_magic(head, kHostedMagic); }
bool has_cowd_magic(std::span<const std::byte> head) { return has_magic(head, kCowdMagic); }

Result<HostedHeader> parse_hosted_header(std::span<const std::byte> bytes, std::string_view path,
                                         std::uint64_t offset) {
  if (!has_hosted_magic(bytes))
    return fail(ErrorKind::corrupt, path, offset,
                "no sparse extent header here: expected it to begin with KDMV");
  const HostedHeader header = decode_hosted(bytes.data());
  HeaderChecks checks(path, offset);
  checks.unsupported_unless(
      header.version >= 1 && header.version <= 3, 4,
      fmt::format("sparse extent version {}; versions 1, 2 and 3 are known", header.version));
  check_flags(header, bytes.data(), checks);
  check_sizes(header, checks);
  GM_CHECK(checks.status());
  return header;
}

std::array<std::byte, kSectorBytes> encode_hosted_header(const HostedHeader& header) {
  std::array<std::byte, kSectorBytes> bytes{};
  std::byte* p = bytes.data();
  std::memcpy(p, kHostedMagic.data(), kHostedMagic.size());
  store_le(p + 4, header.version);
  store_le(p + 8, header.flags);
  store_le(p + 12, header.capacity_sectors);
  store_le(p + 20, header.grain_sectors);
  store_le(p + 28, header.descriptor_sector);
  store_le(p + 36, header.descriptor_sectors);
  store_le(p + 44, header.entries_per_table);
  store_le(p + 48, header.redundant_directory_sector);
  store_le(p + 56, header.directory_sector);
  store_le(p + 64, header.overhead_sectors);
  p[72] = std::byte{header.unclean_shutdown};
  if ((header.flags & kFlagNewlineTest) != 0)
    std::memcpy(p + 73, kNewlines.data(), kNewlines.size());
  store_le(p + 77, header.compress_algorithm);
  return bytes;
}

Result<CowdHeader> parse_cowd_header(std::span<const std::byte> bytes, std::string_view path) {
  const std::byte* p = bytes.data();
  const std::uint32_t version = load_le<std::uint32_t>(p + 4);
  CowdHeader header;
  header.capacity_sectors = load_le<std::uint32_t>(p + 12);
  header.grain_sectors = load_le<std::uint32_t>(p + 16);
  header.directory_sector = load_le<std::uint32_t>(p + 20);
  header.directory_entries = load_le<std::uint32_t>(p + 24);
  header.free_sector = load_le<std::uint32_t>(p + 28);
  header.unclean_shutdown = load_le<std::uint32_t>(p + 1648) != 0;

  constexpr std::uint64_t kMaxCowdGrainSectors = 2048;
  HeaderChecks checks(path, 0);
  checks.unsupported_unless(version == 1, 4,
                            fmt::format("COWD extent version {}; version 1 is known", version));
  checks.corrupt_unless(header.capacity_sectors > 0, 12, "capacity of 0 sectors");
  checks.corrupt_unless(header.grain_sectors > 0 && header.grain_sectors <= kMaxCowdGrainSectors,
                        16,
                        fmt::format("grain size of {} sectors; expected 1 to {}",
                                    header.grain_sectors, kMaxCowdGrainSectors));
  GM_CHECK(checks.status());
  const std::uint64_t expected =
      ceil_div(header.capacity_sectors, kCowdEntriesPerTable * header.grain_sectors);
  checks.corrupt_unless(
      header.directory_entries == expected, 24,
      fmt::format("{} grain directory entries; a capacity of {} sectors in grains of {} needs {}",
                  header.directory_entries, header.capacity_sectors, header.grain_sectors,
                  expected));
  checks.corrupt_unless(
      header.directory_sector >= kCowdHeaderBytes / kSectorBytes, 20,
      fmt::format("grain directory at sector {}, inside the header", header.directory_sector));
  GM_CHECK(checks.status());
  return header;
}

BlockHeader parse_block_header(std::span<const std::byte> bytes) {
  return {.address = load_le<std::uint64_t>(bytes.data()),
          .size = load_le<std::uint32_t>(bytes.data() + 8),
          .type = load_le<std::uint32_t>(bytes.data() + 12)};
}

}  // namespace grainmill::vmdk
