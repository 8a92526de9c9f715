// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace grainmill::vmdk {

// Changes to a descriptor text that leave all the rest of it as it is: order, comments, line ends,
// blanks and keys that are not known here. Pure. REQUIRES of all: parse_descriptor() took the text.

// The value of the first header or ddb line with this key (in any case), without quotes.
[[nodiscard]] std::optional<std::string_view> value_of(std::string_view text, std::string_view key);

// Replaces the value of the header or ddb line with this key (in any case), in quotes if the old
// one was; nullopt if there is no such line.
[[nodiscard]] std::optional<std::string> with_value(std::string_view text, std::string_view key,
                                                    std::string_view value);

// Stores a content ID: in the CID line, with as many digits as stand there if they are enough, so
// that the text keeps its length; and at the end of ddb.longContentID if there is such a line.
[[nodiscard]] std::string with_content_id(std::string_view text, std::uint32_t id);

// How many hexadecimal digits the CID line has; 0: there is no such line.
[[nodiscard]] std::size_t content_id_digits(std::string_view text);

// Stores what a link says of its parent, adding the lines if they are missing. An empty hint makes
// it a link without a parent.
[[nodiscard]] std::string with_parent(std::string_view text, std::string_view hint,
                                      std::uint32_t content_id);

}  // namespace grainmill::vmdk
