// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/sink.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/base/fields.h"
#include "engine/codec/deflate.h"
#include "engine/codec/incompressible.h"
#include "engine/codec/zero_scan.h"
#include "engine/codec/zstd.h"
#include "engine/format/cluster_encoder.h"
#include "engine/format/qcow2/encode.h"
#include "engine/format/qcow2/layout.h"
#include "engine/format/qcow2/refcounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <variant>

namespace grainmill::qcow2 {
namespace {

// How clusters are compressed; monostate: not at all.
using Level = std::variant<std::monostate, DeflateLevel, int>;

// qemu compresses with zlib's level 6, but a window of 4 KiB: over 64 KiB blocks of binaries and of
// text to .3743 and .2393 of their size. This level gives .3516 and .2073, a fifth faster than
// DeflateLevel::standard.
constexpr DeflateLevel kUsualLevel{5};

struct Settings {
  unsigned cluster_bits = 16;
  Compression compression = Compression::zlib;
  bool lazy_refcounts = false;
  Level level;
};

std::unexpected<Error> refuse(const SinkOptions& options, std::string message) {
  return fail(ErrorKind::invalid_argument, options.path, std::move(message));
}

Status apply(const Setting& setting, Settings& settings) {
  if (setting.name == "cluster_size") {
    GM_TRY(const std::uint64_t size, setting.size());
    if (!is_power_of_two(size) || size < (1U << kMinClusterBits) || size > (1U << kMaxClusterBits))
      return setting.bad("a power of two from 512 to 2M");
    settings.cluster_bits = static_cast<unsigned>(std::countr_zero(size));
  } else if (setting.name == "compression_type") {
    if (setting.value != "zlib" && setting.value != "zstd") return setting.bad("zlib or zstd");
    settings.compression = setting.value == "zstd" ? Compression::zstd : Compression::zlib;
  } else if (setting.name == "lazy_refcounts") {
    GM_TRY(settings.lazy_refcounts, setting.on());
  } else if (setting.name == "compat") {
    if (setting.value != "1.1" && setting.value != "v3")
      return setting.bad("1.1, which is version 3");
  } else if (setting.name == "preallocation") {
    if (setting.value != "off") return setting.bad("off: what is zero is never stored");
  } else {
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("-o {}: expected cluster_size, compression_type, lazy_refcounts or "
                            "compat; -o help explains them",
                            setting.name));
  }
  return {};
}

Result<Level> choose_level(const SinkOptions& options, Compression compression) {
  if (!options.compress) {
    if (options.level.empty()) return Level{};
    return refuse(options, "nothing is compressed, so there is no level to choose: use -c too");
  }
  const std::string& word = options.level.empty() ? "default" : options.level;
  if (compression == Compression::zstd) {
    if (const auto level = zstd_level_by_name(word)) return *level;
    return refuse(options, fmt::format("level '{}': expected fast, default, or 1 to {}", word,
                                       kZstdHighestLevel));
  }
  if (options.level.empty()) return kUsualLevel;
  if (const auto level = deflate_level_by_name(word)) return *level;
  return refuse(options, fmt::format("level '{}': expected fast, default, or 1 to 12", word));
}

Result<Settings> choose_settings(const SinkOptions& options) {
  Settings settings;
  for (const Setting& setting : options.settings) GM_CHECK(apply(setting, settings));
  GM_TRY(settings.level, choose_level(options, settings.compression));
  if (options.in_place)
    return refuse(options, "a qcow2 disk is always made new: leave out -n, or use -O raw");
  if (options.path == kStandardOutputName)
    return refuse(options,
                  "the header of a qcow2 disk is written last, which a stream cannot: name a file, "
                  "or use -O vmdk -c");
  return settings;
}

class Compressor {
 public:
  explicit Compressor(const Level& level) {
    if (const auto* deflate = std::get_if<DeflateLevel>(&level))
      coder_.emplace<Deflater>(DeflateWrapper::raw, *deflate);
    if (const int* zstd = std::get_if<int>(&level)) coder_.emplace<ZstdCompressor>(*zstd);
  }

  // 0: does not fit.
  std::size_t compress(std::span<const std::byte> in, std::span<std::byte> out) {
    if (auto* zstd = std::get_if<ZstdCompressor>(&coder_)) return zstd->compress(in, out);
    if (looks_incompressible(in)) return 0;
    return std::get<Deflater>(coder_).compress(in, out);
  }

 private:
  std::variant<std::monostate, Deflater, ZstdCompressor> coder_;
};

// Each cluster that is not zero becomes a block: a stream where that is smaller, else as it is.
class CompressingEncoder final : public Encoder {
 public:
  CompressingEncoder(std::uint64_t cluster_bytes, const Level& level)
      : cluster_bytes_(cluster_bytes), compressor_(level) {}

