// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace grainmill {

// What went wrong, in the terms a caller acts on: a verifier must never confuse damage with I/O
// trouble.
enum class ErrorKind : std::uint8_t {
  io,                // the operating system failed a call
  no_space,          // ... for want of room on the file system, or of quota
  not_found,         // a file that was named does not exist
  corrupt,           // the image contradicts itself or its format
  unsupported,       // sound, but of a kind that is not read
  invalid_argument,  // the caller asked for something impossible
  mismatch,          // two things that must agree do not (content IDs, digests)
  denied,            // the open policy forbids it
  busy,              // another program is using it
  cancelled,         // stopped on request
};

std::string_view error_kind_name(ErrorKind kind);

// An error is a value. `message` says what was found, what was expected and, where it is known,
// what to do next; it does not repeat the path or the offset.
struct Error {
  ErrorKind kind = ErrorKind::io;
  std::string path;                     // the file it is about; empty when there is none
  std::optional<std::uint64_t> offset;  // bytes from the start of that file
  std::string message;

  // "path: offset 0x1000: message", leaving out what is not known.
  [[nodiscard]] std::string to_string() const;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// Makes the error half of a Result: `return fail(ErrorKind::corrupt, path, offset, "...")`.
[[nodiscard]] std::unexpected<Error> fail(ErrorKind kind, std::string_view path,
                                          std::string message);
[[nodiscard]] std::unexpected<Error> fail(ErrorKind kind, std::string_view path,
                                          std::uint64_t offset, std::string message);

}  // namespace grainmill

#define GM_CONCAT_INNER(a, b) a##b
#define GM_CONCAT(a, b) GM_CONCAT_INNER(a, b)

// GM_TRY(auto x, f()): declares x from the value of f(), or returns f()'s error from this function.
#define GM_TRY(declaration, expression) \
  GM_TRY_INNER(declaration, expression, GM_CONCAT(gm_result_, __LINE__))
#define GM_TRY_INNER(declaration, expression, result)             \
  auto result = (expression);                                     \
  if (!result) return std::unexpected(std::move(result).error()); \
  declaration = *std::move(result)

// GM_CHECK(f()): returns f()'s error from this function, if there is one.
#define GM_CHECK(expression)                     \
  if (auto gm_status = (expression); !gm_status) \
  return std::unexpected(std::move(gm_status).error())
