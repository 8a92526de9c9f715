// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/check.h"

#include "engine/base/byte_order.h"
#include "engine/format/qcow2/recount.h"
#include "engine/map/slot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace grainmill::qcow2 {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;
// A file of more clusters is crafted, to make the sets below grow: 256 TiB of 64 KiB.
constexpr std::uint64_t kMaxHostClusters = std::uint64_t{1} << 32;

// Checks an image in one pass over its refcounts, then one over its mapping.
class ImageCheck {
 public:
  ImageCheck(const MappingTables& tables, TableChoice choice, Findings& findings)
      : tables_(tables),
        findings_(findings),
        header_(tables.header()),
        file_(tables.file()),
        believed_(choice != TableChoice::agreeing),
        counts_hold_(!header_.dirty() && !believed_) {}

  Result<bool> run() {
    GM_TRY(const FileInfo info, file_.info());
    file_bytes_ = info.size_bytes;
    if (file_bytes_ / header_.cluster_bytes() >= kMaxHostClusters)
      return fail(ErrorKind::unsupported, file_.path(),
                  fmt::format("is {} long, which is more than 2^32 clusters of {} bytes",
                              format_size(file_bytes_), header_.cluster_bytes()));
    GM_CHECK(read_refcount_table());
    GM_CHECK(read_refcounts());
    GM_CHECK(claim_metadata());
    GM_CHECK(claim_snapshots());
    // All tables before any data: an entry that points at one is then the one to name.
    for (std::uint64_t i = 0; i < tables_.tables(); ++i)
      if (const std::uint64_t offset = tables_.table_offset(i); offset != 0)
        GM_CHECK(claim({offset, header_.cluster_bytes(), tables_.l1_entry_offset(i)},
                       [&] { return fmt::format("L2 table {}", i); }));
    for (std::uint64_t i = 0; i < tables_.tables(); ++i)
      if (tables_.table_offset(i) != 0) GM_CHECK(check_table(i));
    GM_CHECK(check_unused());
    if (counts_hold_ && !damaged_ && findings_.wants_all())
      GM_CHECK(recount(tables_, refcount_table_, file_bytes_, findings_));
    return clusters_in_streams_ != 0;
  }