  [[nodiscard]] Status encode(Piece& piece) override {
    if (piece.zero) return {};
    std::span<std::byte> room = piece.room;
    for (std::uint64_t at = 0; at < piece.bytes.size(); at += cluster_bytes_) {
      const auto cluster = piece.bytes.subspan(at, cluster_bytes_);
      if (is_zero(cluster)) continue;
      OutputBlock block;
      block.guest_offset = piece.guest_offset + at;
      block.bytes = cluster;
      const std::size_t size = compressor_.compress(cluster, room.first(cluster_bytes_ - 1));
      if (size != 0) block.bytes = room.first(size);
      room = room.subspan(size);
      piece.blocks.push_back(block);
    }
    return {};
  }

 private:
  std::uint64_t cluster_bytes_;
  Compressor compressor_;
};

// Where the next bytes of the file go: whole clusters at its end, streams wherever the last one
// ended while there is room.
class Space {
 public:
  explicit Space(std::uint64_t cluster_bytes)
      : cluster_bytes_(cluster_bytes), end_(cluster_bytes) {}

  [[nodiscard]] std::uint64_t end() const { return end_; }
  // No cluster before it gets anything more.
  [[nodiscard]] std::uint64_t settled() const {
    return stream_end_ % cluster_bytes_ == 0 ? end_ : align_down(stream_end_, cluster_bytes_);
  }

  std::uint64_t take_cluster() { return std::exchange(end_, end_ + cluster_bytes_); }

  std::uint64_t take_stream(std::uint64_t length) {
    const std::uint64_t room_end = align_up(stream_end_, cluster_bytes_);
    const bool goes_on = room_end == end_ || stream_end_ + length <= room_end;
    const std::uint64_t offset = goes_on ? stream_end_ : end_;
    stream_end_ = offset + length;
    if (stream_end_ > end_) end_ = align_up(stream_end_, cluster_bytes_);
    return offset;
  }

  void save(FieldWriter& out) const {
    out.word(end_);
    out.word(stream_end_);
  }
  [[nodiscard]] bool restore(FieldReader& in) {
    end_ = in.word<std::uint64_t>();
    stream_end_ = in.word<std::uint64_t>();
    const bool is_whole = align_down(end_, cluster_bytes_) == end_;
    return in.ok() && end_ >= cluster_bytes_ && is_whole && stream_end_ <= end_;
  }

  // Cuts off what was written behind the end, and makes zeros of what a stream may still get.
  [[nodiscard]] Status clear_behind(File& file) const {
    GM_CHECK(file.resize(end_));
    return file.zero_range(stream_end_, align_up(stream_end_, cluster_bytes_) - stream_end_);
  }

 private:
  std::uint64_t cluster_bytes_;
  std::uint64_t end_;  // of the file; the first cluster is the header's
  std::uint64_t stream_end_ = 0;
};

class Qcow2Sink final : public Sink {
 public:
  Qcow2Sink(OutputFiles outputs, File& file, const Settings& settings, std::uint64_t size_bytes)
      : outputs_(std::move(outputs)),
        file_(file),
        settings_(settings),
        cluster_bytes_(std::uint64_t{1} << settings.cluster_bits),
        space_(cluster_bytes_),
        refcounts_(cluster_bytes_) {
    header_.version = 3;
    header_.cluster_bits = settings.cluster_bits;
    header_.size_bytes = size_bytes;
    header_.compression = settings.compression;
    if (settings.compression == Compression::zstd) header_.incompatible |= kCompressionType;
    if (settings.lazy_refcounts) header_.compatible |= kLazyRefcounts;
    l1_.resize(header_.tables());
    refcounts_.add(0, cluster_bytes_);
  }

  [[nodiscard]] SinkShape shape() const override {
    return {.order = SinkOrder::placed,
            .unit_bytes = cluster_bytes_,
            .room_bytes = is_compressed() ? cluster_bytes_ : 0};
  }
  [[nodiscard]] std::unique_ptr<Encoder> make_encoder() const override {
    if (is_compressed())
      return std::make_unique<CompressingEncoder>(cluster_bytes_, settings_.level);
    return make_cluster_encoder(cluster_bytes_);
  }

  [[nodiscard]] Status place(Piece& piece) override {
    const std::size_t clusters = piece.blocks.size();
    for (std::size_t i = 0; i < clusters; ++i) {
      const std::uint64_t cluster = piece.blocks[i].guest_offset / cluster_bytes_;
      const std::uint64_t table = cluster / header_.entries_per_table();
      if (table != table_) {
        end_table(piece);
        table_ = table;
        entries_.assign(cluster_bytes_, std::byte{0});
      }
      GM_TRY(const std::uint64_t entry, place_cluster(piece.blocks[i]));
      store_be(entries_.data() + cluster % header_.entries_per_table() * sizeof entry, entry);
    }
    while (auto block = refcounts_.next_final_block(space_.settled())) {
      refcounts_.stored_at(space_.end());
      add_cluster(piece, *std::move(block));
    }
    return {};
  }

  [[nodiscard]] std::vector<std::byte> save() const override {
    FieldWriter out;
    space_.save(out);
    refcounts_.save(out);
    out.words(std::span(l1_).first(table_ == kNone ? 0 : table_));
    out.word(table_);
    out.block(entries_);
    return out.take();
  }

