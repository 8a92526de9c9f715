// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/sparse_sink.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/fields.h"
#include "engine/format/cluster_encoder.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace grainmill::vmdk {
namespace {

// An extent that is being filled from its beginning to its end.
class ExtentFiller {
 public:
  ExtentFiller(File& file, const HostedHeader& header, std::uint64_t guest_offset)
      : file_(&file),
        header_(header),
        guest_offset_(guest_offset),
        next_sector_(header.overhead_sectors) {}

  [[nodiscard]] std::uint64_t guest_end() const {
    return guest_offset_ + header_.capacity_sectors * kSectorBytes;
  }

  // Appends the grain of `block` to the file. A table that is complete with that becomes blocks of
  // `piece`.
  [[nodiscard]] Status place(OutputBlock& block, Piece& piece) {
    const std::uint64_t grain = (block.guest_offset - guest_offset_) / header_.grain_bytes();
    const std::uint64_t table = grain / header_.entries_per_table;
    if (table != table_) {
      add_table(piece);
      begin_table(table);
    }
    if (next_sector_ > std::numeric_limits<std::uint32_t>::max())
      return fail(ErrorKind::unsupported, file_->path(), next_sector_ * kSectorBytes,
                  "the next grain lies past 2 TiB, where 32-bit tables cannot point: use "
                  "-o subformat=twoGbMaxExtentSparse");
    store_le(entries_.data() + grain % header_.entries_per_table * sizeof(std::uint32_t),
             static_cast<std::uint32_t>(next_sector_));
    block.file = file_;
    block.file_offset = next_sector_ * kSectorBytes;
    next_sector_ += header_.grain_sectors;
    return {};
  }

  // Both copies of the table in hand, if there is one.
  void add_table(Piece& piece) {
    if (entries_.empty()) return;
    piece.tables.push_back(std::exchange(entries_, {}));
    OutputBlock block;
    block.bytes = piece.tables.back();
    block.file = file_;
    for (const std::uint64_t directory :
         {header_.redundant_directory_sector, header_.directory_sector}) {
      block.file_offset = table_offset(directory, table_);
      piece.blocks.push_back(block);
    }
  }

  void save(FieldWriter& out) const {
    out.word(next_sector_);
    out.word(table_);
    out.block(entries_);
  }
  [[nodiscard]] bool restore(FieldReader& in) {
    next_sector_ = in.word<std::uint64_t>();
    table_ = in.word<std::uint64_t>();
    const std::span<const std::byte> entries = in.block();
    entries_.assign(entries.begin(), entries.end());
    const std::uint64_t used = next_sector_ - header_.overhead_sectors;
    return in.ok() && next_sector_ >= header_.overhead_sectors &&
           used % header_.grain_sectors == 0 &&
           used / header_.grain_sectors <=
               ceil_div(header_.capacity_sectors, header_.grain_sectors) &&
           (table_ == kNone ? entries_.empty() : table_ < tables()) &&
           (entries_.empty() ||
            entries_.size() == header_.entries_per_table * sizeof(std::uint32_t));
  }

  // Cuts off what was written behind the last grain, and takes away the tables that are not
  // complete yet.
  [[nodiscard]] Status clear_behind() const {
    GM_CHECK(file_->resize(next_sector_ * kSectorBytes));
    std::uint64_t first = table_ == kNone ? 0 : table_;
    if (table_ != kNone && entries_.empty()) ++first;
    for (const std::uint64_t directory :
         {header_.redundant_directory_sector, header_.directory_sector}) {
      const std::uint64_t begin = table_offset(directory, first);
      GM_CHECK(file_->zero_range(begin, table_offset(directory, tables()) - begin));
    }
    return {};
  }

 private:
  void begin_table(std::uint64_t table) {
    table_ = table;
    entries_.assign(header_.entries_per_table * sizeof(std::uint32_t), std::byte{0});
  }

  [[nodiscard]] std::uint64_t tables() const {
    return ceil_div(ceil_div(header_.capacity_sectors, header_.grain_sectors),
                    header_.entries_per_table);
  }

  // Tables follow their directory (plan_hosted_extent()).
  [[nodiscard]] std::uint64_t table_offset(std::uint64_t directory_sector,
                                           std::uint64_t table) const {
    const std::uint64_t directory_bytes = align_up(tables() * sizeof(std::uint32_t), kSectorBytes);
    return directory_sector * kSectorBytes + directory_bytes +
           table * header_.entries_per_table * sizeof(std::uint32_t);
  }

  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  File* file_;
  HostedHeader header_;
  std::uint64_t guest_offset_;
  std::uint64_t next_sector_;
  std::uint64_t table_ = kNone;     // the one that is being filled
  std::vector<std::byte> entries_;  // of it; empty: none is
};

class SparseSink final : public Sink {
 public:
  explicit SparseSink(NewDisk disk) : disk_(std::move(disk)) {
    const std::vector<ExtentLine>& lines = disk_.plan.descriptor.extents;
    std::uint64_t guest_offset = 0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      fillers_.emplace_back(*disk_.extents[i], disk_.plan.header(lines[i]), guest_offset);
      guest_offset = fillers_.back().guest_end();
    }
  }

  [[nodiscard]] SinkShape shape() const override {
    return {.order = SinkOrder::placed, .unit_bytes = grain_bytes()};
  }
  [[nodiscard]] std::unique_ptr<Encoder> make_encoder() const override {
    return make_cluster_encoder(grain_bytes());
  }

  [[nodiscard]] Status place(Piece& piece) override {
    const std::size_t grains = piece.blocks.size();
    for (std::size_t i = 0; i < grains; ++i) {
      // By value: tables are added to the same list.
      OutputBlock block = piece.blocks[i];
      while (block.guest_offset >= fillers_[current_].guest_end()) {
        fillers_[current_].add_table(piece);
        ++current_;
      }
      GM_CHECK(fillers_[current_].place(block, piece));
      piece.blocks[i] = block;
    }
    return {};
  }

  [[nodiscard]] std::vector<std::byte> save() const override {
    FieldWriter out;
    out.word<std::uint64_t>(current_);
    for (std::size_t i = 0; i <= current_; ++i) fillers_[i].save(out);
    return out.take();
  }

  [[nodiscard]] Status restore(std::uint64_t /*guest_end*/,
                               std::span<const std::byte> state) override {
    FieldReader in(state);
    current_ = in.word<std::uint64_t>();
    bool sound = current_ < fillers_.size();
    for (std::size_t i = 0; sound && i <= current_; ++i) sound = fillers_[i].restore(in);
    if (!sound || !in.at_end()) return bad_sink_state(*disk_.extents.front());
    for (const ExtentFiller& filler : fillers_) GM_CHECK(filler.clear_behind());
    return {};
  }

  [[nodiscard]] Status finish() override {
    Piece last;
    fillers_[current_].add_table(last);
    for (const OutputBlock& block : last.blocks)
      GM_CHECK(block.file->write_at(block.file_offset, block.bytes));
    return {};
  }

  [[nodiscard]] OutputFiles& outputs() override { return disk_.outputs; }

 private:
  [[nodiscard]] std::uint64_t grain_bytes() const {
    return disk_.plan.grain_sectors * kSectorBytes;
  }

  NewDisk disk_;
  std::vector<ExtentFiller> fillers_;
  std::size_t current_ = 0;
};

}  // namespace

std::unique_ptr<Sink> make_sparse_sink(NewDisk disk) {
  return std::make_unique<SparseSink>(std::move(disk));
}

}  // namespace grainmill::vmdk
