// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk_writer.h"

#include "engine/base/arith.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace grainmill {
namespace {

// Whole grains that one write allocates together, side by side in the file. ThreadSanitizer stops
// at 64 locks in one thread.
constexpr std::uint64_t kMaxTogether = 48;

// The grains of a part that a range touches, and where they lie on the disk. The last grain of a
// part may reach past its end.
struct GrainSpan {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t begin = 0;  // guest bytes
  std::uint64_t end = 0;

  GrainSpan(const WritablePart& part, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t grain_bytes = part.allocator->grain_bytes();
    const std::uint64_t address = offset - part.guest_offset;
    first = address / grain_bytes;
    count = ceil_div(address + length, grain_bytes) - first;
    begin = part.guest_offset + first * grain_bytes;
    end = std::min(begin + count * grain_bytes, part.guest_offset + part.length);
  }
};

}  // namespace

// Holds the locks of some neighbouring grains.
class DiskWriter::GrainLocks {
 public:
  GrainLocks(DiskWriter& writer, const WritablePart& part, const GrainSpan& grains) {
    std::array<bool, kStripes> wanted{};
    const std::uint64_t salt = part.guest_offset / part.allocator->grain_bytes();
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(grains.count, kStripes); ++i)
      wanted[(salt + grains.first + i) % kStripes] = true;
    // In the order of the stripes, as everyone takes them.
    for (std::size_t i = 0; i < kStripes; ++i)
      if (wanted[i]) locks_.emplace_back(writer.stripes_[i]);
  }

 private:
  std::vector<std::unique_lock<std::mutex>> locks_;
};

Result<std::unique_ptr<DiskWriter>> DiskWriter::open(WritableLink& link, const DiskReader& reader) {
  GM_TRY(ClusterMap * map, reader.clusters());
  GM_CHECK(link.begin());
  std::unique_ptr<DiskWriter> writer(new DiskWriter(link, reader, *map));
  for (const WritablePart& part : link.parts()) {
    writer->parts_.push_back(std::make_unique<Part>());
    writer->parts_.back()->place = part;
  }
  return writer;
}

Status DiskWriter::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  return write_pieces({.offset = offset, .length = bytes.size(), .bytes = bytes});
}

Status DiskWriter::write_zeroes(std::uint64_t offset, std::uint64_t length) {
  return write_pieces({.offset = offset, .length = length, .bytes = {}});
}

Status DiskWriter::discard(std::uint64_t offset, std::uint64_t length) {
  return write_pieces({.offset = offset, .length = length, .bytes = {}, .may_stay = true});
}

Status DiskWriter::write_pieces(Piece whole) {
  if (whole.length == 0) return {};
  if (!announced_.load(std::memory_order_acquire)) GM_CHECK(announce_change());
  while (whole.length != 0) {
    Part& part = part_at(whole.offset);
    const std::uint64_t end = part.place.guest_offset + part.place.length;
    Piece piece = whole;
    piece.length = std::min(whole.length, end - whole.offset);
    if (!piece.bytes.empty()) piece.bytes = piece.bytes.first(piece.length);
    GM_CHECK(part.place.allocator == nullptr ? write_flat(part, piece)
                                             : write_sparse(part.place, piece));
    whole.offset += piece.length;
    whole.length -= piece.length;
    if (!whole.bytes.empty()) whole.bytes = whole.bytes.subspan(piece.length);
  }
  return {};
}

// Before the first change, so that no power cut leaves changed contents under the old ID.
Status DiskWriter::announce_change() {
  const std::lock_guard lock(announce_mutex_);
  if (announced_.load(std::memory_order_relaxed)) return {};
  GM_CHECK(link_.store_content_id(std::nullopt));
  announced_.store(true, std::memory_order_release);
  return {};
}

Status DiskWriter::set_content_id(std::uint32_t id) {
  const std::lock_guard lock(announce_mutex_);
  GM_CHECK(link_.store_content_id(id));
  announced_.store(true, std::memory_order_release);
  return {};
}

Status DiskWriter::write_flat(Part& part, const Piece& piece) {
  if (part.place.file == nullptr) {
    if (piece.bytes.empty()) return {};
    return fail(ErrorKind::unsupported, "",
                fmt::format("guest offset {:#x} lies in an extent without a file (ZERO or "
                            "NOACCESS), which cannot be written",
                            piece.offset));
  }
  const std::uint64_t at = part.place.file_offset + (piece.offset - part.place.guest_offset);
  const Status done = piece.bytes.empty() ? part.place.file->zero_range(at, piece.length)
                                          : part.place.file->write_at(at, piece.bytes);
  part.unsynced.store(true, std::memory_order_release);
  return done;
}

Status DiskWriter::write_sparse(const WritablePart& part, Piece piece) {
  while (piece.length != 0) {
    GM_TRY(const Extent run, map_.find_run(piece.offset, piece.length));
    Piece step = piece;
    step.length = run.length;
    if (!step.bytes.empty()) step.bytes = step.bytes.first(run.length);
    if (run.kind == ExtentKind::data && run.link == 0) {
      GM_CHECK(write_stored(part, step, run.file_offset));
    } else if (step.bytes.empty() && run.reads_as_zero()) {
      // Zeros already.
    } else {
      GM_TRY(step.length, write_missing(part, step));
    }
    piece.offset += step.length;
    piece.length -= step.length;
    if (!piece.bytes.empty()) piece.bytes = piece.bytes.subspan(step.length);
  }
  return {};
}

