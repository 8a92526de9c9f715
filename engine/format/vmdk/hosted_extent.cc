// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arith.h"
#include "engine/format/vmdk/extent_map.h"
#include "engine/format/vmdk/hosted_check.h"
#include "engine/format/vmdk/hosted_recovery.h"
#include "engine/format/vmdk/layout.h"
#include "engine/map/grain_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace grainmill::vmdk {
namespace {

// Sector-sized reads at the end of a stream stop here: more padding than this after a stream is not
// padding.
constexpr std::uint64_t kMaxTrailingPadding = kMiB;

class HostedMap final : public ExtentMap {
 public:
  // `other`: the copy of the tables that is not read, if there is one.
  HostedMap(std::unique_ptr<File> file, const HostedHeader& header, GrainTables tables,
            std::optional<GrainTables> other, const ExtentClaim& claim, const OpenOptions& options)
      : file_(std::move(file)),
        header_(header),
        tables_(std::move(tables)),
        other_(std::move(other)),
        chosen_(options.tables != TableChoice::agreeing),
        partly_hidden_(options.partly_hidden),
        claimed_bytes_(claim.size_bytes) {}

  // Whether it may be written: what is damaged must not be.
  [[nodiscard]] Status check_writable() const;

  [[nodiscard]] Status map(const AddressRange& range, ExtentList& out) const override;
  [[nodiscard]] Status examine(Findings& findings) const override {
    return check_hosted_tables(both_copies(), findings);
  }
  [[nodiscard]] const File* file() const override { return file_.get(); }
  [[nodiscard]] std::uint64_t grain_bytes() const override { return header_.grain_bytes(); }
  [[nodiscard]] bool compressed() const override { return header_.compressed(); }
  [[nodiscard]] bool unclean_shutdown() const override { return header_.unclean_shutdown; }
  [[nodiscard]] WriteTarget write_target() override { return {file_.get(), 0, allocator_.get()}; }
  [[nodiscard]] Status begin_writing() override;
  [[nodiscard]] Status end_writing() override;

 private:
  [[nodiscard]] HostedTables both_copies() const {
    return {*file_,  header_,        tables_,       other_ ? &*other_ : nullptr,
            chosen_, partly_hidden_, claimed_bytes_};
  }
  [[nodiscard]] Status mark_unclean(bool unclean);
  [[nodiscard]] Status open_allocator();
  [[nodiscard]] Extent describe(std::uint64_t grain, std::uint32_t entry,
                                std::uint64_t block_end) const;

  std::unique_ptr<File> file_;
  HostedHeader header_;
  GrainTables tables_;
  std::optional<GrainTables> other_;
  bool chosen_;
  bool partly_hidden_;
  std::uint64_t claimed_bytes_;
  std::unique_ptr<GrainAllocator> allocator_;  // null unless it is being written
};

// The extent of one whole grain, guest_offset being its address within this extent.
Extent HostedMap::describe(std::uint64_t grain, std::uint32_t entry,
                           std::uint64_t block_end) const {
  const std::uint64_t grain_bytes = header_.grain_bytes();
  Extent extent{.guest_offset = grain * grain_bytes, .length = grain_bytes};
  if (entry == 0) return extent;
  if (entry == kZeroedGrainEntry) {
    extent.kind = ExtentKind::zero;
    return extent;
  }
  extent.kind = header_.compressed() ? ExtentKind::deflated : ExtentKind::data;
  extent.file = file_.get();
  extent.file_offset = entry * kSectorBytes;
  if (header_.compressed()) {
    extent.grain_address = grain * grain_bytes;
    extent.grain_bytes = static_cast<std::uint32_t>(grain_bytes);
    extent.grain_valid = static_cast<std::uint32_t>(
        std::min(grain_bytes, header_.capacity_bytes() - extent.grain_address));
    extent.stored_bytes = static_cast<std::uint32_t>(block_end - extent.file_offset);
  }
  return extent;
}

// Where the block at each entry ends at the latest: at the next block in the file, the end of the
// file or the largest legal block. Grains mostly lie in guest order, but writers with several
// threads leave them out of it.
std::vector<std::uint64_t> block_ends(std::span<const std::uint32_t> entries,
                                      std::uint64_t grain_bytes, std::uint64_t file_bytes) {
  std::vector<std::uint32_t> order(entries.begin(), entries.end());
  std::erase_if(order, [](std::uint32_t entry) { return entry <= kZeroedGrainEntry; });
  if (!std::ranges::is_sorted(order)) std::ranges::sort(order);
  const std::uint64_t limit = align_up(max_block_bytes(grain_bytes), kSectorBytes);
  std::vector<std::uint64_t> ends(entries.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i] <= kZeroedGrainEntry) continue;
    if (next >= order.size() || order[next] != entries[i])
      next = static_cast<std::size_t>(std::ranges::lower_bound(order, entries[i]) - order.begin());
    ++next;
    const std::uint64_t successor = next < order.size() ? order[next] * kSectorBytes : file_bytes;
    ends[i] = std::min({successor, file_bytes, entries[i] * kSectorBytes + limit});
  }
  return ends;
}

