// SPDX-License-Identifier: Apache-2.0
#include "pipeline/stages.h"

#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"

#include <algorithm>
#include <cstring>

namespace grainmill {
namespace {

constexpr std::size_t kNoStored = ~std::size_t{0};

std::uint64_t digest_grains(const Unit& unit) { return ceil_div(unit.length, kDigestGrain); }

bool is_work(const Unit& unit) { return unit.status.has_value() && !unit.zero; }

std::span<std::byte> place_of(Unit& unit, const Extent& extent) {
  return unit.guest.bytes().subspan(extent.guest_offset - unit.guest_offset, extent.length);
}

// Where an earlier extent of the unit has the same block, which the extents of other links cut up.
std::size_t stored_before(const Unit& unit, std::size_t index) {
  const Extent& extent = unit.extents[index];
  if (extent.length == extent.grain_bytes) return kNoStored;
  for (std::size_t i = index; i-- > 0;)
    if (same_block(unit.extents[i], extent)) return unit.stored_at[i];
  return kNoStored;
}

// Reads the blocks of the extents [begin, ...) that follow each other in one file, or share what
// lies between them; returns the index after the last.
Result<std::size_t> fetch_blocks(Unit& unit, std::size_t begin, std::size_t& used) {
  const Extent& first = unit.extents[begin];
  std::uint64_t end = first.file_offset;
  std::size_t next = begin;
  for (; next < unit.extents.size(); ++next) {
    const Extent& extent = unit.extents[next];
    if (extent.kind != ExtentKind::deflated || extent.file != first.file) break;
    unit.stored_at[next] = stored_before(unit, next);
    if (unit.stored_at[next] != kNoStored) continue;
    if (extent.file_offset < first.file_offset || extent.file_offset > end) break;
    unit.stored_at[next] = used + (extent.file_offset - first.file_offset);
    end = std::max(end, extent.file_offset + extent.stored_bytes);
  }
  const std::uint64_t length = end - first.file_offset;
  if (!range_within(used, length, unit.stored.bytes().size()))
    return fail(ErrorKind::unsupported, first.file->path(), first.file_offset,
                "more compressed grains lie behind 64 KiB of disk than fit in memory");
  if (length != 0)
    GM_CHECK(
        first.file->read_exact_at(first.file_offset, unit.stored.bytes().subspan(used, length)));
  used += length;
  return next;
}

}  // namespace

void fetch(Unit& unit) {
  if (!is_work(unit)) return;
  unit.stored_at.assign(unit.extents.size(), kNoStored);
  std::size_t used = 0;
  for (std::size_t i = 0; i < unit.extents.size() && unit.status;) {
    const Extent& extent = unit.extents[i];
    if (extent.kind == ExtentKind::deflated) {
      const Result<std::size_t> next = fetch_blocks(unit, i, used);
      if (!next) unit.status = std::unexpected(next.error());
      i = next.value_or(unit.extents.size());
      continue;
    }
    if (extent.kind == ExtentKind::data)
      unit.status = extent.file->read_exact_at(extent.file_offset, place_of(unit, extent));
    ++i;
  }
}

namespace {

Status decode_deflated(Unit& unit, std::size_t index, const ChainMap& map,
                       const Extent*& in_scratch) {
  const Extent& extent = unit.extents[index];
  const std::span<std::byte> place = place_of(unit, extent);
  const bool whole = extent.length == extent.grain_bytes;
  if (whole || in_scratch == nullptr || !same_block(*in_scratch, extent)) {
    const std::span<const std::byte> stored =
        unit.stored.bytes().subspan(unit.stored_at[index], extent.stored_bytes);
    const std::span<std::byte> out = whole ? place : unit.scratch.bytes().first(extent.grain_bytes);
    GM_CHECK(map.link(extent.link).inflate(extent, stored, unit.inflater, out));
  }
  if (whole) return {};
  in_scratch = &extent;
  std::memcpy(place.data(), unit.scratch.bytes().data() + extent.grain_skip, place.size());
  return {};
}

}  // namespace

void decode(Unit& unit, const ChainMap& map) {
  if (!is_work(unit)) return;
  const Extent* in_scratch = nullptr;
  for (std::size_t i = 0; i < unit.extents.size() && unit.status; ++i) {
    const Extent& extent = unit.extents[i];
    if (extent.reads_as_zero()) std::ranges::fill(place_of(unit, extent), std::byte{0});
    if (extent.kind == ExtentKind::deflated)
      unit.status = decode_deflated(unit, i, map, in_scratch);
  }
}

void digest(Unit& unit, CryptoAlgorithm algorithm) {
  if (!is_work(unit)) return;
  const std::size_t leaf_bytes = crypto_digest_bytes(algorithm);
  std::optional<CryptoDigest> crypto;
  if (leaf_bytes != 0) crypto.emplace(algorithm);
  unit.records.resize(digest_grains(unit));
  unit.leaves.resize(unit.records.size() * leaf_bytes);
  for (std::size_t i = 0; i < unit.records.size(); ++i) {
    const std::uint64_t begin = i * kDigestGrain;
    const auto bytes =
        unit.guest_bytes().subspan(begin, std::min(kDigestGrain, unit.length - begin));
    GrainRecord& record = unit.records[i];
    record = {};
    if (is_zero(bytes)) continue;
    record = {GrainRecord::Kind::data, xxh3_128(bytes)};
    if (!crypto) continue;
    crypto->update(bytes);
    crypto->finish(unit.leaves.data() + i * leaf_bytes);
  }
}

void encode(Unit& unit, const SinkShape& shape) {
  if (!unit.status) return;
  Piece& piece = unit.piece;
  piece.guest_offset = unit.guest_offset;
  piece.length = unit.length;
  piece.zero = unit.zero || std::ranges::all_of(unit.records, [](const GrainRecord& record) {
                 return record.kind != GrainRecord::Kind::data;
               });
  if (!piece.zero) {
    const std::uint64_t padded = align_up(unit.length, shape.unit_bytes);
    std::ranges::fill(unit.guest.bytes().subspan(unit.length, padded - unit.length), std::byte{0});
    piece.bytes = unit.guest.bytes().first(padded);
    piece.room = unit.room.bytes();
  }
  unit.status = unit.encoder->encode(piece);
}

void place(Unit& unit, Sink& sink) {
  if (unit.status) unit.status = sink.place(unit.piece);
}

namespace {

bool goes_on(const OutputBlock& block, const OutputBlock& next) {
  return !next.bytes.empty() && next.file == block.file &&
         next.file_offset == block.file_offset + block.bytes.size() &&
         next.bytes.data() == block.bytes.data() + block.bytes.size();
}

// The block at `index`, with those that follow it in memory and in the file; moves on behind them.
OutputBlock next_run(const std::vector<OutputBlock>& blocks, std::size_t& index) {
  OutputBlock run = blocks[index++];
  if (run.bytes.empty()) return run;
  for (; index < blocks.size() && goes_on(run, blocks[index]); ++index)
    run.bytes = {run.bytes.data(), run.bytes.size() + blocks[index].bytes.size()};
  return run;
}

}  // namespace

void write(Unit& unit) {
  for (std::size_t i = 0; i < unit.piece.blocks.size() && unit.status;) {
    const OutputBlock run = next_run(unit.piece.blocks, i);
    unit.status = run.bytes.empty() ? run.file->zero_range(run.file_offset, run.zero_bytes)
                                    : run.file->write_at(run.file_offset, run.bytes);
  }
}

void write_beside(Unit& unit) {
  if (!unit.status) return;
  std::vector<OutputBlock> left;
  for (std::size_t i = 0; i < unit.piece.blocks.size();) {
    const OutputBlock run = next_run(unit.piece.blocks, i);
    if (run.bytes.empty() || !run.file->write_beside(run.file_offset, run.bytes))
      left.push_back(run);
  }
  unit.piece.blocks = std::move(left);
}

void give_up(Unit& unit) {
  unit.records.assign(digest_grains(unit), {GrainRecord::Kind::unreadable, {}});
  unit.grain_errors.assign(unit.records.size(), unit.status.error());
  unit.status = {};
}

void salvage(Unit& unit, const ChainMap& map, CryptoAlgorithm algorithm) {
  if (unit.extents.empty()) {
    give_up(unit);
    unit.leaves.assign(unit.records.size() * crypto_digest_bytes(algorithm), std::byte{0});
    return;
  }
  const ExtentList all = std::move(unit.extents);
  const std::uint64_t begin = unit.guest_offset;
  const std::uint64_t end = begin + unit.length;
  const std::size_t leaf_bytes = crypto_digest_bytes(algorithm);
  std::vector<GrainRecord> records;
  std::vector<std::byte> leaves;
  std::vector<std::optional<Error>> errors;
  for (std::uint64_t at = begin; at < end; at += kDigestGrain) {
    unit.reset();
    unit.guest_offset = at;
    unit.length = std::min(kDigestGrain, end - at);
    for (const Extent& extent : all)
      if (extent.guest_end() > at && extent.guest_offset < at + unit.length)
        unit.extents.push_back(clip(extent, at, at + unit.length));
    fetch(unit);
    decode(unit, map);
    digest(unit, algorithm);
    if (unit.status) {
      records.push_back(unit.records.front());
      leaves.insert(leaves.end(), unit.leaves.begin(), unit.leaves.end());
      errors.emplace_back();
    } else {
      records.push_back({GrainRecord::Kind::unreadable, {}});
      leaves.resize(leaves.size() + leaf_bytes);
      errors.emplace_back(unit.status.error());
    }
  }
  unit.reset();
  unit.guest_offset = begin;
  unit.length = end - begin;
  unit.extents = all;
  unit.records = std::move(records);
  unit.leaves = std::move(leaves);
  unit.grain_errors = std::move(errors);
}

}  // namespace grainmill
