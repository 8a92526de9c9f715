// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/stream_sink.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/fields.h"
#include "engine/codec/incompressible.h"
#include "engine/codec/zero_scan.h"
#include "engine/format/vmdk/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kGrainSectors = 128;
constexpr std::uint64_t kGrainBytes = kGrainSectors * kSectorBytes;
constexpr std::uint32_t kEntriesPerTable = 512;
constexpr std::uint64_t kTableBytes = kEntriesPerTable * sizeof(std::uint32_t);
constexpr std::uint64_t kDescriptorSector = 1;
constexpr std::uint64_t kDescriptorSectors = 20;
// A grain that does not shrink is stored inside a zlib stream. open-vmdk's reader takes no more
// than this.
constexpr std::uint64_t kMaxBlockBytes = 129 * kSectorBytes;

// A file of version 1 is refused by ESXi as too old.
HostedHeader header_of(const DiskPlan& plan) {
  HostedHeader header;
  header.version = 3;
  header.flags = kFlagNewlineTest | kFlagCompressed | kFlagMarkers;
  header.capacity_sectors = plan.sectors;
  header.grain_sectors = kGrainSectors;
  header.descriptor_sector = kDescriptorSector;
  header.descriptor_sectors =
      std::max(kDescriptorSectors, ceil_div(plan.text.size(), kSectorBytes));
  header.entries_per_table = kEntriesPerTable;
  header.directory_sector = kDirectoryAtEnd;
  header.overhead_sectors = align_up(kDescriptorSector + header.descriptor_sectors, kGrainSectors);
  header.compress_algorithm = 1;
  return header;
}

std::vector<std::byte> marker(MarkerType type, std::uint64_t payload_sectors) {
  std::vector<std::byte> bytes(kSectorBytes);
  store_le(bytes.data(), payload_sectors);
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(type));
  return bytes;
}

// Makes grain blocks: the address, the size, a zlib stream, zeros up to the next sector.
class GrainEncoder final : public Encoder {
 public:
  explicit GrainEncoder(DeflateLevel level) : deflater_(DeflateWrapper::zlib, level) {}

  [[nodiscard]] Status encode(Piece& piece) override {
    if (piece.zero) return {};
    std::span<std::byte> room = piece.room;
    for (std::uint64_t at = 0; at < piece.bytes.size(); at += kGrainBytes) {
      const auto grain = piece.bytes.subspan(at, kGrainBytes);
      if (is_zero(grain)) continue;
      OutputBlock block;
      block.guest_offset = piece.guest_offset + at;
      block.bytes = encode_grain(grain, block.guest_offset, room);
      room = room.subspan(block.bytes.size());
      piece.blocks.push_back(block);
    }
    return {};
  }

 private:
  std::span<const std::byte> encode_grain(std::span<const std::byte> grain,
                                          std::uint64_t guest_offset, std::span<std::byte> room) {
    const auto stream = room.subspan(kGrainHeaderBytes, kMaxBlockBytes - kGrainHeaderBytes);
    std::size_t size = 0;
    if (!looks_incompressible(grain)) size = deflater_.compress(grain, stream.first(kGrainBytes));
    if (size == 0) size = store_zlib(grain, stream);
    store_le(room.data(), guest_offset / kSectorBytes);
    store_le(room.data() + 8, static_cast<std::uint32_t>(size));
    const std::size_t end = align_up(kGrainHeaderBytes + size, kSectorBytes);
    std::ranges::fill(room.subspan(kGrainHeaderBytes + size, end - kGrainHeaderBytes - size),
                      std::byte{0});
    return room.first(end);
  }

  Deflater deflater_;
};

class StreamSink final : public Sink {
 public:
  StreamSink(NewDisk disk, DeflateLevel level, SinkOrder order)
      : disk_(std::move(disk)),
        file_(*disk_.extents.front()),
        level_(level),
        order_(order),
        header_(header_of(disk_.plan)),
        next_(header_.overhead_sectors * kSectorBytes),
        directory_(ceil_div(ceil_div(header_.capacity_sectors, kGrainSectors), kEntriesPerTable)) {}

  // What comes before the first grain.
  [[nodiscard]] Status begin() {
    std::vector<std::byte> bytes(next_);
    std::ranges::copy(encode_hosted_header(header_), bytes.begin());
    std::ranges::copy(std::as_bytes(std::span(disk_.plan.text)),
                      bytes.begin() + kDescriptorSector * kSectorBytes);
    return file_.write_at(0, bytes);
  }

  [[nodiscard]] SinkShape shape() const override {
    return {.order = order_, .unit_bytes = kGrainBytes, .room_bytes = kMaxBlockBytes};
  }
  [[nodiscard]] std::unique_ptr<Encoder> make_encoder() const override {
    return std::make_unique<GrainEncoder>(level_);
  }