Status HostedMap::map(const AddressRange& range, ExtentList& out) const {
  const std::uint64_t grain_bytes = header_.grain_bytes();
  const std::uint64_t end = range.address + range.length;
  const std::uint64_t first = range.address / grain_bytes;
  std::vector<std::uint32_t> entries(ceil_div(end, grain_bytes) - first);
  GM_TRY(const bool any, load_entries(both_copies(), first, entries));
  if (!any) {
    append_merged(out, {.guest_offset = range.guest_offset, .length = range.length});
    return {};
  }
  GM_TRY(const FileInfo info, file_->info());
  std::vector<std::uint64_t> ends;
  if (header_.compressed()) ends = block_ends(entries, grain_bytes, info.size_bytes);
  const std::uint64_t shift = range.guest_offset - range.address;
  for (std::size_t i = 0; i < entries.size();) {
    // Blocks of a stream are described one by one, anything else a run at a time.
    const bool block = header_.compressed() && entries[i] > kZeroedGrainEntry;
    const std::size_t run = block ? 1 : run_length(entries, i, header_.grain_sectors);
    for (const std::size_t edge : {i, i + run - 1})
      GM_CHECK(check_hosted_entry({*file_, header_, tables_}, first + edge, entries[edge],
                                  info.size_bytes));
    Extent whole = describe(first + i, entries[i], ends.empty() ? 0 : ends[i]);
    whole.length = run * grain_bytes;
    Extent extent = clip(whole, range.address, end);
    extent.guest_offset += shift;
    append_merged(out, extent);
    i += run;
  }
  return {};
}

Status HostedMap::check_writable() const {
  if (header_.compressed())
    return fail(ErrorKind::unsupported, file_->path(),
                "is stream-optimised: its compressed grains cannot be written in place; make "
                "a copy that is not compressed (`grainmill convert` to raw, or qemu-img convert)");
  if (chosen_)
    return fail(ErrorKind::invalid_argument, file_->path(),
                "cannot be written while only one copy of its tables is believed: leave out "
                "--tables, or convert the disk");
  if (header_.has_redundant_tables() && !other_)
    return fail(ErrorKind::corrupt, file_->path(), 48, "the redundant tables cannot be read");
  FirstDamage first;
  return examine(first);
}

Status HostedMap::open_allocator() {
  GM_TRY(const std::uint64_t data_begin, first_grain_place(both_copies()));
  AllocatorLayout layout{
      .shape = tables_.shape(),
      .directory_offset = header_.directory_sector * kSectorBytes,
      .redundant_directory_offset = {},
      .data_begin = data_begin,
      .zeroed_entries = header_.version >= 2 && (header_.flags & kFlagZeroedGrain) != 0};
  if (other_) layout.redundant_directory_offset = header_.redundant_directory_sector * kSectorBytes;
  GM_TRY(allocator_, GrainAllocator::open(*file_, layout));
  return {};
}

Status HostedMap::mark_unclean(bool unclean) {
  constexpr std::uint64_t kUncleanField = 72;
  const std::array flag{unclean ? std::byte{1} : std::byte{0}};
  GM_CHECK(file_->write_at(kUncleanField, flag));
  return file_->sync();
}

// The mark is durable before anything else: what a crash leaves later is allowed only where it is.
Status HostedMap::begin_writing() {
  if (!header_.unclean_shutdown) {
    GM_CHECK(mark_unclean(true));
    return open_allocator();
  }
  // What can be read now must not go with the next power cut.
  GM_CHECK(file_->sync());
  GM_CHECK(reclaim_space(both_copies(), *file_));
  GM_CHECK(open_allocator());
  return even_out_tables(both_copies(), *allocator_);
}

Status HostedMap::end_writing() {
  GM_CHECK(allocator_->close());
  return mark_unclean(false);
}

// The footer of a stream whose header puts the directory at the end: the last sector that is not
// zero, for some tools pad streams. It must be the header again, but for the directory's position.
Result<HostedHeader> read_footer(const File& file, const HostedHeader& header) {
  GM_TRY(const FileInfo info, file.info());
  std::array<std::byte, kSectorBytes> sector{};
  std::uint64_t at = align_down(info.size_bytes, kSectorBytes);
  const std::uint64_t stop = at > kMaxTrailingPadding ? at - kMaxTrailingPadding : kSectorBytes;
  while (at > stop) {
    at -= kSectorBytes;
    GM_CHECK(file.read_exact_at(at, sector));
    if (std::ranges::any_of(sector, [](std::byte b) { return b != std::byte{0}; })) break;
  }
  if (!has_hosted_magic(sector))
    return fail(ErrorKind::corrupt, file.path(), at,
                "no footer at the end, where the header says the grain directory is: the stream is "
                "truncated; get the "
                "file again");
  GM_TRY(const HostedHeader footer, parse_hosted_header(sector, file.path(), at));
  if (footer.directory_sector == kDirectoryAtEnd)
    return fail(ErrorKind::corrupt, file.path(), at + 56,
                "the footer does not say where the grain directory is");
  if (footer.capacity_sectors != header.capacity_sectors ||
      footer.grain_sectors != header.grain_sectors ||
      footer.entries_per_table != header.entries_per_table || footer.flags != header.flags)
    return fail(ErrorKind::corrupt, file.path(), at,
                "the footer contradicts the header (capacity, grain size, table size or flags)");
  return footer;
}

