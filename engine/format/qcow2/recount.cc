// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/recount.h"

#include "engine/base/byte_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace grainmill::qcow2 {
namespace {

constexpr std::uint64_t kChunkEntries = 65536;
// Snapshots may share tables, so a crafted image of a few KiB could be walked for years. This is
// the mapping of 128 TiB in clusters of 64 KiB.
constexpr std::uint64_t kMaxEntries = std::uint64_t{1} << 31;

// How many things refer to each cluster; no more than 65535 are told apart.
class ReferenceCounts {
 public:
  explicit ReferenceCounts(std::uint64_t clusters) : pages_(ceil_div(clusters, kPage)) {}

  void add(std::uint64_t cluster) {
    std::unique_ptr<Page>& page = pages_[cluster / kPage];
    if (!page) page = std::make_unique<Page>();
    std::uint16_t& count = (*page)[cluster % kPage];
    if (count != std::numeric_limits<std::uint16_t>::max()) ++count;
  }
  [[nodiscard]] std::uint16_t at(std::uint64_t cluster) const {
    const std::unique_ptr<Page>& page = pages_[cluster / kPage];
    return page ? (*page)[cluster % kPage] : std::uint16_t{0};
  }

 private:
  static constexpr std::uint64_t kPage = 4096;
  using Page = std::array<std::uint16_t, kPage>;
  std::vector<std::unique_ptr<Page>> pages_;
};

class Recount {
 public:
  Recount(const MappingTables& tables, std::span<const std::uint64_t> refcount_table,
          std::uint64_t file_bytes, Findings& findings)
      : tables_(tables),
        header_(tables.header()),
        file_(tables.file()),
        refcount_table_(refcount_table),
        file_bytes_(file_bytes),
        clusters_(ceil_div(file_bytes, header_.cluster_bytes())),
        findings_(findings),
        counts_(clusters_) {}

  Status run() {
    count_metadata();
    GM_CHECK(count_mapping(header_.l1_offset, header_.l1_entries));
    GM_CHECK(count_snapshots());
    GM_CHECK(count_bitmaps());
    if (left_ == 0)
      return findings_.add({.severity = Severity::unchecked,
                            .code = "refcount",
                            .what = fail(ErrorKind::unsupported, file_.path(),
                                         "has so many internal snapshots that its refcounts were "
                                         "not counted anew")
                                        .error()});
    for (std::size_t i = 0; i < refcount_table_.size(); ++i) GM_CHECK(compare_block(i));
    GM_CHECK(end_run());
    return check_flags();
  }

 private:
  // A run of clusters with the same count and the same number of users.
  struct Run {
    std::uint64_t first = 0;
    std::uint64_t clusters = 0;
    std::uint64_t count = 0;
    std::uint64_t users = 0;
    std::uint64_t said_at = 0;
  };

  void count(std::uint64_t offset, std::uint64_t bytes) {
    if (bytes == 0) return;
    const std::uint64_t last = (offset + bytes - 1) >> header_.cluster_bits;
    for (std::uint64_t i = offset >> header_.cluster_bits; i <= last && i < clusters_; ++i)
      counts_.add(i);
  }

  void count_metadata() {
    count(0, header_.cluster_bytes());
    count(header_.refcount_table_offset, refcount_table_.size() * 8);
    for (const std::uint64_t block : refcount_table_)
      if (block != 0) count(block, header_.cluster_bytes());
  }

  // Reads `entries` big-endian numbers from `offset` on, some at a time; each(number, entry).
  template <typename Each>
  Status for_each_entry(std::uint64_t offset, std::uint64_t entries, const Each& each) {
    std::vector<std::uint64_t> chunk;
    for (std::uint64_t done = 0; done < entries && left_ != 0; done += chunk.size()) {
      chunk.resize(std::min({kChunkEntries, entries - done, left_}));
      left_ -= chunk.size();
      GM_CHECK(file_.read_exact_at(offset + done * 8, std::as_writable_bytes(std::span(chunk))));
      for (std::size_t i = 0; i < chunk.size(); ++i)
        GM_CHECK(each(done + i, swap_if(chunk[i], std::endian::big)));
    }
    return {};
  }

