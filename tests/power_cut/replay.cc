// SPDX-License-Identifier: Apache-2.0
#include "tests/power_cut/replay.h"

#include <set>
#include <utility>

namespace grainmill::testing {
namespace {

void apply_name(const Change& change, std::map<std::string, std::uint64_t>& names) {
  if (change.kind == Change::Kind::remove) {
    names.erase(change.path);
    return;
  }
  names.erase(change.until_then);
  names[change.path] = change.inode;
}

}  // namespace

// Copied, because it goes on from there.
Replay::Replay(const Device& start, std::span<const Change> changes) : changes_(changes) {
  device_.names = start.names;
  for (const auto& [inode, content] : start.files) device_.files[inode] = content->copy();
}

void Replay::step() {
  const Change& now = changes_[steps_++];
  if (now.is_sync()) {
    std::vector<std::size_t> left;
    for (const std::size_t index : unsynced_) {
      if (changes_[index].is_covered_by(now))
        decide(changes_[index]);
      else
        left.push_back(index);
    }
    unsynced_ = std::move(left);
  } else {
    unsynced_.push_back(steps_ - 1);
  }
  find_undecided();
}

void Replay::find_undecided() {
  std::set<std::uint64_t> named;
  for (const auto& [path, inode] : device_.names) named.insert(inode);
  for (const std::size_t index : unsynced_)
    if (changes_[index].kind == Change::Kind::publish) named.insert(changes_[index].inode);
  undecided_.clear();
  for (const std::size_t index : unsynced_)
    if (changes_[index].is_of_names() || named.contains(changes_[index].inode))
      undecided_.push_back(index);
}

void Replay::decide(const Change& change) {
  if (change.is_of_names()) return apply_name(change, device_.names);
  std::shared_ptr<MemoryContent>& content = device_.files[change.inode];
  if (!content) content = std::make_shared<MemoryContent>();
  apply(change, {Arrival::Fate::whole}, *content);
}

std::unique_ptr<MemoryFileSystem> Replay::state(std::span<const Arrival> arrivals) const {
  std::map<std::string, std::uint64_t> names = device_.names;
  for (std::size_t i = 0; i < undecided_.size(); ++i)
    if (changes_[undecided_[i]].is_of_names() && arrivals[i].fate != Arrival::Fate::lost)
      apply_name(changes_[undecided_[i]], names);
  std::map<std::uint64_t, std::shared_ptr<MemoryContent>> files;
  for (const auto& [path, inode] : names) {
    const auto durable = device_.files.find(inode);
    files[inode] = durable == device_.files.end() ? std::make_shared<MemoryContent>()
                                                  : durable->second->copy();
  }
  for (std::size_t i = 0; i < undecided_.size(); ++i) {
    const auto file = files.find(changes_[undecided_[i]].inode);
    if (!changes_[undecided_[i]].is_of_names() && file != files.end())
      apply(changes_[undecided_[i]], arrivals[i], *file->second);
  }
  auto state = std::make_unique<MemoryFileSystem>();
  for (const auto& [path, inode] : names) state->add(path, files.at(inode));
  return state;
}

}  // namespace grainmill::testing
