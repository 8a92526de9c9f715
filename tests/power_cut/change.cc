// SPDX-License-Identifier: Apache-2.0
#include "tests/power_cut/change.h"

#include "engine/io/file_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace grainmill::testing {
namespace {

// Calls `body(first, end)` for each run of sectors that arrived.
template <typename Body>
void for_each_run(const std::vector<bool>& sectors, const Body& body) {
  for (std::size_t first = 0; first < sectors.size();) {
    std::size_t end = first;
    while (end < sectors.size() && sectors[end]) ++end;
    if (end > first) body(first, end);
    first = std::max(end, first + 1);
  }
}

void apply_range(const Change& change, std::uint64_t begin, std::uint64_t end,
                 MemoryContent& content) {
  if (change.kind == Change::Kind::write)
    content.put_pages(begin, end - begin, change.pages);
  else
    content.zero(begin, end - begin);
}

}  // namespace

std::size_t Change::sectors() const {
  if ((kind != Kind::write && kind != Kind::zero_range) || length == 0) return 1;
  return (offset + length - 1) / kSectorBytes - offset / kSectorBytes + 1;
}

bool Change::is_covered_by(const Change& sync) const {
  if (is_of_names()) return sync.kind == Kind::sync_folder && folder_of(path) == sync.path;
  return sync.kind == Kind::sync && inode == sync.inode;
}

std::string Change::to_string() const {
  static constexpr std::array<const char*, 7> kNames = {
      "write", "zero_range", "resize", "sync", "publish", "remove", "sync_folder"};
  std::string name = fmt::format("{} {}", kNames.at(static_cast<std::size_t>(kind)), path);
  if (kind == Kind::resize) return fmt::format("{} to {:#x}", name, offset);
  if (kind != Kind::write && kind != Kind::zero_range) return name;
  return fmt::format("{} {:#x}+{}", name, offset, length);
}

Arrival Arrival::of(const Change& change, const std::function<bool(std::size_t)>& arrived) {
  std::vector<bool> sectors(change.sectors());
  for (std::size_t sector = 0; sector < sectors.size(); ++sector) sectors[sector] = arrived(sector);
  const auto count = static_cast<std::size_t>(std::ranges::count(sectors, true));
  if (count == 0) return {Fate::lost};
  if (count == sectors.size()) return {Fate::whole};
  return {Fate::torn, std::move(sectors)};
}

std::string Arrival::to_string() const {
  if (fate != Fate::torn) return fate == Fate::whole ? "whole" : "lost";
  std::string runs;
  for_each_run(sectors, [&](std::size_t first, std::size_t end) {
    runs += runs.empty() ? "" : ",";
    runs += end - first == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, end - 1);
  });
  return fmt::format("sectors {} of {}", runs, sectors.size());
}

void apply(const Change& change, const Arrival& arrival, MemoryContent& content) {
  if (arrival.fate == Arrival::Fate::lost) return;
  if (change.kind == Change::Kind::resize) return content.set_size(change.offset);
  const std::uint64_t end = change.offset + change.length;
  if (arrival.fate == Arrival::Fate::whole) return apply_range(change, change.offset, end, content);
  const std::uint64_t base = change.offset / Change::kSectorBytes;
  for_each_run(arrival.sectors, [&](std::size_t first, std::size_t past) {
    apply_range(change, std::max(change.offset, (base + first) * Change::kSectorBytes),
                std::min(end, (base + past) * Change::kSectorBytes), content);
  });
}

}  // namespace grainmill::testing
