// SPDX-License-Identifier: Apache-2.0
#include "pipeline/heal.h"

#include "engine/base/arith.h"
#include "engine/codec/digest.h"
#include "engine/codec/zero_scan.h"
#include "engine/io/patched_files.h"
#include "pipeline/block_starts.h"
#include "pipeline/manifest_digests.h"
#include "pipeline/repair.h"
#include "pipeline/undo_journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

// Of what will be written; its journal holds as much again.
constexpr std::uint64_t kBatchBytes = 64 * kMiB;
// A disk with more is another one, not one with a few bad sectors.
constexpr std::size_t kMostRanges = 1 << 20;
constexpr std::size_t kMostUnstored = 1 << 18;  // digest grains

constexpr const char* kInPlace = "written in place";
constexpr const char* kDeflated = "compressed anew, in place";
constexpr const char* kAllocated = "allocated anew";
constexpr const char* kRightNow = "is right when it is read again";

struct Patch {
  std::string path;
  FilePatch patch;
};

// One digest grain that is not as it was.
struct BadGrain {
  GuestRange range;
  std::optional<Digest128> digest;  // that it should have; nullopt: zeros
  std::string how;
  std::vector<Patch> patches;
  std::vector<GuestRange> unstored;  // parts of it that nothing is stored for
};

bool has_digest(std::span<const std::byte> bytes, const std::optional<Digest128>& digest) {
  return digest ? !is_zero(bytes) && xxh3_128(bytes) == *digest : is_zero(bytes);
}

class Healer {
 public:
  Healer(FileSystem& files, const HealOptions& options)
      : files_(files),
        options_(options),
        image_(options.verify.image),
        bytes_(kDigestGrain),
        old_(kDigestGrain) {}

  Result<HealReport> run() {
    GM_CHECK(refuse_unfinished_repair(files_, image_));
    GM_CHECK(find());
    if (report_.before.same()) return report_;
    GM_CHECK(refuse_others());
    GM_TRY(const Disk from, open_for_verify(files_, options_.from, options_.from_disk));
    GM_CHECK(refuse_size(from.size_bytes(), options_.from));
    GM_CHECK(heal_all(from));
    GM_CHECK(allocate(from));
    report_.written = options_.write;
    if (report_.whole()) GM_CHECK(prove_root());
    return report_;
  }

 private:
  Status find() {
    VerifyOptions options = options_.verify;
    bool too_many = false;
    options.on_difference = [&](const Difference& difference) {
      options_.verify.on_difference(difference);
      if (difference.length == 0) return;
      if (too_many = ranges_.size() == kMostRanges; too_many) return;
      ranges_.push_back({difference.guest_offset, difference.guest_offset + difference.length});
    };
    GM_TRY(report_.before, verify(files_, options));
    if (too_many)
      return fail(ErrorKind::unsupported, image_,
                  fmt::format("is not as it was in more than {} places: convert {} anew",
                              kMostRanges, options_.from));
    return {};
  }

  // What deceives XXH3 does not deceive the cryptographic root, which only the whole disk has.
  Status prove_root() {
    if (report_.before.crypto == CryptoAlgorithm::none) return {};
    VerifyOptions options = options_.verify;
    options.on_difference = [](const Difference&) {};
    GM_TRY(const VerifyReport after, verify(files_, options));
    report_.root_differs = !after.same();
    return {};
  }

  [[nodiscard]] Status refuse_others() const {
    GM_CHECK(refuse_size(report_.before.disk_bytes, image_));
    if (report_.before.structure_damaged)
      return fail(ErrorKind::corrupt, image_,
                  "its structure is damaged, so where things are stored is not certain: "
                  "`grainmill check --repair` first");
    if (report_.before.crypto_differs)
      return fail(ErrorKind::mismatch, image_,
                  "was changed on purpose: all digests are right and the cryptographic root is "
                  "not, so where it was changed cannot be told");
    return {};
  }