  [[nodiscard]] Status place(Piece& piece) override {
    std::vector<OutputBlock> grains = std::exchange(piece.blocks, {});
    for (OutputBlock& block : grains) {
      const std::uint64_t grain = block.guest_offset / kGrainBytes;
      if (grain / kEntriesPerTable != table_) {
        GM_CHECK(end_table(piece));
        table_ = grain / kEntriesPerTable;
        entries_.assign(kTableBytes, std::byte{0});
      }
      GM_TRY(const std::uint32_t sector, next_sector());
      store_le(entries_.data() + grain % kEntriesPerTable * sizeof(std::uint32_t), sector);
      append(piece, block);
    }
    return {};
  }

  [[nodiscard]] std::vector<std::byte> save() const override {
    FieldWriter out;
    out.word(next_);
    out.words(std::span(directory_).first(table_ == kNone ? 0 : table_));
    out.word(table_);
    out.block(entries_);
    return out.take();
  }

  [[nodiscard]] Status restore(std::uint64_t /*guest_end*/,
                               std::span<const std::byte> state) override {
    if (order_ == SinkOrder::ascending)
      return fail(ErrorKind::unsupported, file_.path(), "a stream cannot be gone on with");
    FieldReader in(state);
    next_ = in.word<std::uint64_t>();
    // No grain lies past 2 TiB, and little behind the last one.
    constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 42;
    if (next_ % kSectorBytes != 0 || next_ > kMostBytes ||
        next_ < header_.overhead_sectors * kSectorBytes || !restore_table(in) || !in.at_end())
      return bad_sink_state(file_);
    return file_.resize(next_);
  }

  [[nodiscard]] Status finish() override {
    Piece last;
    GM_CHECK(end_table(last));
    std::vector<std::byte> directory(
        align_up(directory_.size() * sizeof(std::uint32_t), kSectorBytes));
    for (std::size_t i = 0; i < directory_.size(); ++i)
      store_le(directory.data() + i * sizeof(std::uint32_t), directory_[i]);
    append_table(last, marker(marker_grain_directory, directory.size() / kSectorBytes));
    header_.directory_sector = next_ / kSectorBytes;
    append_table(last, std::move(directory));
    append_table(last, marker(marker_footer, 1));
    const auto footer = encode_hosted_header(header_);
    append_table(last, {footer.begin(), footer.end()});
    append_table(last, marker(marker_end_of_stream, 0));
    for (const OutputBlock& block : last.blocks)
      GM_CHECK(file_.write_at(block.file_offset, block.bytes));
    return {};
  }

  [[nodiscard]] OutputFiles& outputs() override { return disk_.outputs; }

 private:
  [[nodiscard]] Result<std::uint32_t> next_sector() const {
    const std::uint64_t sector = next_ / kSectorBytes;
    if (sector > std::numeric_limits<std::uint32_t>::max())
      return fail(ErrorKind::unsupported, file_.path(), next_,
                  "the next grain lies past 2 TiB, where 32-bit tables cannot point");
    return static_cast<std::uint32_t>(sector);
  }

  // The table in hand, and the directory before it. Tables are only taken away when another one
  // begins: without one there was no data yet.
  [[nodiscard]] bool restore_table(FieldReader& in) {
    const std::vector<std::uint32_t> directory = in.words<std::uint32_t>();
    table_ = in.word<std::uint64_t>();
    const std::span<const std::byte> entries = in.block();
    entries_.assign(entries.begin(), entries.end());
    if (table_ == kNone) return in.ok() && directory.empty() && entries_.empty();
    if (table_ >= directory_.size() || directory.size() != table_ || entries_.size() != kTableBytes)
      return false;
    std::ranges::copy(directory, directory_.begin());
    return in.ok();
  }

  void append(Piece& piece, OutputBlock block) {
    block.file = &file_;
    block.file_offset = next_;
    next_ += block.bytes.size();
    piece.blocks.push_back(block);
  }
  void append_table(Piece& piece, std::vector<std::byte> bytes) {
    piece.tables.push_back(std::move(bytes));
    OutputBlock block;
    block.bytes = piece.tables.back();
    append(piece, block);
  }

  // The table in hand, behind its last grain.
  [[nodiscard]] Status end_table(Piece& piece) {
    if (entries_.empty()) return {};
    append_table(piece, marker(marker_grain_table, kTableBytes / kSectorBytes));
    GM_TRY(directory_[table_], next_sector());
    append_table(piece, std::exchange(entries_, {}));
    return {};
  }

  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  NewDisk disk_;
  File& file_;
  DeflateLevel level_;
  SinkOrder order_;
  HostedHeader header_;
  std::uint64_t next_;  // where the next block goes
  std::vector<std::uint32_t> directory_;
  std::uint64_t table_ = kNone;     // the one that is being filled
  std::vector<std::byte> entries_;  // of it; empty: none is
};

}  // namespace

Result<std::unique_ptr<Sink>> make_stream_sink(NewDisk disk, DeflateLevel level, SinkOrder order) {
  auto sink = std::make_unique<StreamSink>(std::move(disk), level, order);
  GM_CHECK(sink->begin());
  return sink;
}

}  // namespace grainmill::vmdk
