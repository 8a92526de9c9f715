// SPDX-License-Identifier: Apache-2.0
#include "pipeline/commit.h"

#include "engine/base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

namespace grainmill {
namespace {

constexpr std::uint64_t kStepBytes = 4 * kMiB;

// The snapshot and what it names as its parent, both content IDs known.
struct Pair {
  ParentRef named;
  std::string parent_path;
  std::uint32_t snapshot_id = 0;
  std::uint32_t parent_id = 0;

  // Only a commit gives a parent the content ID of its child.
  [[nodiscard]] bool interrupted() const {
    return parent_id != named.content_id && parent_id == snapshot_id;
  }
};

Result<Pair> inspect(FileSystem& files, const CommitOptions& options) {
  DiskOptions reading = options.disk;
  reading.ignore_content_ids = true;
  GM_TRY(const Disk chain, Disk::open(files, options.snapshot, reading));
  if (chain.depth() < 2)
    return fail(ErrorKind::invalid_argument, options.snapshot,
                "is not a snapshot: it names no parent to write it into");
  const LinkDescription& snapshot = chain.link(0).description();
  const LinkDescription& parent = chain.link(1).description();
  const std::string& parent_path = chain.link(1).files().front()->path();
  if (!snapshot.content_id || !parent.content_id)
    return fail(ErrorKind::unsupported, snapshot.content_id ? parent_path : options.snapshot,
                "has no content ID (CID), so nothing could tell that the parent has changed");
  Pair pair{*snapshot.parent, parent_path, *snapshot.content_id, *parent.content_id};
  if (pair.parent_id != pair.named.content_id && !pair.interrupted()) {
    // Says what is wrong with the chain in the words of whoever opens it.
    GM_TRY(const Disk refused, Disk::open(files, options.snapshot, options.disk));
  }
  if (chain.link(0).size_bytes() > chain.link(1).size_bytes())
    return fail(ErrorKind::unsupported, options.snapshot,
                fmt::format("is larger ({}) than its parent {} ({}), which cannot grow: convert "
                            "the chain to a new disk",
                            format_size(chain.link(0).size_bytes()), parent_path,
                            format_size(chain.link(1).size_bytes())));
  return pair;
}

class Committer {
 public:
  // `own`: the snapshot without its parents.
  Committer(const Disk& own, Disk& parent, const CommitOptions& options)
      : own_(own), parent_(parent), options_(options), buffer_(kStepBytes) {}

  Status run(CommitReport& report) {
    const std::uint64_t window = own_.map().window_bytes();
    ExtentList list;
    for (std::uint64_t at = 0; at < own_.size_bytes(); at += window) {
      const std::uint64_t length = std::min(window, own_.size_bytes() - at);
      GM_CHECK(own_.map().compose(at, length, list));
      for (const Extent& extent : list) GM_CHECK(move(extent, report));
      if (options_.progress) options_.progress(at + length, own_.size_bytes());
    }
    return {};
  }

 private:
  Status move(const Extent& extent, CommitReport& report) {
    if (extent.kind == ExtentKind::hole) return {};
    for (std::uint64_t at = extent.guest_offset; at < extent.guest_end();) {
      if (options_.cancelled != nullptr && options_.cancelled->load())
        return fail(ErrorKind::cancelled, options_.snapshot,
                    "commit stopped half-way; nothing is lost: run it again to finish it");
      const std::uint64_t length = std::min(kStepBytes, extent.guest_end() - at);
      if (extent.kind == ExtentKind::zero) {
        GM_CHECK(parent_.write_zeroes(at, length));
        report.zeroed_bytes += length;
      } else {
        const std::span<std::byte> bytes = std::span(buffer_).first(length);
        GM_CHECK(own_.read_at(at, bytes));
        GM_CHECK(parent_.write_at(at, bytes));
        report.data_bytes += length;
      }
      at += length;
    }
    return {};
  }

  const Disk& own_;
  Disk& parent_;
  const CommitOptions& options_;
  std::vector<std::byte> buffer_;
};

// The snapshot now stands for the same disk as its parent, and says so.
bool link_snapshot(FileSystem& files, const CommitOptions& options, const Pair& pair) {
  DiskOptions writing = options.disk;
  writing.open.mode = OpenMode::read_write;
  const Result<std::unique_ptr<Link>> link = open_link(files, options.snapshot, writing);
  if (!link || (*link)->writable() == nullptr) return false;
  return (*link)->writable()->store_parent({pair.named.hint, pair.snapshot_id}).has_value();
}

}  // namespace

Result<CommitReport> commit(FileSystem& files, const CommitOptions& options) {
  GM_TRY(const Pair pair, inspect(files, options));
  CommitReport report{.parent_path = pair.parent_path, .resumed = pair.interrupted()};

  DiskOptions alone = options.disk;
  alone.open_parents = false;
  GM_TRY(const Disk own, Disk::open(files, options.snapshot, alone));
  GM_CHECK(own.check());
  DiskOptions writing = options.disk;
  writing.format.clear();
  writing.open.mode = OpenMode::read_write;
  GM_TRY(Disk parent, Disk::open(files, pair.parent_path, writing));

  GM_CHECK(parent.set_content_id(pair.snapshot_id));
  const Status moved = Committer(own, parent, options).run(report);
  // Also after a failure: what was written is sound, and the parent should not look crashed.
  const Status closed = parent.close();
  if (!moved || !closed) {
    Error error = moved ? closed.error() : moved.error();
    if (error.kind != ErrorKind::cancelled)
      error.message +=
          "; the commit stopped half-way and nothing is lost: run it again when this "
          "is mended";
    return std::unexpected(std::move(error));
  }
  report.snapshot_linked = link_snapshot(files, options, pair);
  return report;
}

}  // namespace grainmill