  [[nodiscard]] Status refuse_size(std::uint64_t size, const std::string& path) const {
    if (size == report_.before.expected_bytes) return {};
    return fail(ErrorKind::mismatch, path,
                fmt::format("is a disk of {} bytes; that of the manifest has {}", size,
                            report_.before.expected_bytes));
  }

  [[nodiscard]] Status check_cancelled() const {
    const std::atomic<bool>* const cancelled = options_.verify.graph.cancelled;
    if (cancelled == nullptr || !cancelled->load()) return {};
    return fail(ErrorKind::cancelled, image_, "healing was stopped; what was written is right");
  }

  Status heal_all(const Disk& from) {
    GM_TRY(ManifestReader manifest, open_manifest(files_, options_.verify.manifest));
    digests_.emplace(std::move(manifest));
    GM_TRY(const Disk disk, open_for_verify(files_, image_, options_.verify.disk));
    for (const GuestRange& range : ranges_)
      for (std::uint64_t at = range.begin; at < range.end; at += kDigestGrain) {
        GM_CHECK(check_cancelled());
        BadGrain grain;
        grain.range = {at, std::min(at + kDigestGrain, range.end)};
        GM_TRY(grain.digest, digests_->of(at / kDigestGrain));
        if (!fetch(from, grain)) continue;
        if (!plan(disk, from, grain)) continue;
        GM_CHECK(add(std::move(grain)));
      }
    return flush();
  }

  Status add(BadGrain grain) {
    if (!grain.unstored.empty()) {
      if (unstored_.size() == kMostUnstored)
        return fail(ErrorKind::unsupported, image_,
                    fmt::format("does not store more than {} GiB of what it should: convert {} "
                                "anew",
                                kMostUnstored * kDigestGrain / kGiB, options_.from));
      unstored_.push_back({grain.range, grain.digest, {}, {}, grain.unstored});
    }
    if (grain.patches.empty()) {
      if (!grain.unstored.empty()) return {};
      // Nothing there to be written: what failed was the reading.
      grain.how = kRightNow;
    }
    batch_.push_back(std::move(grain));
    return batch_bytes_ < kBatchBytes ? Status{} : flush();
  }

  // Into bytes_. False: it cannot be had.
  bool fetch(const Disk& from, const BadGrain& grain) {
    const auto bytes = bytes_of(grain);
    if (const Status read = from.read_at(grain.range.begin, bytes); !read) {
      leave(grain, read.error().to_string());
      return false;
    }
    if (has_digest(bytes, grain.digest)) return true;
    leave(grain, fmt::format("{} has not the right bytes either", options_.from));
    return false;
  }

  [[nodiscard]] std::span<std::byte> bytes_of(const BadGrain& grain) {
    return std::span(bytes_).first(grain.range.end - grain.range.begin);
  }

  // Where the right bytes go. False: they cannot be put there.
  bool plan(const Disk& disk, const Disk& from, BadGrain& grain) {
    ExtentList extents;
    Status planned =
        disk.map().compose(grain.range.begin, grain.range.end - grain.range.begin, extents);
    grain.how = kInPlace;
    for (std::size_t i = 0; i < extents.size() && planned; ++i) {
      const Extent& extent = extents[i];
      const auto right =
          bytes_of(grain).subspan(extent.guest_offset - grain.range.begin, extent.length);
      if (extent.kind == ExtentKind::data)
        plan_plain(extent, right, grain);
      else if (extent.kind == ExtentKind::deflated)
        planned = plan_deflated(disk, from, extent, right, grain);
      else if (!is_zero(right))
        grain.unstored.push_back({extent.guest_offset, extent.guest_end()});
    }
    if (!planned) leave(grain, planned.error().to_string());
    return planned.has_value();
  }

