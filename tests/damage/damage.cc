// SPDX-License-Identifier: Apache-2.0
#include "tests/damage/damage.h"

#include "tests/damage/extent_damage.h"

namespace grainmill::testing {

std::span<const DamageKind> damage_kinds() {
  static const std::vector<DamageKind> kKinds = [] {
    std::vector<DamageKind> kinds;
    add_entry_damage(kinds);
    add_table_damage(kinds);
    add_header_damage(kinds);
    add_stream_damage(kinds);
    add_descriptor_damage(kinds);
    add_file_damage(kinds);
    add_chain_damage(kinds);
    return kinds;
  }();
  return kKinds;
}

}  // namespace grainmill::testing