Status check_claim(const File& file, const HostedHeader& header, const ExtentClaim& claim) {
  const std::uint64_t capacity = header.capacity_bytes();
  // Some writers round the capacity up to whole grains; the descriptor then has the exact size.
  if (capacity == claim.size_bytes || capacity == align_up(claim.size_bytes, header.grain_bytes()))
    return {};
  return fail(ErrorKind::corrupt, file.path(), 12,
              fmt::format("header says a capacity of {} bytes, the descriptor in {} (offset {:#x}) "
                          "says {}: one of them is "
                          "damaged, or they are of different disks",
                          capacity, claim.descriptor_path, claim.line_offset, claim.size_bytes));
}

Status check_overhead(const File& file, const HostedHeader& header) {
  GM_TRY(const FileInfo info, file.info());
  const std::optional<std::uint64_t> overhead = checked_mul(header.overhead_sectors, kSectorBytes);
  if (overhead && *overhead <= info.size_bytes) return {};
  return fail(ErrorKind::corrupt, file.path(), 64,
              fmt::format("metadata of {} sectors does not fit in the file of {} bytes: it is "
                          "truncated, or its header is "
                          "damaged",
                          header.overhead_sectors, info.size_bytes));
}

// The header that counts: of a stream it is the footer.
Result<HostedHeader> read_header(const File& file, const ExtentClaim& claim) {
  std::array<std::byte, kSectorBytes> sector{};
  GM_CHECK(file.read_exact_at(0, sector));
  GM_TRY(HostedHeader header, parse_hosted_header(sector, file.path(), 0));
  GM_CHECK(check_overhead(file, header));
  if (header.directory_sector == kDirectoryAtEnd) {
    GM_TRY(header, read_footer(file, header));
  }
  GM_CHECK(check_claim(file, header, claim));
  return header;
}

Result<GrainTables> open_tables(const File& file, const HostedHeader& header,
                                std::uint64_t directory_sector, std::uint64_t field) {
  const std::optional<std::uint64_t> offset = checked_mul(directory_sector, kSectorBytes);
  const std::uint64_t first = first_table_byte(header);
  if (!offset || *offset < kSectorBytes)
    return fail(ErrorKind::corrupt, file.path(), field,
                fmt::format("grain directory at impossible sector {}", directory_sector));
  const GrainTableShape shape{header.capacity_bytes(), header.grain_bytes(),
                              header.entries_per_table};
  return GrainTables::open(file, shape, *offset, first);
}

}  // namespace

Result<std::unique_ptr<ExtentMap>> open_hosted_map(std::unique_ptr<File> file,
                                                   const ExtentClaim& claim,
                                                   const OpenOptions& options) {
  constexpr std::uint64_t kPrimaryField = 56;
  constexpr std::uint64_t kRedundantField = 48;
  GM_TRY(const HostedHeader header, read_header(*file, claim));
  if (options.tables == TableChoice::redundant && !header.has_redundant_tables())
    return fail(ErrorKind::invalid_argument, file->path(),
                "has no redundant tables: --tables redundant cannot be used");
  const auto open_copy = [&](bool redundant) {
    return redundant
               ? open_tables(*file, header, header.redundant_directory_sector, kRedundantField)
               : open_tables(*file, header, header.directory_sector, kPrimaryField);
  };
  const bool read_redundant = options.tables == TableChoice::redundant;
  Result<GrainTables> tables = open_copy(read_redundant);
  if (!tables) {
    if (header.has_redundant_tables() && !read_redundant)
      tables.error().message += "; the redundant tables may be whole: try --tables redundant";
    return std::unexpected(tables.error());
  }
  std::optional<GrainTables> other;
  if (header.has_redundant_tables()) {
    Result<GrainTables> copy = open_copy(!read_redundant);
    if (!copy && options.tables == TableChoice::agreeing) {
      copy.error().message +=
          " (this is the redundant copy; --tables primary reads the image without it)";
      return std::unexpected(copy.error());
    }
    if (copy) other = std::move(*copy);
  }
  auto map = std::make_unique<HostedMap>(std::move(file), header, std::move(*tables),
                                         std::move(other), claim, options);
  if (options.mode == OpenMode::read_write) GM_CHECK(map->check_writable());
  return map;
}

}  // namespace grainmill::vmdk