  // Only the sectors that differ.
  void plan_plain(const Extent& extent, std::span<const std::byte> right, BadGrain& grain) {
    for (std::size_t at = 0; at < right.size();) {
      const std::size_t length = std::min<std::size_t>(kSectorBytes, right.size() - at);
      const auto old = std::span(old_).first(length);
      const auto wanted = right.subspan(at, length);
      const std::uint64_t offset = extent.file_offset + at;
      at += length;
      const bool read = extent.file->read_exact_at(offset, old).has_value();
      if (read && std::memcmp(old.data(), wanted.data(), length) == 0) continue;
      add_patch(extent, offset, wanted, grain);
    }
  }

  Status plan_deflated(const Disk& disk, const Disk& from, const Extent& extent,
                       std::span<const std::byte> right, BadGrain& grain) {
    const Link& link = disk.link(extent.link);
    GM_TRY(const BlockNeighbours beside, starts_.beside(link, extent));
    // Most of a bad digest grain can be right, where grains are small.
    if (inflates_to(link, extent, beside, right)) return {};
    std::vector<std::byte> whole(right.begin(), right.end());
    if (extent.length != extent.grain_valid) GM_CHECK(fetch_whole(disk, from, extent, whole));
    whole.resize(extent.grain_bytes);
    GM_TRY(const std::vector<std::byte> block, link.deflate_in_place(extent, beside, whole));
    grain.how = kDeflated;
    add_patch(extent, extent.file_offset, block, grain);
    return {};
  }

  // As verify() reads it, which knows the next block.
  bool inflates_to(const Link& link, const Extent& extent, const BlockNeighbours& beside,
                   std::span<const std::byte> right) {
    std::vector<std::byte> stored(extent.stored_bytes);
    if (beside.next)
      stored.resize(std::min<std::uint64_t>(stored.size(), *beside.next - extent.file_offset));
    std::vector<std::byte> grain(extent.grain_bytes);
    return extent.file->read_exact_at(extent.file_offset, stored) &&
           link.inflate(extent, stored, inflater_, grain) &&
           std::memcmp(grain.data() + extent.grain_skip, right.data(), right.size()) == 0;
  }

  // All that a block stores of which `extent` is a part: its other digest grains are proven as
  // well, for they are written with it.
  Status fetch_whole(const Disk& disk, const Disk& from, const Extent& extent,
                     std::vector<std::byte>& whole) {
    const std::uint64_t begin = extent.guest_offset - extent.grain_skip;
    const std::uint64_t end = begin + extent.grain_valid;
    ExtentList parts;
    if (end <= disk.size_bytes()) GM_CHECK(disk.map().compose(begin, end - begin, parts));
    const bool visible = std::ranges::all_of(parts, [&](const Extent& part) {
      return part.kind == ExtentKind::deflated && part.file == extent.file &&
             part.file_offset == extent.file_offset;
    });
    if (parts.empty() || !visible)
      return fail(ErrorKind::unsupported, extent.file->path(), extent.file_offset,
                  "a part of the compressed grain stored here is hidden by other links, and so not "
                  "known: it is not written anew");
    const std::uint64_t first = begin / kDigestGrain;
    const std::uint64_t all = std::min(align_up(end, kDigestGrain), from.size_bytes());
    std::vector<std::byte> bytes(all - first * kDigestGrain);
    GM_CHECK(from.read_at(first * kDigestGrain, bytes));
    for (std::size_t at = 0; at < bytes.size(); at += kDigestGrain) {
      GM_TRY(const std::optional<Digest128> digest, digests_->of(first + at / kDigestGrain));
      const auto piece = std::span(bytes).subspan(at, std::min(kDigestGrain, bytes.size() - at));
      if (!has_digest(piece, digest))
        return fail(ErrorKind::corrupt, options_.from,
                    "has not the right bytes of all that is compressed together");
    }
    const auto from_here = bytes.begin() + static_cast<std::ptrdiff_t>(begin % kDigestGrain);
    whole.assign(from_here, from_here + static_cast<std::ptrdiff_t>(extent.grain_valid));
    return {};
  }

