// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/text.h"

#include <ostream>
#include <streambuf>
#include <string_view>

namespace grainmill {

// Passes text on as printable(): lines and tabs stay.
class PrintableBuffer final : public std::streambuf {
 public:
  explicit PrintableBuffer(std::ostream& target) : target_(target) {}

 private:
  int_type overflow(int_type character) override {
    if (traits_type::eq_int_type(character, traits_type::eof()))
      return traits_type::not_eof(character);
    const char text = traits_type::to_char_type(character);
    return xsputn(&text, 1) == 1 ? character : traits_type::eof();
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    target_ << printable({text, static_cast<std::size_t>(size)}, "\n\t");
    return target_.good() ? size : 0;
  }
  int sync() override { return target_.flush().good() ? 0 : -1; }

  std::ostream& target_;
};

}  // namespace grainmill
