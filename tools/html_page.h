// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace grainmill {

// A page that needs nothing else: no scripts, no other files, no network.

// All up to the first thing that is seen. `style`: rules of CSS of this page alone.
[[nodiscard]] std::string html_head(const std::string& title, const std::string& style);
[[nodiscard]] std::string html_end();

// What html_head() begins with, whatever else is on the page: an older page of the same title is
// known by it.
[[nodiscard]] std::string html_begin(const std::string& title);

// Whatever a name or a message holds is text, and only that; within quotes, too.
[[nodiscard]] std::string html_escaped(const std::string& text);

}  // namespace grainmill