  [[nodiscard]] Status restore(std::uint64_t /*guest_end*/,
                               std::span<const std::byte> state) override {
    FieldReader in(state);
    if (!space_.restore(in) || !refcounts_.restore(in, space_.settled(), space_.end()) ||
        !restore_table(in) || !in.at_end())
      return bad_sink_state(file_);
    return space_.clear_behind(file_);
  }

  [[nodiscard]] Status finish() override {
    Piece last;
    end_table(last);
    const std::uint64_t l1_bytes =
        align_up(std::max<std::uint64_t>(1, l1_.size() * 8), cluster_bytes_);
    header_.l1_entries = static_cast<std::uint32_t>(l1_.size());
    header_.l1_offset = space_.end();
    std::vector<std::byte> l1(l1_bytes);
    for (std::size_t i = 0; i < l1_.size(); ++i) store_be(l1.data() + i * 8, l1_[i]);
    refcounts_.add(header_.l1_offset, l1_bytes);
    RefcountWriter::Tail tail = refcounts_.finish(header_.l1_offset + l1_bytes);
    header_.refcount_table_offset = tail.table_offset;
    header_.refcount_table_clusters = static_cast<std::uint32_t>(tail.table_clusters);

    for (const OutputBlock& block : last.blocks)
      GM_CHECK(file_.write_at(block.file_offset, block.bytes));
    GM_CHECK(file_.write_at(header_.l1_offset, l1));
    GM_CHECK(file_.write_at(tail.offset, tail.bytes));
    return file_.write_at(0, encode_header(header_));
  }

  [[nodiscard]] OutputFiles& outputs() override { return outputs_; }

 private:
  [[nodiscard]] bool is_compressed() const {
    return !std::holds_alternative<std::monostate>(settings_.level);
  }

  // The table in hand, and the L1 table before it. Tables are only taken away when another one
  // begins: without one there was no data yet.
  [[nodiscard]] bool restore_table(FieldReader& in) {
    const std::vector<std::uint64_t> l1 = in.words<std::uint64_t>();
    table_ = in.word<std::uint64_t>();
    const std::span<const std::byte> entries = in.block();
    entries_.assign(entries.begin(), entries.end());
    if (table_ == kNone) return in.ok() && l1.empty() && entries_.empty();
    if (table_ >= l1_.size() || l1.size() != table_ || entries_.size() != cluster_bytes_)
      return false;
    std::ranges::copy(l1, l1_.begin());
    return in.ok();
  }

  // Returns its L2 entry.
  [[nodiscard]] Result<std::uint64_t> place_cluster(OutputBlock& block) {
    block.file = &file_;
    const std::uint64_t length = block.bytes.size();
    const bool is_stream = length < cluster_bytes_;
    block.file_offset = is_stream ? space_.take_stream(length) : space_.take_cluster();
    refcounts_.add(block.file_offset, length);
    const Mapping::Kind kind = is_stream ? Mapping::Kind::compressed : Mapping::Kind::data;
    if (const auto entry = encode_entry({kind, block.file_offset, length}, header_)) return *entry;
    return fail(ErrorKind::unsupported, file_.path(), block.file_offset,
                "compressed clusters of this size cannot lie here, so far into the file: choose a "
                "smaller cluster_size");
  }

  // The L2 table in hand, behind its last cluster.
  void end_table(Piece& piece) {
    if (entries_.empty()) return;
    l1_[table_] = space_.end() | kCopied;
    add_cluster(piece, std::exchange(entries_, {}));
  }

  void add_cluster(Piece& piece, std::vector<std::byte> bytes) {
    piece.tables.push_back(std::move(bytes));
    OutputBlock block;
    block.bytes = piece.tables.back();
    block.file = &file_;
    block.file_offset = space_.take_cluster();
    refcounts_.add(block.file_offset, cluster_bytes_);
    piece.blocks.push_back(block);
  }

  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  OutputFiles outputs_;
  File& file_;
  Settings settings_;
  std::uint64_t cluster_bytes_;
  Header header_;
  Space space_;
  RefcountWriter refcounts_;
  std::vector<std::uint64_t> l1_;
  std::uint64_t table_ = kNone;     // the L2 table that is being filled
  std::vector<std::byte> entries_;  // of it; empty: none is
};

}  // namespace

Result<std::unique_ptr<Sink>> make_sink(FileSystem& files, const SinkOptions& options) {
  GM_TRY(const Settings settings, choose_settings(options));
  const std::uint64_t table_reach = std::uint64_t{1} << (2 * settings.cluster_bits - 3);
  if (ceil_div(options.size_bytes, table_reach) * 8 > kMaxL1Bytes)
    return refuse(options,
                  fmt::format("a disk of {} needs clusters larger than {}: choose a larger "
                              "cluster_size",
                              format_size(options.size_bytes),
                              format_size(std::uint64_t{1} << settings.cluster_bits)));
  OutputFiles outputs(files);
  GM_TRY(File * file, outputs.add(options.path));
  return std::make_unique<Qcow2Sink>(std::move(outputs), *file, settings, options.size_bytes);
}

}  // namespace grainmill::qcow2
