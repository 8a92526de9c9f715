// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/descriptor_repair.h"

#include "engine/base/units.h"
#include "engine/format/format.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace grainmill::vmdk {
namespace {

// From the first byte that differs to the last. REQUIRES: both texts are of the same length, and
// differ.
FilePatch difference(const PlacedText& before, std::string_view after) {
  const auto [first, unused] = std::ranges::mismatch(before.text, after);
  const auto begin = static_cast<std::size_t>(first - before.text.begin());
  std::size_t end = after.size();
  while (before.text[end - 1] == after[end - 1]) --end;
  FilePatch patch{before.offset + begin, std::vector<std::byte>(end - begin)};
  std::memcpy(patch.bytes.data(), after.data() + begin, patch.bytes.size());
  return patch;
}

}  // namespace

Result<std::optional<PlacedText>> find_descriptor(const File& file) {
  constexpr std::uint64_t kMostText = kMiB;
  GM_TRY(const FileInfo info, file.info());
  std::vector<std::byte> head(std::min(info.size_bytes, kMostText));
  GM_CHECK(file.read_exact_at(0, head));
  constexpr std::uint64_t kMostSectors = 128;
  for (std::uint64_t sector = 0; sector < kMostSectors; ++sector) {
    const std::uint64_t offset = sector * kSectorBytes;
    if (offset >= head.size()) break;
    const std::span rest = std::span(head).subspan(offset);
    if (sector == 0 && has_lost_header(rest.first(std::min(rest.size(), kProbeBytes)))) continue;
    // A header is never taken for a text: it has a NUL in its first words.
    if (!looks_like_descriptor(rest.first(std::min<std::size_t>(rest.size(), kProbeBytes))))
      continue;
    std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
    text.resize(std::min(text.find('\0'), text.size()));
    return PlacedText{offset, std::move(text)};
  }
  return std::nullopt;
}

Result<Correction> plan_parent_id(FileSystem& files, const std::string& path, std::uint32_t id) {
  GM_TRY(const std::unique_ptr<File> file, files.open_read(path));
  GM_TRY(const std::optional<PlacedText> placed, find_descriptor(*file));
  if (!placed) return fail(ErrorKind::corrupt, path, "has no descriptor");
  GM_CHECK(parse_descriptor(placed->text, path, placed->offset));
  constexpr std::string_view kKey = "parentCID";
  const std::string_view old = value_of(placed->text, kKey).value_or("");
  const std::string digits = fmt::format("{:0{}x}", id, old.size());
  const std::optional<std::string> changed = with_value(placed->text, kKey, digits);
  if (!changed || changed->size() != placed->text.size())
    return fail(ErrorKind::unsupported, path, placed->offset,
                fmt::format("parentCID '{}' leaves no room for the {:08x} of its parent: "
                            "`grainmill rebase -u` writes it",
                            old, id));
  return Correction{path, difference(*placed, *changed),
                    fmt::format("parentCID: {} instead of {}, the content ID that its parent has "
                                "now: taken for the right one, as you say",
                                digits, old)};
}

}  // namespace grainmill::vmdk