  void add_patch(const Extent& extent, std::uint64_t offset, std::span<const std::byte> bytes,
                 BadGrain& grain) {
    batch_bytes_ += bytes.size();
    if (!grain.patches.empty()) {
      Patch& last = grain.patches.back();
      if (last.path == extent.file->path() &&
          last.patch.offset + last.patch.bytes.size() == offset) {
        last.patch.bytes.insert(last.patch.bytes.end(), bytes.begin(), bytes.end());
        return;
      }
    }
    grain.patches.push_back({extent.file->path(), {offset, {bytes.begin(), bytes.end()}}});
  }

  // Tries what is planned, and then does it.
  Status flush() {
    if (batch_.empty()) return {};
    PatchedFiles trial(files_);
    for (const BadGrain& grain : batch_)
      for (const Patch& patch : grain.patches) GM_CHECK(trial.add(patch.path, patch.patch));
    GM_TRY(const std::vector<bool> right, are_right(trial));
    std::size_t next = 0;
    std::erase_if(batch_, [&](const BadGrain& grain) {
      if (right[next++]) return false;
      leave(grain, "written in place, it would still not be right");
      std::erase_if(unstored_,
                    [&](const BadGrain& other) { return other.range.begin == grain.range.begin; });
      return true;
    });
    if (options_.write && !batch_.empty()) GM_CHECK(write());
    for (const BadGrain& grain : batch_)
      if (grain.unstored.empty()) heal(grain, grain.how);
    batch_.clear();
    batch_bytes_ = 0;
    return {};
  }

  // Whether each grain of the batch has its digest, but for what will be allocated.
  Result<std::vector<bool>> are_right(FileSystem& files) {
    std::vector<bool> right;
    GM_TRY(const Disk disk, open_for_verify(files, image_, options_.verify.disk));
    // Blocks have other lengths than before: nothing else of the file may notice.
    const bool lengths = std::ranges::find(batch_, kDeflated, &BadGrain::how) != batch_.end();
    const bool sound = !lengths || disk.check().has_value();
    for (const BadGrain& grain : batch_) {
      const auto bytes = bytes_of(grain);
      const bool read =
          disk.read_at(grain.range.begin, bytes).has_value() && (sound || grain.how != kDeflated);
      right.push_back(read && (!grain.unstored.empty() || has_digest(bytes, grain.digest)));
    }
    return right;
  }

  Status write() {
    std::map<std::string, std::unique_ptr<File>> open;
    std::vector<UndoEntry> undo;
    for (const BadGrain& grain : batch_)
      for (const Patch& patch : grain.patches) GM_CHECK(remember(patch, open, undo));
    if (open.empty()) return {};
    const std::string journal = repair_journal_path(image_);
    GM_CHECK(write_undo_journal(files_, journal, undo));
    for (const BadGrain& grain : batch_)
      for (const Patch& patch : grain.patches)
        GM_CHECK(open[patch.path]->write_at(patch.patch.offset, patch.patch.bytes));
    for (const auto& [path, file] : open) GM_CHECK(file->sync());
    open.clear();
    GM_TRY(const std::vector<bool> right, are_right(files_));
    if (std::ranges::find(right, false) != right.end())
      return fail(ErrorKind::io, image_,
                  fmt::format("what was written reads back as something else: the device is "
                              "failing; {} takes it back (`grainmill check --undo {}`)",
                              journal, image_));
    return retire_undo_journal(files_, journal);
  }