Status DiskWriter::write_stored(const WritablePart& part, const Piece& piece,
                                std::uint64_t file_offset) {
  const Status done = piece.bytes.empty() ? part.file->zero_range(file_offset, piece.length)
                                          : part.file->write_at(file_offset, piece.bytes);
  part.allocator->note_write();
  return done;
}

// Writes the beginning of `piece`, which no grain of this link stores, and returns how much that
// was: the rest of one grain, or some whole ones.
Result<std::uint64_t> DiskWriter::write_missing(const WritablePart& part, const Piece& piece) {
  const std::uint64_t grain_bytes = part.allocator->grain_bytes();
  GrainSpan grains(part, piece.offset, 1);
  Piece step = piece;
  step.length = std::min(piece.length, grains.end - piece.offset);
  if (piece.offset == grains.begin && piece.length > step.length) {
    // Whole ones together; the last of them may be cut by the end of the part.
    const GrainSpan all(part, piece.offset, std::min(piece.length, kMaxTogether * grain_bytes));
    const std::uint64_t covered = piece.offset + piece.length;
    step.length =
        (all.end <= covered ? all.end : align_down(covered - all.begin, grain_bytes) + all.begin) -
        piece.offset;
    grains = GrainSpan(part, piece.offset, step.length);
  }
  if (!step.bytes.empty()) step.bytes = step.bytes.first(step.length);

  const GrainLocks locks(*this, part, grains);
  // Someone else may have been here since.
  for (std::uint64_t at = grains.begin; at < grains.end;) {
    GM_TRY(const Extent run, map_.find_run(at, grains.end - at));
    const bool changed = (run.kind == ExtentKind::data && run.link == 0) ||
                         (step.bytes.empty() && run.kind == ExtentKind::zero && run.link == 0);
    if (changed) return 0;
    at += run.length;
  }
  const bool whole = step.offset == grains.begin && step.offset + step.length == grains.end;
  if (step.bytes.empty() && whole && part.allocator->zeroed_entries()) {
    GM_CHECK(put_zeros(part, step));
  } else if (!step.may_stay) {
    GM_CHECK(put_new(part, step));
  }
  return step.length;
}

Status DiskWriter::put_zeros(const WritablePart& part, const Piece& piece) {
  const GrainSpan grains(part, piece.offset, piece.length);
  for (std::uint64_t i = 0; i < grains.count; ++i)
    GM_CHECK(part.allocator->put_zeros(grains.first + i));
  return map_.set_zero(grains.begin, grains.end - grains.begin);
}

Status DiskWriter::put_new(const WritablePart& part, const Piece& piece) {
  const GrainSpan grains(part, piece.offset, piece.length);
  const std::uint64_t grain_bytes = part.allocator->grain_bytes();
  GM_TRY(const std::uint64_t file_offset, part.allocator->take(grains.count));
  if (Status filled = fill_new(part, piece, file_offset); !filled) {
    part.allocator->give_back(file_offset, grains.count);
    return filled;
  }
  for (std::uint64_t i = 0; i < grains.count; ++i)
    GM_CHECK(part.allocator->put(grains.first + i, file_offset + i * grain_bytes));
  return map_.set_data(grains.begin, grains.end - grains.begin, *part.file, file_offset);
}

// New grains hold zeros. What the piece does not cover of them comes from the chain as it is now.
Status DiskWriter::fill_new(const WritablePart& part, const Piece& piece,
                            std::uint64_t file_offset) const {
  const GrainSpan grains(part, piece.offset, piece.length);
  const std::uint64_t piece_end = piece.offset + piece.length;
  GM_TRY(const bool zero_before, reads_as_zero(grains.begin, piece.offset));
  GM_TRY(const bool zero_behind, reads_as_zero(piece_end, grains.end));
  if (zero_before && zero_behind) {
    if (piece.bytes.empty()) return {};
    return part.file->write_at(file_offset + (piece.offset - grains.begin), piece.bytes);
  }
  std::vector<std::byte> grain(grains.end - grains.begin);
  const std::span<std::byte> all(grain);
  const std::uint64_t before = piece.offset - grains.begin;
  GM_CHECK(reader_.read_at(grains.begin, all.first(before)));
  if (!piece.bytes.empty()) std::memcpy(grain.data() + before, piece.bytes.data(), piece.length);
  GM_CHECK(reader_.read_at(piece_end, all.subspan(before + piece.length)));
  return part.file->write_at(file_offset, grain);
}

Result<bool> DiskWriter::reads_as_zero(std::uint64_t begin, std::uint64_t end) const {
  while (begin < end) {
    GM_TRY(const Extent run, map_.find_run(begin, end - begin));
    if (!run.reads_as_zero()) return false;
    begin += run.length;
  }
  return true;
}

Status DiskWriter::flush() {
  for (const std::unique_ptr<Part>& part : parts_) {
    if (part->place.allocator != nullptr) {
      GM_CHECK(part->place.allocator->flush());
    } else if (part->unsynced.exchange(false, std::memory_order_acq_rel)) {
      if (Status synced = part->place.file->sync(); !synced) {
        part->unsynced = true;
        return synced;
      }
    }
  }
  return {};
}

Status DiskWriter::close() {
  GM_CHECK(flush());
  return link_.end();
}

bool DiskWriter::is_flat(std::uint64_t offset) const {
  return part_at(offset).place.allocator == nullptr;
}

DiskWriter::Part& DiskWriter::part_at(std::uint64_t offset) const {
  const auto after = std::ranges::upper_bound(
      parts_, offset, {},
      [](const std::unique_ptr<Part>& part) { return part->place.guest_offset; });
  return **std::prev(after);
}

}  // namespace grainmill
