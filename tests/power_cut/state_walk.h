// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/power_cut/power_cut_file_system.h"
#include "tests/power_cut/replay.h"

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace grainmill::testing {

// A note, and how many steps were made before it.
struct Note {
  std::size_t steps = 0;
  int id = 0;
};

// Makes the states of PowerCutFileSystem::for_each_state().
class StateWalk {
 public:
  StateWalk(const Device& start, std::span<const Change> changes, std::span<const Note> notes,
            const StateOptions& options, const PowerCutFileSystem::Visit& visit);

  // How many states were shown.
  std::size_t run();

 private:
  [[nodiscard]] std::size_t undecided_sectors() const;
  [[nodiscard]] bool is_shown_wholly() const {
    return undecided_sectors() <= options_.max_exhaustive;
  }
  // How many cuts are not shown wholly: they share the random states.
  [[nodiscard]] std::size_t count_large_cuts() const;

  void show_cut();
  void show_all_sectors();
  void show_all_changes();
  void show_extremes();
  void show_random();
  void choose_randomly();
  // Whether the last step's change must have arrived, or else the state was shown before.
  [[nodiscard]] bool needs_last() const;
  void show();
  [[nodiscard]] std::string story() const;

  [[nodiscard]] const Change& undecided(std::size_t i) const {
    return changes_[replay_.undecided()[i]];
  }
  [[nodiscard]] bool coin() { return random_() % 2 == 0; }

  const Device& start_;
  std::span<const Change> changes_;
  std::span<const Note> notes_;
  const StateOptions& options_;
  const PowerCutFileSystem::Visit& visit_;

  Replay replay_;
  std::vector<int> note_ids_;  // of all notes
  std::size_t notes_before_ = 0;
  bool has_new_note_ = false;      // since the step before
  std::vector<Arrival> arrivals_;  // of each undecided change
  std::mt19937_64 random_;
  std::size_t random_share_ = 0;
  std::size_t shown_ = 0;
  bool stopped_ = false;
};

}  // namespace grainmill::testing
