// SPDX-License-Identifier: Apache-2.0
#include "engine/base/error.h"

#include "engine/base/text.h"

#include <fmt/format.h>

namespace grainmill {

std::string_view error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::io:
      return "io";
    case ErrorKind::no_space:
      return "no_space";
    case ErrorKind::not_found:
      return "not_found";
    case ErrorKind::corrupt:
      return "corrupt";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::invalid_argument:
      return "invalid_argument";
    case ErrorKind::mismatch:
      return "mismatch";
    case ErrorKind::denied:
      return "denied";
    case ErrorKind::busy:
      return "busy";
    case ErrorKind::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string Error::to_string() const {
  std::string text;
  if (!path.empty()) text += path + ": ";
  if (offset) text += fmt::format("offset {:#x}: ", *offset);
  return printable(text + message);
}

std::unexpected<Error> fail(ErrorKind kind, std::string_view path, std::string message) {
  return std::unexpected(Error{kind, std::string(path), std::nullopt, std::move(message)});
}

std::unexpected<Error> fail(ErrorKind kind, std::string_view path, std::uint64_t offset,
                            std::string message) {
  return std::unexpected(Error{kind, std::string(path), offset, std::move(message)});
}

}  // namespace grainmill
