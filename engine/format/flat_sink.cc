// SPDX-License-Identifier: Apache-2.0
#include "engine/format/flat_sink.h"

#include "engine/base/arith.h"
#include "engine/codec/zero_scan.h"

#include <algorithm>

namespace grainmill {
namespace {

class FlatEncoder final : public Encoder {
 public:
  explicit FlatEncoder(const FlatSinkOptions& options) : options_(options) {}

  // Each run of blocks that hold something is one write.
  [[nodiscard]] Status encode(Piece& piece) override {
    if (piece.zero) {
      add_zeros(piece, 0, piece.length);
      return {};
    }
    const auto bytes = piece.bytes.first(piece.length);
    std::uint64_t run = 0;  // where the bytes begin that are not in a block yet
    for (std::uint64_t at = 0; at < bytes.size() && options_.hole_bytes != 0;) {
      const std::uint64_t hole = options_.hole_bytes;
      const std::uint64_t next = align_down(piece.guest_offset + at, hole) + hole;
      const std::uint64_t end = std::min<std::uint64_t>(bytes.size(), next - piece.guest_offset);
      if (is_zero(bytes.subspan(at, end - at))) {
        add_bytes(piece, run, at);
        add_zeros(piece, at, end);
        run = end;
      }
      at = end;
    }
    add_bytes(piece, run, bytes.size());
    return {};
  }

 private:
  // Calls add(part, begin, end) for each file that [begin, end) of the piece goes to.
  template <typename Add>
  void for_each_part(const Piece& piece, std::uint64_t begin, std::uint64_t end, const Add& add) {
    while (begin < end) {
      const std::uint64_t guest = piece.guest_offset + begin;
      const FlatPart& part =
          *std::prev(std::ranges::upper_bound(options_.parts, guest, {}, &FlatPart::guest_offset));
      const std::uint64_t length = std::min(end - begin, part.guest_offset + part.length - guest);
      add(OutputBlock{.guest_offset = guest,
                      .file = part.file,
                      .file_offset = part.file_offset + (guest - part.guest_offset)},
          length);
      begin += length;
    }
  }

  void add_bytes(Piece& piece, std::uint64_t begin, std::uint64_t end) {
    for_each_part(piece, begin, end, [&](OutputBlock block, std::uint64_t length) {
      block.bytes = piece.bytes.subspan(block.guest_offset - piece.guest_offset, length);
      piece.blocks.push_back(block);
    });
  }

  void add_zeros(Piece& piece, std::uint64_t begin, std::uint64_t end) {
    if (options_.target == FlatTarget::empty) return;
    for_each_part(piece, begin, end, [&](OutputBlock block, std::uint64_t length) {
      block.zero_bytes = length;
      OutputBlock* last = piece.blocks.empty() ? nullptr : &piece.blocks.back();
      if (last != nullptr && last->zero_bytes != 0 && last->file == block.file &&
          last->file_offset + last->zero_bytes == block.file_offset)
        last->zero_bytes += length;
      else
        piece.blocks.push_back(block);
    });
  }

  const FlatSinkOptions& options_;
};

class FlatSink final : public Sink {
 public:
  FlatSink(OutputFiles outputs, FlatSinkOptions options)
      : outputs_(std::move(outputs)), options_(std::move(options)) {}

  [[nodiscard]] SinkShape shape() const override {
    return {.order = options_.target == FlatTarget::stream ? SinkOrder::ascending : SinkOrder::any};
  }
  [[nodiscard]] std::unique_ptr<Encoder> make_encoder() const override {
    return std::make_unique<FlatEncoder>(options_);
  }
  [[nodiscard]] Status place(Piece& /*piece*/) override { return {}; }
  [[nodiscard]] std::vector<std::byte> save() const override { return {}; }
  [[nodiscard]] Status restore(std::uint64_t guest_end, std::span<const std::byte> state) override {
    if (options_.target != FlatTarget::empty)
      return fail(ErrorKind::unsupported, options_.parts.front().file->path(),
                  "what is written in place, or to a stream, cannot be gone on with");
    if (!state.empty()) return bad_sink_state(*options_.parts.front().file);
    for (const FlatPart& part : options_.parts) GM_CHECK(clear_behind(part, guest_end));
    return {};
  }
  [[nodiscard]] Status finish() override { return {}; }
  [[nodiscard]] OutputFiles& outputs() override { return outputs_; }

 private:
  // Cut off and made longer again, it reads as zeros, and takes no space.
  static Status clear_behind(const FlatPart& part, std::uint64_t guest_end) {
    if (part.guest_offset + part.length <= guest_end) return {};
    const std::uint64_t kept = std::max(guest_end, part.guest_offset) - part.guest_offset;
    GM_CHECK(part.file->resize(part.file_offset + kept));
    return part.file->resize(part.file_offset + part.length);
  }

  OutputFiles outputs_;
  FlatSinkOptions options_;
};

}  // namespace

std::unique_ptr<Sink> make_flat_sink(OutputFiles outputs, FlatSinkOptions options) {
  return std::make_unique<FlatSink>(std::move(outputs), std::move(options));
}

}  // namespace grainmill
