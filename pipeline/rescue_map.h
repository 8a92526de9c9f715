// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/io/file.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace grainmill {

// What became of a range of a disk that was salvaged.
enum class RescueStatus : std::uint8_t {
  finished,  // read, and nothing speaks against it
  doubtful,  // read, but the image contradicts itself here: it may be other data
  missing,   // not read: zeros stand there
};

[[nodiscard]] std::string_view rescue_status_name(RescueStatus status);

struct RescuedRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  RescueStatus status = RescueStatus::finished;
  std::string why;  // it is not finished: the first reason
};

// Writes a map file as GNU ddrescue has it ("Mapfile structure" in its manual), so that its tools
// can show, compare and fill it: finished is '+', doubtful '/' (read, and to be looked at more
// closely), missing '-'. Neighbours alike become one line.
// Threads: one call at a time.
class RescueMap {
 public:
  // `on_range` hears of each range that is not finished.
  RescueMap(File& file, std::function<void(const RescuedRange&)> on_range)
      : file_(file), on_range_(std::move(on_range)) {}

  // The next `length` bytes of the disk.
  [[nodiscard]] Status add(std::uint64_t length, RescueStatus status, std::string_view why = {});
  [[nodiscard]] Status finish();

  [[nodiscard]] std::uint64_t position() const { return range_.end; }
  [[nodiscard]] std::uint64_t bytes(RescueStatus status) const {
    return bytes_[static_cast<std::size_t>(status)];
  }

 private:
  [[nodiscard]] Status close_range();
  [[nodiscard]] Status flush();

  File& file_;
  std::function<void(const RescuedRange&)> on_range_;
  RescuedRange range_;
  std::string text_;  // not written yet
  std::uint64_t file_bytes_ = 0;
  std::uint64_t bytes_[3] = {};
};

}  // namespace grainmill
