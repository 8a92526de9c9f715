// SPDX-License-Identifier: Apache-2.0
#include "tools/html_page.h"

#include "tools/utf8.h"

#include <fmt/format.h>

namespace grainmill {
namespace {

constexpr const char* kBeforeTitle = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
)html";

constexpr const char* kStyle =
    R"css(:root { color-scheme: light dark; --back: #fff; --card: #f6f7f9; --line: #d8dce2; --text: #1b1f24; --soft: #59626e;
  --good: #1a7f37; --news: #0a62b5; --bad: #c1121f; --odd: #9a5b00; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --back: #0f1216; --card: #191e24; --line: #333b45; --text: #e6e9ed;
  --soft: #9aa5b1; --good: #57c271; --news: #68b0f5; --bad: #ff7b72; --odd: #e3a33c; --on: #0f1216; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
.path { overflow-wrap: anywhere; font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); gap: .5rem; margin: 1rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.2; }
.none { opacity: .55; }
.good { color: var(--good); } .news { color: var(--news); } .bad { color: var(--bad); } .odd { color: var(--odd); }
.badge { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .85rem; font-weight: 600;
  color: var(--on); white-space: nowrap; }
.badge.good { background: var(--good); } .badge.news { background: var(--news); }
.badge.bad { background: var(--bad); } .badge.odd { background: var(--odd); }
.badge, .badge.good, .badge.news, .badge.bad, .badge.odd { color: var(--on); }
.card { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid;
  border-left-color: var(--bad); border-radius: .5rem; padding: .75rem; margin: .75rem 0; }
.card.odd { border-left-color: var(--odd); color: var(--text); }
.detail { overflow-wrap: anywhere; }
ul { margin: .5rem 0 0; padding-left: 1.2rem; font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-size: .85rem; color: var(--soft); font-weight: 500; }
th, td { padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
@media (max-width: 45rem) {
  thead { display: none; }
  tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  td { display: block; padding: .1rem 0; border: 0; }
  td[data-name]::before { content: attr(data-name) " "; color: var(--soft); font-size: .85rem; }
}
)css";

}  // namespace

std::string html_begin(const std::string& title) {
  return fmt::format("{}<title>{}</title>\n", kBeforeTitle, html_escaped(title));
}

std::string html_head(const std::string& title, const std::string& style) {
  return fmt::format("{}<style>\n{}{}\n</style>\n</head>\n<body>\n", html_begin(title), kStyle,
                     style);
}

std::string html_end() { return "</body>\n</html>\n"; }

std::string html_escaped(const std::string& text) {
  std::string result;
  for (const char c : to_utf8(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        // Other control characters are not allowed in HTML.
        result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
  }
  return result;
}

}  // namespace grainmill