  // An L1 table with all that it refers to.
  Status count_mapping(std::uint64_t l1_offset, std::uint64_t l1_entries) {
    count(l1_offset, l1_entries * 8);
    return for_each_entry(l1_offset, l1_entries, [&](std::uint64_t, std::uint64_t l1) -> Status {
      const auto table = decode_table_entry(l1, header_);
      if (!table || *table == 0 || !in_file(*table, header_.cluster_bytes())) return {};
      count(*table, header_.cluster_bytes());
      return for_each_entry(*table, header_.entries_per_table(),
                            [&](std::uint64_t, std::uint64_t entry) -> Status {
                              if (entry != 0) count_entry(entry);
                              return {};
                            });
    });
  }

  void count_entry(std::uint64_t entry) {
    const auto mapping = decode_entry(entry, header_);
    if (!mapping || mapping->offset == 0) return;
    const bool is_stream = mapping->kind == Mapping::Kind::compressed;
    count(mapping->offset, is_stream ? mapping->stored_bytes : header_.cluster_bytes());
  }

  // REQUIRES, as for all of the image: sound tables.
  Status count_snapshots() {
    std::uint64_t at = header_.snapshots_offset;
    for (std::uint32_t i = 0; i < header_.snapshots && left_ != 0; ++i) {
      std::array<std::byte, kSnapshotEntryBytes> bytes{};
      GM_CHECK(file_.read_exact_at(at, bytes));
      const SnapshotEntry entry = parse_snapshot_entry(bytes);
      GM_CHECK(count_mapping(entry.l1_offset, entry.l1_entries));
      at += entry.bytes;
    }
    if (header_.snapshots != 0) count(header_.snapshots_offset, at - header_.snapshots_offset);
    return {};
  }

  // QEMU, docs/interop/qcow2.txt, "Bitmaps".
  Status count_bitmaps() {
    constexpr std::size_t kEntryBytes = 24;
    std::uint64_t at = header_.bitmap_directory_offset;
    const std::uint64_t bytes = header_.bitmap_directory_bytes;
    if (header_.bitmaps == 0) return {};
    if (!in_file(at, bytes)) return bad_bitmaps(at);
    count(at, bytes);
    const std::uint64_t end = at + bytes;
    for (std::uint32_t i = 0; i < header_.bitmaps; ++i) {
      if (end - at < kEntryBytes) return bad_bitmaps(at);
      std::array<std::byte, kEntryBytes> entry{};
      GM_CHECK(file_.read_exact_at(at, entry));
      const auto table = load_be<std::uint64_t>(entry.data());
      const auto clusters = load_be<std::uint32_t>(entry.data() + 8);
      const std::uint64_t own = kEntryBytes + load_be<std::uint16_t>(entry.data() + 18) +
                                load_be<std::uint32_t>(entry.data() + 20);
      if (!in_file(table, std::uint64_t{clusters} * 8) || align_up(own, 8) > end - at)
        return bad_bitmaps(at);
      count(table, std::uint64_t{clusters} * 8);
      GM_CHECK(for_each_entry(table, clusters, [&](std::uint64_t, std::uint64_t each) -> Status {
        if ((each & kOffsetMask) != 0) count(each & kOffsetMask, header_.cluster_bytes());
        return {};
      }));
      at += align_up(own, 8);
    }
    return {};
  }

  [[nodiscard]] Status bad_bitmaps(std::uint64_t offset) const {
    return findings_.add({.code = "bitmaps",
                          .what = fail(ErrorKind::corrupt, file_.path(), offset,
                                       "the directory of bitmaps goes on past its end, or names "
                                       "a table past the end of the file: the bitmaps are lost; "
                                       "`qemu-img bitmap --remove` takes them away")
                                      .error()});
  }

  [[nodiscard]] bool in_file(std::uint64_t offset, std::uint64_t bytes) const {
    return range_within(offset, bytes, file_bytes_);
  }

  Status compare_block(std::uint64_t number) {
    const std::uint64_t per_block = header_.refcounts_per_block();
    const std::uint64_t first = number * per_block;
    if (first >= clusters_) return {};
    std::vector<std::byte> block(header_.cluster_bytes());
    const std::uint64_t offset = refcount_table_[number];
    if (offset != 0) GM_CHECK(file_.read_exact_at(offset, block));
    for (std::uint64_t i = 0; i < std::min(per_block, clusters_ - first); ++i)
      GM_CHECK(compare(first + i, refcount_at(block, i, header_.refcount_order),
                       offset + (i << header_.refcount_order) / 8));
    return {};
  }