  // What cannot be read cannot be taken back, and is no loss.
  Status remember(const Patch& patch, std::map<std::string, std::unique_ptr<File>>& open,
                  std::vector<UndoEntry>& undo) {
    std::unique_ptr<File>& file = open[patch.path];
    if (!file) {
      GM_TRY(file, files_.open_write(patch.path));
    }
    GM_TRY(const FileInfo info, file->info());
    GM_TRY(const std::string absolute, files_.canonical(patch.path));
    const auto add = [&](std::size_t at, std::size_t length) {
      std::vector<std::byte> old(length);
      const std::uint64_t offset = patch.patch.offset + at;
      if (!file->read_exact_at(offset, old)) return false;
      undo.push_back({absolute, info.size_bytes, {offset, std::move(old)}, offset + length});
      return true;
    };
    const std::size_t size = patch.patch.bytes.size();
    if (add(0, size)) return {};
    for (std::size_t at = 0; at < size; at += kSectorBytes)
      add(at, std::min<std::size_t>(kSectorBytes, size - at));
    return {};
  }

  // What no table knows: written as a guest would, under the same content ID.
  Status allocate(const Disk& from) {
    if (unstored_.empty()) return {};
    DiskOptions writing = options_.verify.disk;
    writing.open.mode = OpenMode::read_write;
    if (writing.format.empty() && report_.before.format == "raw") writing.format = "raw";
    if (const Status possible = is_writable(writing); !possible) {
      for (const BadGrain& grain : unstored_)
        leave(grain, "nothing is stored for a part of it: " + possible.error().to_string());
      return {};
    }
    if (options_.write) GM_CHECK(write_unstored(from, writing));
    for (const BadGrain& grain : unstored_) heal(grain, kAllocated);
    return {};
  }

  // Without changing anything.
  Status is_writable(const DiskOptions& writing) {
    GM_TRY(const std::unique_ptr<Link> link, open_link(files_, image_, writing));
    if (link->writable() != nullptr) return {};
    return fail(ErrorKind::unsupported, image_, "disks of this format cannot be written");
  }

  Status write_unstored(const Disk& from, const DiskOptions& writing) {
    GM_TRY(Disk disk, Disk::open(files_, image_, writing));
    if (const auto id = disk.link(0).description().content_id) GM_CHECK(disk.set_content_id(*id));
    for (const BadGrain& grain : unstored_) {
      GM_CHECK(check_cancelled());
      const auto bytes = bytes_of(grain);
      GM_CHECK(from.read_at(grain.range.begin, bytes));
      if (!has_digest(bytes, grain.digest))
        return fail(ErrorKind::corrupt, options_.from, "changed while it was read");
      for (const GuestRange& part : grain.unstored)
        GM_CHECK(disk.write_at(
            part.begin, bytes.subspan(part.begin - grain.range.begin, part.end - part.begin)));
    }
    GM_CHECK(disk.flush());
    for (const BadGrain& grain : unstored_) {
      const auto bytes = bytes_of(grain);
      GM_CHECK(disk.read_at(grain.range.begin, bytes));
      if (!has_digest(bytes, grain.digest))
        return fail(ErrorKind::io, image_,
                    fmt::format("what was written at guest offset {:#x} reads back as something "
                                "else: the device is failing",
                                grain.range.begin));
    }
    return disk.close();
  }

  void heal(const BadGrain& grain, const std::string& how) {
    report_.healed_bytes += grain.range.end - grain.range.begin;
    options_.on_healed(grain.range, how);
  }
  void leave(const BadGrain& grain, const std::string& why) {
    report_.left_bytes += grain.range.end - grain.range.begin;
    options_.on_left(grain.range, why);
  }

  FileSystem& files_;
  const HealOptions& options_;
  std::string image_;
  HealReport report_;
  std::vector<GuestRange> ranges_;
  std::vector<std::byte> bytes_;  // of one grain, as they should be
  std::vector<std::byte> old_;
  Inflater inflater_;
  BlockStarts starts_;
  std::optional<ManifestDigests> digests_;
  std::vector<BadGrain> batch_;
  std::uint64_t batch_bytes_ = 0;
  std::vector<BadGrain> unstored_;
};

}  // namespace

Result<HealReport> heal(FileSystem& files, const HealOptions& options) {
  return Healer(files, options).run();
}

}  // namespace grainmill
