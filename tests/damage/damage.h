// SPDX-License-Identifier: Apache-2.0
//
// Damage by name. Each kind takes a healthy image of the builder (vmdk_builder.h) and does to its
// files what the kind says, at any of a number of places:
//
//   for (const DamageKind& kind : damage_kinds())
//     for (std::size_t place = 0; place < kind.places(disk); ++place) {
//       kind.apply(disk, place);
//       ...                       // then put the files back
//     }
#pragma once

#include "tests/support/vmdk_builder.h"

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace grainmill::testing {

// The copy of the tables that a kind damages, where it damages one and leaves the other whole.
enum class TableCopyHit { none, primary, redundant };

struct DamageKind {
  std::string name;
  std::string what;  // it does, in a few words
  // At how many places it can be done to this disk; 0: it does not apply. The files must be
  // healthy.
  std::function<std::size_t(const BuiltDisk&)> places;
  // REQUIRES: place < places(disk), healthy files.
  std::function<void(const BuiltDisk&, std::size_t place)> apply;
  TableCopyHit copy = TableCopyHit::none;
  // The damaged image is one that a writer could have made of other contents: nothing but a
  // manifest of the healthy disk tells them apart. Empty: never so.
  std::function<bool(const BuiltDisk&, std::size_t place)> leaves_no_trace{};

  bool applies_to(const BuiltDisk& disk) const { return places(disk) != 0; }
};

// All kinds. Names are unique.
std::span<const DamageKind> damage_kinds();

}  // namespace grainmill::testing