  Status compare(std::uint64_t cluster, std::uint64_t count, std::uint64_t said_at) {
    const std::uint64_t users = counts_.at(cluster);
    const bool elsewhere = header_.snapshots == 0 && header_.bitmaps == 0;
    const bool is_told = elsewhere && (count == 0 || users == 0);
    const bool is_many = users == std::numeric_limits<std::uint16_t>::max();
    if (count == users || is_told || is_many) return end_run();
    const bool goes_on = run_.clusters != 0 && run_.first + run_.clusters == cluster &&
                         run_.count == count && run_.users == users;
    if (!goes_on) {
      GM_CHECK(end_run());
      run_ = {cluster, 0, count, users, said_at};
    }
    ++run_.clusters;
    return {};
  }

  Status end_run() {
    const Run run = std::exchange(run_, {});
    if (run.clusters == 0) return {};
    const bool is_leak = run.count > run.users;
    const std::uint64_t offset = run.first << header_.cluster_bits;
    Error what =
        fail(ErrorKind::corrupt, file_.path(), run.said_at,
             fmt::format(
                 "{} from offset {:#x} on {} a refcount of {}, and {} referred to {} "
                 "times: {}",
                 run.clusters == 1 ? "the cluster" : fmt::format("{} clusters", run.clusters),
                 offset, run.clusters == 1 ? "has" : "have", run.count,
                 run.clusters == 1 ? "is" : "are", run.users,
                 is_leak ? "space is lost, `qemu-img check -r leaks` frees it"
                         : "who writes the image may overwrite what others use, `qemu-img "
                           "check -r all` mends it"))
            .error();
    return findings_.add({.severity = is_leak ? Severity::leak : Severity::damage,
                          .code = is_leak ? "refcount-high" : "refcount-low",
                          .what = std::move(what),
                          .leaked_bytes = is_leak ? run.clusters << header_.cluster_bits : 0});
  }

  // kCopied says of the active mapping that nothing else uses a cluster, so that it may be written
  // in place. A flag that is missing loses nothing; it is damage because `qemu-img check` says so.
  Status check_flags() {
    for (std::uint64_t i = 0; i < header_.l1_entries; ++i) {
      if (i >= tables_.tables() || tables_.table_offset(i) == 0) continue;
      const std::uint64_t table = tables_.table_offset(i);
      GM_CHECK(
          for_each_entry(tables_.l1_entry_offset(i), 1, [&](std::uint64_t, std::uint64_t entry) {
            return check_flag(entry, table, tables_.l1_entry_offset(i));
          }));
      GM_CHECK(for_each_entry(table, header_.entries_per_table(),
                              [&](std::uint64_t number, std::uint64_t entry) -> Status {
                                const auto mapping = decode_entry(entry, header_);
                                if (!mapping || mapping->offset == 0 ||
                                    mapping->kind == Mapping::Kind::compressed)
                                  return {};
                                return check_flag(entry, mapping->offset, table + number * 8);
                              }));
    }
    return {};
  }

  Status check_flag(std::uint64_t entry, std::uint64_t offset, std::uint64_t said_at) {
    const bool says_alone = (entry & kCopied) != 0;
    const std::uint64_t users = counts_.at(offset >> header_.cluster_bits);
    if (says_alone == (users == 1)) return {};
    return findings_.add(
        {.severity = Severity::damage,
         .code = "copied-flag",
         .what = fail(ErrorKind::corrupt, file_.path(), said_at,
                      fmt::format("the entry says that the cluster at offset {:#x} is used {}; it "
                                  "is referred to {}; `qemu-img check -r all` mends it",
                                  offset, says_alone ? "here only" : "elsewhere too",
                                  users == 1 ? "once" : fmt::format("{} times", users)))
                     .error()});
  }

  const MappingTables& tables_;
  const Header& header_;
  const File& file_;
  std::span<const std::uint64_t> refcount_table_;
  std::uint64_t file_bytes_;
  std::uint64_t clusters_;
  Findings& findings_;
  ReferenceCounts counts_;
  std::uint64_t left_ = kMaxEntries;  // to be walked
  Run run_;
};

}  // namespace

Status recount(const MappingTables& tables, std::span<const std::uint64_t> refcount_table,
               std::uint64_t file_bytes, Findings& findings) {
  return Recount(tables, refcount_table, file_bytes, findings).run();
}

}  // namespace grainmill::qcow2
