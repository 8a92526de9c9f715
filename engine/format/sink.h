// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/units.h"
#include "engine/io/output_files.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace grainmill {

// Something to be put into a file of an output: bytes, or a range that must read as zeros.
struct OutputBlock {
  std::uint64_t guest_offset = 0;  // of what it stores; metadata has none
  std::span<const std::byte> bytes{};
  std::uint64_t zero_bytes = 0;  // where there are no bytes

  // Where it goes: set by the encoder where that follows from the guest offset, else by place().
  File* file = nullptr;
  std::uint64_t file_offset = 0;
};

// A piece of the guest disk on its way into an output, with the memory for what becomes of it.
struct Piece {
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  bool zero = false;  // reads as zeros as a whole: any length, no bytes

  // The guest's; at the end of the disk, zeros follow up to a multiple of SinkShape::unit_bytes.
  std::span<const std::byte> bytes{};
  std::span<std::byte> room{};  // SinkShape::room_bytes for each unit of `bytes`

  std::vector<OutputBlock> blocks{};             // to be written, in this order
  std::vector<std::vector<std::byte>> tables{};  // bytes of blocks that place() adds

  void reset() {
    blocks.clear();
    tables.clear();
  }
};

enum class SinkOrder : std::uint8_t {
  any,        // place() is not needed: where bytes go follows from the guest offset
  placed,     // place() in guest order, one piece at a time; blocks are then written in any order
  ascending,  // place(), and the blocks written, in guest order: an output that cannot seek
};

struct SinkShape {
  SinkOrder order = SinkOrder::any;
  std::uint64_t unit_bytes = kSectorBytes;  // pieces begin and end on multiples of this, a power of
                                            // two, or at the end of the disk
  std::uint64_t room_bytes = 0;             // of memory that encode() needs for each unit
};

// Turns guest bytes into blocks to be stored: compresses them, or leaves out what is zero.
// Threads: one call at a time; there are as many encoders as there are pieces under way.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // Sets piece.blocks to what must be stored of the piece, in guest order.
  [[nodiscard]] virtual Status encode(Piece& piece) = 0;

 protected:
  Encoder() = default;
  Encoder(const Encoder&) = default;
  Encoder& operator=(const Encoder&) = default;
};

// Where converted guest data goes. A sink decides what is stored where, and keeps its tables; the
// pipeline does the writing. After the first error the output is only good for throwing away:
// destroying the sink leaves nothing of it.
class Sink {
 public:
  virtual ~Sink() = default;

  [[nodiscard]] virtual SinkShape shape() const = 0;

  // Threads: any.
  [[nodiscard]] virtual std::unique_ptr<Encoder> make_encoder() const = 0;

  // Gives each block of an encoded piece its place, and notes it in the tables; may add blocks of
  // its own (tables that are complete). Called for every piece of the disk, in guest order, one at
  // a time, unless shape().order is `any`.
  [[nodiscard]] virtual Status place(Piece& piece) = 0;

  // What place() knows of the pieces before guest_end, all of whose blocks are written: small, and
  // enough for restore().
  [[nodiscard]] virtual std::vector<std::byte> save() const = 0;

  // Goes on with an output that another sink, of the same options, began and saved at `guest_end`:
  // what that one wrote afterwards is cleared away. A state that contradicts itself is `corrupt`;
  // what it says of the contents is for who reads them to prove. `unsupported` where what is
  // written cannot be gone back to. REQUIRES: nothing was placed yet.
  [[nodiscard]] virtual Status restore(std::uint64_t guest_end,
                                       std::span<const std::byte> state) = 0;

  // After the last block is written: the rest of the metadata. Nothing has its name yet.
  [[nodiscard]] virtual Status finish() = 0;

  // What is written to, and gets its names at the end.
  [[nodiscard]] virtual OutputFiles& outputs() = 0;

 protected:
  Sink() = default;
  Sink(const Sink&) = default;
  Sink& operator=(const Sink&) = default;
};

// Why a sink refuses a state.
[[nodiscard]] inline std::unexpected<Error> bad_sink_state(const File& file) {
  return fail(ErrorKind::corrupt, file.path(),
              "what was noted of this half-made output contradicts itself");
}

}  // namespace grainmill
