// SPDX-License-Identifier: Apache-2.0
//
// The healthy images that damage is done to: every kind of VMDK, dense and sparse, with one grain
// table and with several.
#pragma once

#include "tests/support/layout.h"
#include "tests/support/vmdk_builder.h"

#include <ostream>
#include <span>
#include <string>
#include <vector>

namespace grainmill::testing {

struct ImageForm {
  std::string name;
  std::string layout;
  std::vector<LinkOptions> options;
};

// GoogleTest prints a form by its name.
inline std::ostream& operator<<(std::ostream& out, const ImageForm& form) {
  return out << form.name;
}

std::span<const ImageForm> image_forms();

}  // namespace grainmill::testing
