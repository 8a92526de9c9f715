// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill::vmdk {

// The text descriptor of a link ("The Descriptor File" in Virtual Disk Format 5.0), embedded or a
// file of its own.

enum class Access : std::uint8_t { read_write, read_only, none };

// One line of the extent section: `RW 4192256 SPARSE "disk-s001.vmdk" 0`.
struct ExtentLine {
  Access access = Access::read_write;
  std::uint64_t sectors = 0;
  std::string type;                  // upper case: FLAT, VMFS, SPARSE, VMFSSPARSE, ZERO, ...
  std::string file;                  // as written, without the quotes; empty for ZERO
  std::uint64_t offset_sectors = 0;  // into the file, for FLAT and VMFS
  std::size_t text_offset = 0;       // of the line, in the text
};

struct Descriptor {
  std::uint32_t version = 1;
  std::optional<std::uint32_t> content_id;
  std::optional<std::uint32_t> parent_content_id;  // nullopt: no such line
  std::string create_type;                         // as written
  std::string parent_hint;                         // empty: no such line
  std::string encoding;                            // of file names; empty: UTF-8
  std::vector<ExtentLine> extents;
  // Why this disk cannot be read although its text is sound (encrypted, a native snapshot), or
  // empty.
  std::string refusal;

  // A link whose parentCID names a parent; ffffffff means none.
  [[nodiscard]] bool has_parent() const {
    return parent_content_id && *parent_content_id != 0xffffffffU;
  }
  [[nodiscard]] std::uint64_t total_sectors() const;
};

// Whether a file that begins like this is a descriptor, not just any text.
[[nodiscard]] bool looks_like_descriptor(std::span<const std::byte> head);

// Whether a file that begins like this is a sparse extent with its descriptor inside whose header
// is lost, whatever stands in its place now.
[[nodiscard]] bool has_lost_header(std::span<const std::byte> head);

// The name that begins at the quote with which `text`, the rest of an extent line, begins. There
// are no escapes, and a name may have quotes itself: it ends at the first quote behind which is
// only what may follow a name, else at the last one. nullopt: no quote ends it.
[[nodiscard]] std::optional<std::string_view> quoted_name(std::string_view text);

// Takes what writers in the field write: LF or CRLF, blanks and blank lines anywhere, any case of
// key words, NUL padding (the text ends at the first NUL), a byte order mark. A line that is
// neither comment, assignment nor extent is `corrupt`: damage must not drop an extent unseen.
// `text_offset` is where the text begins in the file, for messages.
[[nodiscard]] Result<Descriptor> parse_descriptor(std::string_view text, std::string_view path,
                                                  std::uint64_t text_offset);

}  // namespace grainmill::vmdk
