// SPDX-License-Identifier: Apache-2.0
#include "tests/power_cut/state_walk.h"

#include <fmt/format.h>

#include <algorithm>

namespace grainmill::testing {

using Fate = Arrival::Fate;

StateWalk::StateWalk(const Device& start, std::span<const Change> changes,
                     std::span<const Note> notes, const StateOptions& options,
                     const PowerCutFileSystem::Visit& visit)
    : start_(start),
      changes_(changes),
      notes_(notes),
      options_(options),
      visit_(visit),
      replay_(start, changes),
      random_(options.seed) {
  for (const Note& note : notes) note_ids_.push_back(note.id);
}

std::size_t StateWalk::run() {
  random_share_ = options_.random_states / std::max<std::size_t>(count_large_cuts(), 1);
  bool was_shown_wholly = false;
  for (;;) {
    const std::size_t notes_known = notes_before_;
    while (notes_before_ < notes_.size() && notes_[notes_before_].steps <= replay_.steps())
      ++notes_before_;
    has_new_note_ = notes_before_ > notes_known;
    // A sync only takes possibilities away, and a file without a name is not seen.
    if (needs_last() || has_new_note_ || !was_shown_wholly) show_cut();
    was_shown_wholly = is_shown_wholly();
    if (stopped_ || replay_.steps() == changes_.size()) return shown_;
    replay_.step();
  }
}

std::size_t StateWalk::undecided_sectors() const {
  std::size_t sectors = 0;
  for (const std::size_t index : replay_.undecided()) sectors += changes_[index].sectors();
  return sectors;
}

std::size_t StateWalk::count_large_cuts() const {
  StateWalk ahead(start_, changes_, {}, options_, visit_);
  std::size_t large = 0;
  for (; ahead.replay_.steps() < changes_.size(); ahead.replay_.step())
    if (!ahead.is_shown_wholly()) ++large;
  return ahead.is_shown_wholly() ? large : large + 1;
}

void StateWalk::show_cut() {
  arrivals_.assign(replay_.undecided().size(), {});
  if (is_shown_wholly()) return show_all_sectors();
  if (arrivals_.size() <= options_.max_exhaustive)
    show_all_changes();
  else
    show_extremes();
  show_random();
}

bool StateWalk::needs_last() const {
  return !has_new_note_ && !replay_.undecided().empty() &&
         replay_.undecided().back() + 1 == replay_.steps();
}

// The sectors are the bits of a number, those of the last change on top.
void StateWalk::show_all_sectors() {
  const std::size_t bits = undecided_sectors();
  const std::uint64_t first =
      needs_last() ? std::uint64_t{1} << (bits - undecided(arrivals_.size() - 1).sectors()) : 0;
  for (std::uint64_t number = first; number < std::uint64_t{1} << bits; ++number) {
    std::uint64_t rest = number;
    for (std::size_t i = 0; i < arrivals_.size(); ++i) {
      arrivals_[i] = Arrival::of(undecided(i),
                                 [rest](std::size_t sector) { return (rest >> sector & 1) != 0; });
      rest >>= undecided(i).sectors();
    }
    show();
  }
}

void StateWalk::show_all_changes() {
  const std::size_t bits = arrivals_.size();
  const std::uint64_t first = needs_last() ? std::uint64_t{1} << (bits - 1) : 0;
  for (std::uint64_t number = first; number < std::uint64_t{1} << bits; ++number) {
    for (std::size_t i = 0; i < bits; ++i)
      arrivals_[i] = {(number >> i & 1) != 0 ? Fate::whole : Fate::lost};
    show();
  }
}

void StateWalk::show_extremes() {
  for (const Fate fate : {Fate::whole, Fate::lost}) {
    std::ranges::fill(arrivals_, Arrival{fate});
    if (needs_last()) arrivals_.back() = {Fate::whole};
    show();
  }
}

void StateWalk::show_random() {
  for (std::size_t i = 0; i < random_share_; ++i) {
    choose_randomly();
    if (needs_last() && arrivals_.back().fate == Fate::lost) arrivals_.back() = {Fate::whole};
    show();
  }
}

// What a wrong order of writes leaves is most often seen when one change alone is missing, or one
// alone arrived; chance alone would hardly make such states of many changes.
void StateWalk::choose_randomly() {
  enum class Shape : std::uint8_t { one_lost, one_arrived, some, some_torn };
  const auto shape = static_cast<Shape>(random_() % 4);
  if (shape == Shape::one_lost || shape == Shape::one_arrived) {
    const bool lost = shape == Shape::one_lost;
    std::ranges::fill(arrivals_, Arrival{lost ? Fate::whole : Fate::lost});
    arrivals_[random_() % arrivals_.size()] = {lost ? Fate::lost : Fate::whole};
    return;
  }
  for (std::size_t i = 0; i < arrivals_.size(); ++i) {
    if (shape == Shape::some_torn && coin())
      arrivals_[i] = Arrival::of(undecided(i), [this](std::size_t) { return coin(); });
    else
      arrivals_[i] = {coin() ? Fate::whole : Fate::lost};
  }
}

void StateWalk::show() {
  if (stopped_) return;
  PowerCut cut(replay_.steps(), std::span(note_ids_).first(notes_before_), replay_.state(arrivals_),
               [this] { return story(); });
  ++shown_;
  stopped_ = !visit_(cut);
}

std::string StateWalk::story() const {
  std::string text =
      fmt::format("power cut after {} of {} steps", replay_.steps(), changes_.size());
  for (std::size_t i = 0; i < arrivals_.size(); ++i)
    text += fmt::format("\n  step {}: {}: {}", replay_.undecided()[i], undecided(i).to_string(),
                        arrivals_[i].to_string());
  return text;
}

}  // namespace grainmill::testing