 private:
  // A range of the file, and where it is said that something is there.
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t said_at = 0;
    std::uint64_t guest_offset = 0;  // of what it holds; no length for metadata
    std::uint64_t guest_length = 0;
  };

  [[nodiscard]] Error corrupt(std::uint64_t offset, std::string message) const {
    return fail(ErrorKind::corrupt, file_.path(), offset, std::move(message)).error();
  }
  // Damage that is about no cluster of the guest disk in particular.
  [[nodiscard]] Status damaged(std::string_view code, std::uint64_t offset, std::string message) {
    damaged_ = true;
    return findings_.add({.code = code, .what = corrupt(offset, std::move(message))});
  }
  [[nodiscard]] Status damaged(std::string_view code, const Place& place, std::string message) {
    damaged_ = true;
    return findings_.add({.code = code,
                          .what = corrupt(place.said_at, std::move(message)),
                          .guest_offset = place.guest_offset,
                          .guest_length = place.guest_length});
  }
  [[nodiscard]] std::uint64_t cluster_of(std::uint64_t offset) const {
    return offset >> header_.cluster_bits;
  }
  [[nodiscard]] std::uint64_t last_cluster_of(const Place& place) const {
    return cluster_of(place.offset + place.bytes - 1);
  }

  Status read_refcount_table() {
    const std::uint64_t offset = header_.refcount_table_offset;
    const std::uint64_t bytes = std::uint64_t{header_.refcount_table_clusters}
                                << header_.cluster_bits;
    if (!range_within(offset, bytes, file_bytes_))
      return damaged_counts(offset,
                            fmt::format("refcount table of {} bytes does not fit in the file of "
                                        "{} bytes: it is truncated, or its header is damaged",
                                        bytes, file_bytes_));
    refcount_table_.resize(bytes / 8);
    GM_CHECK(file_.read_exact_at(offset, std::as_writable_bytes(std::span(refcount_table_))));
    for (std::size_t i = 0; i < refcount_table_.size(); ++i) {
      const std::uint64_t block = swap_if(refcount_table_[i], std::endian::big);
      refcount_table_[i] = block;
      if (block % header_.cluster_bytes() == 0 &&
          (block == 0 || range_within(block, header_.cluster_bytes(), file_bytes_)))
        continue;
      refcount_table_[i] = 0;
      GM_CHECK(
          damaged_counts(offset + i * 8,
                         fmt::format("refcount table entry {} is {:#x}; expected a multiple of the "
                                     "cluster size {} inside the file of {} bytes",
                                     i, block, header_.cluster_bytes(), file_bytes_)));
    }
    return {};
  }

  // Damage that says nothing of the mapping, but makes the counts useless.
  [[nodiscard]] Status damaged_counts(std::uint64_t offset, std::string message) {
    counts_hold_ = false;
    return damaged("refcount-table", offset, std::move(message));
  }

  // Remembers which clusters are counted.
  Status read_refcounts() {
    if (!counts_hold_) return {};
    const std::uint64_t per_block = header_.refcounts_per_block();
    const std::uint64_t file_clusters = ceil_div(file_bytes_, header_.cluster_bytes());
    std::vector<std::byte> block(header_.cluster_bytes());
    for (std::size_t i = 0; i < refcount_table_.size() && i * per_block < file_clusters; ++i) {
      if (refcount_table_[i] == 0) continue;
      GM_TRY(const bool stored, file_.stores_any(refcount_table_[i], block.size()));
      if (!stored) continue;
      GM_CHECK(file_.read_exact_at(refcount_table_[i], block));
      const std::uint64_t first = i * per_block;
      const std::uint64_t count = std::min(per_block, file_clusters - first);
      for (std::uint64_t j = 0; j < count; ++j)
        if (refcount_at(block, j, header_.refcount_order) != 0) {
          counted_.add(first + j, 1);
          ++clusters_counted_;
        }
    }
    return {};
  }

  Status claim_metadata() {
    GM_CHECK(claim({0, header_.cluster_bytes(), 0}, [] { return std::string("header"); }));
    if (header_.l1_entries != 0)
      GM_CHECK(claim({header_.l1_offset, std::uint64_t{header_.l1_entries} * 8, 40},
                     [] { return std::string("L1 table"); }));
    if (!refcount_table_.empty())
      GM_CHECK(claim({header_.refcount_table_offset, refcount_table_.size() * 8, 48},
                     [] { return std::string("refcount table"); }));
    for (std::size_t i = 0; i < refcount_table_.size(); ++i)
      if (refcount_table_[i] != 0)
        GM_CHECK(claim(
            {refcount_table_[i], header_.cluster_bytes(), header_.refcount_table_offset + i * 8},
            [&] { return fmt::format("refcount block {}", i); }));
    return {};
  }

  Status claim_snapshots() {
    std::uint64_t at = header_.snapshots_offset;
    for (std::uint32_t i = 0; i < header_.snapshots; ++i) {
      if (!range_within(at, kSnapshotEntryBytes, file_bytes_))
        return damaged("snapshot-table", at,
                       fmt::format("internal snapshot {} of {} would lie past the end of the "
                                   "file ({:#x})",
                                   i, header_.snapshots, file_bytes_));
      std::array<std::byte, kSnapshotEntryBytes> bytes{};
      GM_CHECK(file_.read_exact_at(at, bytes));
      const SnapshotEntry entry = parse_snapshot_entry(bytes);
      const std::uint64_t l1_bytes = std::uint64_t{entry.l1_entries} * 8;
      if (l1_bytes > kMaxL1Bytes || entry.l1_offset % header_.cluster_bytes() != 0 ||
          !range_within(entry.l1_offset, l1_bytes, file_bytes_))
        return damaged("snapshot-table", at,
                       fmt::format("internal snapshot {} has an L1 table of {} entries at "
                                   "offset {:#x}, which is not aligned to clusters inside the "
                                   "file of {} bytes",
                                   i, entry.l1_entries, entry.l1_offset, file_bytes_));
      if (l1_bytes != 0)
        GM_CHECK(claim({entry.l1_offset, l1_bytes, at},
                       [&] { return fmt::format("L1 table of internal snapshot {}", i); }));
      at += entry.bytes;
    }
    if (header_.snapshots == 0) return {};
    return claim({header_.snapshots_offset, at - header_.snapshots_offset, 64},
                 [] { return std::string("snapshot table"); });
  }

  Status check_table(std::uint64_t table) {
    const std::uint64_t per_table = header_.entries_per_table();
    for (std::uint64_t done = 0; done < per_table; done += entries_.size()) {
      entries_.resize(std::min(kChunkEntries, per_table - done));
      const std::uint64_t first = table * per_table + done;
      GM_CHECK(tables_.load(first, entries_));
      streams_.clear();
      for (std::size_t i = 0; i < entries_.size(); ++i)
        if (entries_[i] != 0) GM_CHECK(check_entry(first + i, entries_[i]));
      GM_CHECK(check_streams(first));
    }
    return {};
  }

  Status check_entry(std::uint64_t cluster, std::uint64_t entry) {
    const std::uint64_t cluster_bytes = header_.cluster_bytes();
    Result<Mapping> found = tables_.mapping(cluster, entry, file_bytes_);
    if (!found) {
      excuse(entry);
      damaged_ = true;
      return findings_.add({.code = "entry",
                            .what = std::move(found).error(),
                            .guest_offset = cluster * cluster_bytes,
                            .guest_length = cluster_bytes});
    }
    const Mapping& mapping = *found;
    if (mapping.offset == 0) return {};
    const Place place{mapping.offset, cluster_bytes, tables_.entry_offset(cluster),
                      cluster * cluster_bytes, cluster_bytes};
    const auto name = [&] { return tables_.entry_name(cluster); };
    if (mapping.kind == Mapping::Kind::zero) return claim(place, name);
    // A state that was saved in a snapshot lies there as well.
    if (cluster >= header_.clusters() && header_.snapshots == 0 && !believed_)
      return damaged(
          "disk-size", 24,
          fmt::format("the disk has {} bytes, but data is stored for address {:#x} "
                      "(offset {:#x}): the size in the header is damaged; --tables "
                      "primary believes it",
                      header_.size_bytes, cluster * header_.cluster_bytes(), place.said_at));
    if (mapping.kind == Mapping::Kind::data) return claim(place, name);
    streams_.push_back(mapping.offset);
    return claim_stream({mapping.offset, mapping.stored_bytes, place.said_at, place.guest_offset,
                         place.guest_length},
                        name);
  }

  // What there is of something that an entry cannot point at is no leak.
  void excuse(std::uint64_t entry) {
    const auto decoded = decode_entry(entry, header_);
    if (!decoded || decoded->offset == 0 || decoded->offset >= file_bytes_) return;
    const std::uint64_t cluster = cluster_of(decoded->offset);
    if (!in_streams_.contains(cluster) && used_.add(cluster, 1)) ++clusters_used_;
  }

  // Compressed clusters lie side by side, and one may end where another begins; but none begins
  // where another one does.
  Status check_streams(std::uint64_t first) {
    std::ranges::sort(streams_);
    const auto twice = std::ranges::adjacent_find(streams_);
    if (twice == streams_.end()) return {};
    return damaged("shared-cluster", tables_.entry_offset(first),
                   fmt::format("two of the L2 entries from here on point at the compressed cluster "
                               "at offset {:#x}: one of them is damaged",
                               *twice));
  }

  // Takes whole clusters for one thing. `name` says which.
  template <typename Name>
  Status claim(const Place& place, const Name& name) {
    const std::uint64_t first = cluster_of(place.offset);
    const std::uint64_t count = last_cluster_of(place) - first + 1;
    GM_CHECK(check_counted(place, name));
    bool fresh = used_.add(first, count);
    clusters_used_ += count;
    for (std::uint64_t i = first; clusters_in_streams_ != 0 && i < first + count; ++i)
      fresh = fresh && !in_streams_.contains(i);
    return fresh ? Status{} : taken(place, name);
  }

  template <typename Name>
  Status claim_stream(const Place& place, const Name& name) {
    GM_CHECK(check_counted(place, name));
    for (std::uint64_t i = cluster_of(place.offset); i <= last_cluster_of(place); ++i) {
      if (in_streams_.add(i, 1)) ++clusters_in_streams_;
      if (used_.contains(i)) {
        GM_CHECK(taken(place, name));
        break;
      }
    }
    return {};
  }

  // Clusters that are counted but that nothing refers to are left by crashes, and harmless: what
  // was written last is allocated, but not yet mapped. But if it is most of the file, then a table
  // is lost that referred to it. Snapshots and bitmaps, which are not followed here, may refer to
  // any of it.
  [[nodiscard]] Status check_unused() {
    if (!counts_hold_ || header_.snapshots != 0 || header_.bitmaps != 0) return {};
    const std::uint64_t used = clusters_used_ + clusters_in_streams_;
    if (clusters_counted_ <= used) return {};
    const std::uint64_t unused = clusters_counted_ - used;
    if (unused <= used)
      return findings_.add(
          {.severity = Severity::leak,
           .code = "unused-clusters",
           .what = corrupt(
               header_.refcount_table_offset,
               fmt::format("{} in use by refcounts, but nothing refers to {}: what a "
                           "crash leaves",
                           unused == 1 ? "a cluster is" : fmt::format("{} clusters are", unused),
                           unused == 1 ? "it" : "them")),
           .repair = "the mapping: `qemu-img check -r leaks` frees them",
           .leaked_bytes = unused * header_.cluster_bytes()});
    return damaged("lost-clusters", 40,
                   fmt::format("{} clusters are in use by their refcounts, but the mapping refers "
                               "to {} only: a table is lost, or its place in the header is "
                               "damaged; if it is not, `qemu-img check -r leaks` mends refcounts, "
                               "--tables primary reads the image without them",
                               clusters_counted_, used));
  }

  template <typename Name>
  Status taken(const Place& place, const Name& name) {
    return damaged("shared-cluster", place,
                   fmt::format("{} points at offset {:#x}, which something else takes too: it is "
                               "damaged, or a cluster is shared",
                               name(), place.offset));
  }

  // A cluster that is in use but not counted may be overwritten by whoever writes the image next.
  template <typename Name>
  Status check_counted(const Place& place, const Name& name) {
    for (std::uint64_t i = cluster_of(place.offset); i <= last_cluster_of(place); ++i) {
      if (i >= ceil_div(file_bytes_, header_.cluster_bytes()))
        return damaged("entry", place,
                       fmt::format("{} points at offset {:#x}, past the end of the "
                                   "file ({:#x})",
                                   name(), place.offset, file_bytes_));
      if (!counts_hold_ || counted_.contains(i)) continue;
      return damaged("uncounted", place,
                     fmt::format("{} points at offset {:#x}, which is free by its refcount of 0: "
                                 "one of both is damaged; `qemu-img check -r all` mends refcounts, "
                                 "--tables primary reads the image without them",
                                 name(), place.offset));
    }
    return {};
  }

  const MappingTables& tables_;
  Findings& findings_;
  const Header& header_;
  const File& file_;
  bool believed_;
  bool counts_hold_;
  bool damaged_ = false;
  std::uint64_t file_bytes_ = 0;
  std::vector<std::uint64_t> refcount_table_;
  SlotSet counted_;  // by number of the host cluster
  SlotSet used_;
  SlotSet in_streams_;
  std::uint64_t clusters_counted_ = 0;
  std::uint64_t clusters_used_ = 0;
  std::uint64_t clusters_in_streams_ = 0;
  std::vector<std::uint64_t> entries_;
  std::vector<std::uint64_t> streams_;  // where those of a chunk begin
};

}  // namespace

Result<bool> check_image(const MappingTables& tables, TableChoice choice, Findings& findings) {
  return ImageCheck(tables, choice, findings).run();
}

}  // namespace grainmill::qcow2
